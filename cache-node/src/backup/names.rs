//! The names of objects. They say what is in them, so that what is there already is not sent again.
//!
//! ```text
//! <data set>/backups/<time>-<last sequence>.json
//! <data set>/segments/<number>-<from>-<bytes>-<SHA-256>[.<key>.age]
//! <data set>/snapshots/<store>-<sequence>-<bytes>-<SHA-256>[.<key>.age]
//! ```
//!
//! Numbers are hexadecimal, checksums base64 (RFC 4648, 5): storage may keep names in names of files.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hypercache_core::log::{DataSet, Sequence};
use hypercache_core::store::StoreNumber;

/// A SHA-256.
pub type Sha = [u8; 32];

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// [`hex`] the other way round; `None` for anything else.
pub fn unhex<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == 2 * LEN && digits(text)).then_some(())?;
    let mut bytes = [0; LEN];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The directory of a data set.
pub fn data_set(data_set: &DataSet) -> String {
    hex(data_set)
}

fn with_key(name: String, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("{name}.{key}.age"),
        None => name,
    }
}

/// A checksum in few letters.
fn short(sha: &Sha) -> String {
    URL_SAFE_NO_PAD.encode(sha)
}

/// The name of a piece of a segment; `key`: the fingerprint of what it is encrypted to.
pub fn piece(number: u64, from: u64, bytes: u64, sha: &Sha, key: Option<&str>) -> String {
    with_key(format!("{}{bytes:x}-{}", pieces_from(number, from), short(sha)), key)
}

/// How the names of all pieces begin that begin at this place of a segment.
pub fn pieces_from(number: u64, from: u64) -> String {
    format!("{number:08x}-{from:x}-")
}

/// The name of a snapshot.
pub fn snapshot(
    store: StoreNumber,
    sequence: Sequence,
    bytes: u64,
    sha: &Sha,
    key: Option<&str>,
) -> String {
    with_key(format!("{store}-{sequence:x}-{bytes:x}-{}", short(sha)), key)
}

/// A piece that is there, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The segment's number.
    pub number: u64,
    /// Where in the segment it begins.
    pub from: u64,
    /// Its bytes, before they were encrypted.
    pub bytes: u64,
    /// Their checksum.
    pub sha: Sha,
}

/// Reads the name of a piece that is encrypted to this key, or to none; `None` for other names.
pub fn parse_piece(name: &str, key: Option<&str>) -> Option<Piece> {
    let bare = match key {
        Some(key) => name.strip_suffix(".age")?.strip_suffix(key)?.strip_suffix('.')?,
        None => name,
    };
    let mut parts = bare.splitn(4, '-');
    let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
    let (of, from, bytes) = (number()?, number()?, number()?);
    let sha: Sha = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?.try_into().ok()?;
    let found = Piece { number: of, from, bytes, sha };
    // Only what is written so: no other spelling of the numbers.
    (piece(of, from, bytes, &sha, key) == name).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_known_by_its_name_and_only_to_its_key() {
        let sha = [0xab; 32];
        let expected = Piece { number: 7, from: 64, bytes: 100, sha };
        for key in [None, Some("0a0b0c0d")] {
            let name = piece(7, 64, 100, &sha, key);
            assert_eq!(parse_piece(&name, key), Some(expected.clone()));
            let other = if key.is_some() { None } else { Some("0a0b0c0d") };
            assert_eq!(parse_piece(&name, other), None);
            assert_eq!(parse_piece(&name, Some("00000000")), None);
        }
        let good = piece(7, 64, 100, &sha, None);
        for wrong in ["7-64-100-ab", &good[1..], &good.replace("-40-", "-040-"), &good[..40]] {
            assert_eq!(parse_piece(wrong, None), None, "{wrong}");
        }
        assert_eq!(unhex::<2>("00fg"), None);
    }
}
