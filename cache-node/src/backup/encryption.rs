//! Encryption of what is sent, as age does it (age-encryption.org/v1): the member has the public key, and
//! only who restores has the other.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::Error;
use super::names::hex;

/// A public key: `age1…`.
#[derive(Clone)]
pub struct Recipient {
    key: age::x25519::Recipient,
    text: String,
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Recipient {}

impl FromStr for Recipient {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            return Err("that is the secret key: the public one begins with 'age1'".into());
        }
        let key = age::x25519::Recipient::from_str(text).map_err(|reason| {
            format!("no public key of age ('age1…', from age-keygen): {reason}")
        })?;
        Ok(Self { key, text: text.to_owned() })
    }
}

impl Recipient {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What names of objects tell it by.
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(self.text.as_bytes())[..4])
    }

    /// What is written comes out encrypted at `to`; to be ended with `finish`.
    ///
    /// # Errors
    /// `to` fails.
    pub fn encrypt<W: Write>(&self, to: W) -> io::Result<age::stream::StreamWriter<W>> {
        let keys = std::iter::once(&self.key as &dyn age::Recipient);
        age::Encryptor::with_recipients(keys).map_err(io::Error::other)?.wrap_output(to)
    }
}

/// Secret keys.
pub struct Identities(Vec<Box<dyn age::Identity + Send + Sync>>);

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secret keys", self.0.len())
    }
}

impl Identities {
    /// Reads a file as age-keygen writes it.
    ///
    /// # Errors
    /// It cannot be read, or has no key.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = std::fs::File::open(path).map_err(|error| Error::file(path, error))?;
        let keys = age::IdentityFile::from_buffer(BufReader::new(file.take(1 << 20)));
        let keys = keys.map_err(|error| Error::file(path, error))?;
        let keys = keys.into_identities().map_err(|error| Error::file(path, error))?;
        if keys.is_empty() {
            return Err(Error::file(path, "there is no secret key in it (AGE-SECRET-KEY-1…)"));
        }
        Ok(Self(keys))
    }

    /// What is read from `from`, decrypted. The first error says whether the keys are other ones.
    ///
    /// # Errors
    /// None of the keys opens it, or it is damaged.
    pub fn decrypt<R: Read>(&self, from: R) -> Result<age::stream::StreamReader<R>, String> {
        let keys = self.0.iter().map(|key| key.as_ref() as &dyn age::Identity);
        let opened = age::Decryptor::new(from).and_then(|found| found.decrypt(keys));
        opened.map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => {
                "it is encrypted to another key than the identity file has".into()
            }
            error => format!("it cannot be decrypted: {error}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_to_a_key_is_read_with_it_only() {
        let directory = tempfile::tempdir().unwrap();
        let identity = |name: &str| {
            use age::secrecy::ExposeSecret;
            let key = age::x25519::Identity::generate();
            let path = directory.path().join(name);
            std::fs::write(&path, key.to_string().expose_secret()).unwrap();
            (key.to_public().to_string(), Identities::read(&path).unwrap())
        };
        let ((public, right), (_, wrong)) = (identity("right"), identity("wrong"));
        let mut bytes = Vec::new();
        let mut writer = Recipient::from_str(&public).unwrap().encrypt(&mut bytes).unwrap();
        writer.write_all(b"secret").unwrap();
        writer.finish().unwrap();
        let mut read = Vec::new();
        right.decrypt(&bytes[..]).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, b"secret");
        let told = wrong.decrypt(&bytes[..]).map(drop).unwrap_err();
        assert!(told.contains("another key"), "{told}");
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let mut read = Vec::new();
            let fails =
                right.decrypt(&bytes[..]).map_or(true, |mut r| r.read_to_end(&mut read).is_err());
            assert!(fails, "byte {at}");
        }
    }

    #[test]
    fn a_secret_key_in_the_place_of_the_public_one_is_refused() {
        let told = Recipient::from_str("AGE-SECRET-KEY-1QQQ").unwrap_err();
        assert!(told.contains("secret"), "{told}");
        assert!(Recipient::from_str("age1x").unwrap_err().contains("age-keygen"));
    }
}
