//! What is copied: items, each of one or more blobs that are switched over together.
//!
//! What must hold: an item's id is unique in a run and never changes; a blob's key names one object of the target.
//!
//! It deliberately leaves the meaning of an item to the tool: `context` travels through the journal untouched.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use store::Attributes;

/// What the tool switches over as one: a document with its thumbnail, a bottle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Names the item in the run's journal, reports and events. Unique in a run, the same in every run over the same thing.
    pub id: String,
    /// What is copied, the most important first.
    pub blobs: Vec<Blob>,
    /// Whatever the tool's ledger needs to switch the item over and back; it is kept in the journal.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub context: serde_json::Value,
}

/// One file or object to copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blob {
    /// What it is to its item: `document`, `thumbnail`. Unique within the item.
    pub role: String,
    /// Where it comes from, in the words of the run's [`crate::Source`]: a path, a key.
    pub source: String,
    /// The key that the object gets in the target store.
    pub key: String,
    /// How many bytes it has, as far as the planner knows. A file of another size is an exception of its item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The SHA-256 that it must have, if that is known. A file of another content is an exception of its item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Whether the item cannot be switched over without it. A missing blob that is not required is only reported.
    pub required: bool,
    /// Content type, metadata and storage class of the object.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attributes: Attributes,
}

fn is_default(attributes: &Attributes) -> bool {
    *attributes == Attributes::default()
}

/// A SHA-256; printed and serialised as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes bytes that are in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::from_ring(ring::digest::digest(&ring::digest::SHA256, bytes))
    }

    pub(crate) fn from_ring(found: ring::digest::Digest) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(found.as_ref());
        Digest(bytes)
    }
}

/// Hashes bytes as they come.
pub(crate) struct Hasher(ring::digest::Context);

impl Hasher {
    pub(crate) fn new() -> Hasher {
        Hasher(ring::digest::Context::new(&ring::digest::SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest::from_ring(self.0.finish())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A text is no SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 has 64 hexadecimal digits; correct the value or leave it out")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Digest, NotADigest> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotADigest);
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * place..2 * place + 2).ok_or(NotADigest)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotADigest)?;
        }
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// What a local file has besides its bytes: kept in the journal, so that a restored file is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When it was changed last: whole seconds since 1970, negative before.
    pub mtime_s: i64,
    /// The nanoseconds above them.
    pub mtime_ns: u32,
    /// The permission bits, such as 0o644.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_in_hex_and_read_back() {
        let digest = Digest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(text.to_uppercase().parse(), Ok(digest));
        for wrong in [
            "",
            "ba",
            &text[1..],
            &text.replace('b', "g"),
            &"é".repeat(32),
        ] {
            assert_eq!(wrong.parse::<Digest>(), Err(NotADigest), "{wrong}");
        }
    }

    #[test]
    fn an_item_survives_the_journal() {
        let item = Item {
            id: "documents/1".to_owned(),
            blobs: vec![Blob {
                role: "document".to_owned(),
                source: "/tmp/ö \" file".to_owned(),
                key: "documents/1.pdf".to_owned(),
                size: Some(3),
                sha256: Some(Digest::of(b"abc")),
                required: true,
                attributes: Attributes::default(),
            }],
            context: serde_json::json!({"old": "x"}),
        };
        let text = serde_json::to_string(&item).expect("serialises");
        assert_eq!(serde_json::from_str::<Item>(&text).expect("parses"), item);
    }
}
