//! The manifest of a backup: all that it consists of. It is written last, so that a backup without one is
//! none.
//!
//! The object is `{"manifest":…,"sha256":"…"}`, with the SHA-256 of the bytes of the first value.

use hypercache_core::log::Sequence;
use hypercache_core::store::StoreNumber;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::names::{hex, unhex};

/// The format that this version writes.
pub const FORMAT: u32 = 1;
/// The most bytes of a manifest.
pub const MOST_BYTES: u64 = 256 << 20;

/// A point in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// All records up to this one are there.
    pub sequence: Sequence,
    /// The time of that, in Unix milliseconds.
    pub time_ms: u64,
}

/// An object that a file consists of, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its name below the data set's directory.
    pub name: String,
    /// Where in the file its bytes begin.
    pub from: u64,
    /// How many there are.
    pub bytes: u64,
    /// How many bytes the object has: more, if it is encrypted.
    pub stored_bytes: u64,
    /// The SHA-256 of the file's bytes, in hexadecimal digits.
    pub sha256: String,
}

/// A store whose data it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Its number.
    pub number: StoreNumber,
    /// Its name.
    pub name: String,
    /// Records and snapshots up to this sequence are not its.
    pub since: Sequence,
    /// Whether its writes are in the log.
    pub is_logged: bool,
    /// Its `persistence.mode`.
    pub mode: String,
}

/// A snapshot of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Whose.
    pub store: StoreNumber,
    /// The last sequence that was given when it was begun.
    pub first_sequence: Sequence,
    /// The last sequence that was given when it ended: it is of use from there on.
    pub last_sequence: Sequence,
    /// When it ended, in Unix milliseconds.
    pub ended_ms: u64,
    /// Its keys.
    pub keys: u64,
    /// Its bytes.
    pub object: Object,
}

/// A segment of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its number.
    pub number: u64,
    /// All lower sequences are in segments before it.
    pub first_sequence: Sequence,
    /// Its bytes, one object behind the other.
    pub objects: Vec<Object>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The backup's name: its time and its last sequence.
    pub id: String,
    /// Which member's data it is.
    pub member: String,
    /// The cluster's name.
    pub cluster: String,
    /// The program's version.
    pub version: String,
    /// The data set, in hexadecimal digits.
    pub data_set: String,
    /// The public key that all objects are encrypted to.
    pub recipient: Option<String>,
    /// When it was begun, in Unix milliseconds.
    pub created_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The earliest point that it can be restored to.
    pub from: Point,
    /// The latest one.
    pub to: Point,
    /// The stores.
    pub stores: Vec<Store>,
    /// Their snapshots.
    pub snapshots: Vec<Snapshot>,
    /// The log.
    pub segments: Vec<Segment>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    manifest: Box<RawValue>,
    sha256: String,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Manifest {
    /// The object's bytes.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is not known to happen.
    pub fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let manifest = serde_json::value::to_raw_value(self)?;
        let sha256 = hex(&Sha256::digest(manifest.get().as_bytes()));
        serde_json::to_vec(&Signed { manifest, sha256 })
    }

    /// Reads an object.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let damaged = |reason: &dyn std::fmt::Display| format!("the manifest is damaged: {reason}");
        let signed: Signed = serde_json::from_slice(bytes).map_err(|error| damaged(&error))?;
        let text = signed.manifest.get();
        let again = serde_json::to_vec(&signed).map_err(|error| damaged(&error))?;
        if signed.sha256 != hex(&Sha256::digest(text.as_bytes())) || again != bytes {
            return Err(damaged(&"its checksum is wrong"));
        }
        let Format { format } = serde_json::from_str(text).map_err(|error| damaged(&error))?;
        if format != FORMAT {
            return Err(format!(
                "the manifest is of format {format}, which another version of HyperCache wrote; this \
                 one reads format {FORMAT}"
            ));
        }
        let manifest: Self = serde_json::from_str(text).map_err(|error| damaged(&error))?;
        manifest.check().map_err(|reason| damaged(&reason))?;
        Ok(manifest)
    }

    /// Whether what it says can be: it may be from anywhere.
    fn check(&self) -> Result<(), String> {
        unhex::<16>(&self.data_set).ok_or("its data set is none")?;
        for object in self.objects() {
            let name = &object.name;
            let plain = |part: &str| {
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
                !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_plain)
            };
            let (kind, rest) = name.split_once('/').unwrap_or(("", name));
            if !matches!(kind, "segments" | "snapshots") || !plain(rest) {
                return Err(format!("'{name}' is no object's name"));
            }
            unhex::<32>(&object.sha256).ok_or_else(|| format!("{name} has no checksum"))?;
            if object.bytes > object.stored_bytes {
                return Err(format!("the length of {name}"));
            }
        }
        for segment in &self.segments {
            let mut at = 0u64;
            for object in &segment.objects {
                if object.from != at {
                    return Err(format!(
                        "segment {}: bytes are missing from {at} on",
                        segment.number
                    ));
                }
                at = at.checked_add(object.bytes).ok_or("a length")?;
            }
        }
        let number =
            |pair: &[Segment]| pair.first().map(|s| s.number) < pair.last().map(|s| s.number);
        if !self.segments.windows(2).all(number) {
            return Err("its segments are not in order".into());
        }
        Ok(())
    }

    /// All objects, each once.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        let snapshots = self.snapshots.iter().map(|snapshot| &snapshot.object);
        snapshots.chain(self.segments.iter().flat_map(|segment| &segment.objects))
    }

    /// All its objects' bytes, as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        self.objects().map(|object| object.stored_bytes).sum()
    }

    /// What it can be restored to, in words.
    pub fn range(&self) -> String {
        let (from, to) = (self.from, self.to);
        format!(
            "sequence {} to {}, {} to {}",
            from.sequence,
            to.sequence,
            super::time::shown(from.time_ms),
            super::time::shown(to.time_ms)
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn example() -> Manifest {
        let object = |name: &str, from, bytes| Object {
            name: name.into(),
            from,
            bytes,
            stored_bytes: bytes,
            sha256: "ab".repeat(32),
        };
        let point = |sequence, time_ms| Point { sequence, time_ms };
        Manifest {
            format: FORMAT,
            id: "20261129T043045123Z-00000000000000000009".into(),
            member: "m".into(),
            cluster: "c".into(),
            version: "0.1.0".into(),
            data_set: "01".repeat(16),
            recipient: None,
            created_ms: 2,
            took_ms: 1,
            from: point(3, 1_000),
            to: point(9, 2_000),
            stores: vec![Store {
                number: 1,
                name: "s".into(),
                since: 0,
                is_logged: true,
                mode: "aof".into(),
            }],
            snapshots: vec![Snapshot {
                store: 1,
                first_sequence: 2,
                last_sequence: 3,
                ended_ms: 1_000,
                keys: 1,
                object: object("snapshots/a", 0, 5),
            }],
            segments: vec![Segment {
                number: 1,
                first_sequence: 1,
                objects: vec![object("segments/a", 0, 64), object("segments/b", 64, 9)],
            }],
        }
    }

    #[test]
    fn s6_a_manifest_reads_back_and_each_flipped_or_missing_byte_is_told_of() {
        let bytes = example().write().unwrap();
        assert_eq!(Manifest::read(&bytes).unwrap(), example());
        for at in 0..bytes.len() {
            for bit in [1, 0x20, 0x80] {
                let mut bytes = bytes.clone();
                bytes[at] ^= bit;
                assert!(Manifest::read(&bytes).is_err(), "byte {at}");
            }
            assert!(Manifest::read(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn s6_a_manifest_cannot_name_what_is_elsewhere_or_leave_out_bytes() {
        let told = |change: fn(&mut Manifest)| {
            let mut manifest = example();
            change(&mut manifest);
            Manifest::read(&manifest.write().unwrap()).unwrap_err()
        };
        for name in ["../x", "segments/../../x", "segments/a/b", "/etc/passwd", "segments/.x", ""] {
            let mut manifest = example();
            manifest.snapshots[0].object.name = name.into();
            let told = Manifest::read(&manifest.write().unwrap()).unwrap_err();
            assert!(told.contains("no object's name"), "{told}");
        }
        assert!(told(|m| m.segments[0].objects[1].from = 65).contains("missing from 64"));
        assert!(told(|m| m.segments[0].objects[1].bytes = u64::MAX).contains("length"));
        assert!(told(|m| m.format = 2).contains("format 2"));
        assert!(told(|m| m.data_set = "../..".into()).contains("data set"));
    }
}
