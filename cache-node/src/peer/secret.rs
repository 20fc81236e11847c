//! The cluster's secret: who knows it may talk to members.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a proof.
pub const PROOF_BYTES: usize = 32;

/// The cluster's secret. Without one, proofs guard against mistakes only, not against malice.
#[derive(Clone)]
pub struct Secret {
    mac: Hmac<Sha256>,
    set: bool,
}

impl Secret {
    /// The secret as it was configured, if one was.
    pub fn new(secret: Option<&str>) -> Self {
        let key = secret.unwrap_or_default().as_bytes();
        // HMAC takes a key of any length, so this never fails; an impossible failure would make
        // a secret that nobody shares.
        let mac = Hmac::<Sha256>::new_from_slice(key)
            .unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
        Self { mac, set: secret.is_some_and(|s| !s.is_empty()) }
    }

    /// Whether one was configured.
    pub fn is_set(&self) -> bool {
        self.set
    }

    /// The proof (HMAC-SHA256, RFC 2104) that whoever wrote these parts knows the secret.
    pub fn prove(&self, parts: &[&[u8]]) -> [u8; PROOF_BYTES] {
        self.feed(parts).finalize().into_bytes().into()
    }

    /// Whether a proof is right; takes the same time whether it is or not.
    pub fn check(&self, parts: &[&[u8]], proof: &[u8]) -> bool {
        self.feed(parts).verify_slice(proof).is_ok()
    }

    fn feed(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({})", if self.set { "hidden" } else { "none" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_secret_and_its_words_only() {
        let ours = Secret::new(Some("red"));
        let proof = ours.prove(&[b"a", b"b"]);
        assert!(ours.check(&[b"ab"], &proof));
        assert!(!ours.check(&[b"ac"], &proof));
        assert!(!ours.check(&[b"ab"], &proof[..31]));
        assert!(!Secret::new(Some("blue")).check(&[b"ab"], &proof));
        assert!(!Secret::new(None).check(&[b"ab"], &proof));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new(Some("red"))), "Secret(hidden)");
    }
}
