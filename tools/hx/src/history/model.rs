//! The records of a shell history, as they are stored, exported and synced.
//!
//! What must hold: two records that mean the same thing have the same [`RecordId`] on every machine, so that a union of
//! any two histories needs no comparison; a record never changes once it exists (a later pin or tombstone is a record of its own).
//!
//! What it deliberately does not do: no SQL (see `schema`), no file formats (see `import`, `export`), no encoding for the wire (see `codec`).

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

/// Identifies one record for ever, on every device: 16 bytes, shown as 32 hexadecimal digits (people may type a unique beginning).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub [u8; 16]);

/// One command that was run.
///
/// `time_us` is microseconds since the Unix epoch. Where the source had no timestamp (`time_known` false) it is the entry's
/// ordinal in its source, so that order survives: such events sort before every dated one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Identity; for imports see [`Event::import_id`].
    pub id: RecordId,
    /// The command line, as typed; may have several lines. A byte that is no UTF-8 is a character of its own: see `octets`.
    pub command: Arc<str>,
    /// Start, in microseconds since the Unix epoch (or the ordinal, see above).
    pub time_us: i64,
    /// Whether `time_us` is a real time.
    pub time_known: bool,
    /// How long it ran, in milliseconds, where known.
    pub duration_ms: Option<i64>,
    /// Exit status, where known.
    pub exit: Option<i32>,
    /// Working directory, where known.
    pub cwd: Option<Arc<str>>,
    /// The machine it ran on; empty only if nobody knows.
    pub host: Arc<str>,
    /// `zsh`, `bash`, `fish`, …, where known.
    pub shell: Option<Arc<str>>,
    /// The session it belongs to, where known.
    pub session: Option<Arc<str>>,
    /// Who typed it, where that is not the person: the name of an agent or a script.
    pub actor: Option<Arc<str>>,
}

/// A stretch of work in one terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Identity: [`RecordId::of`] `("session", name)`.
    pub id: RecordId,
    /// The session's own name, as events carry it.
    pub name: Arc<str>,
    /// The machine.
    pub host: Arc<str>,
    /// The shell, where known.
    pub shell: Option<Arc<str>>,
    /// Start in microseconds since the Unix epoch, where known.
    pub start_us: Option<i64>,
    /// End in microseconds since the Unix epoch, where known.
    pub end_us: Option<i64>,
}

/// A person marked an event to keep it at hand, or took the mark away. Of several for one event the greatest `(clock, id)` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Identity: [`RecordId::of`] over event, clock and state.
    pub id: RecordId,
    /// The event.
    pub event: RecordId,
    /// Hybrid logical clock: microseconds, greater than any the writer had seen.
    pub clock: i64,
    /// Whether the mark is set.
    pub pinned: bool,
}

/// An event was forgotten: it stays away for ever, on every device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Identity: [`Tombstone::id_for`] the target.
    pub id: RecordId,
    /// The record that is gone.
    pub target: RecordId,
    /// When, in microseconds since the Unix epoch.
    pub time_us: i64,
}

/// Anything that travels between devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A command.
    Event(Event),
    /// A session.
    Session(Session),
    /// A mark.
    Pin(Pin),
    /// A deletion.
    Tombstone(Tombstone),
}

impl RecordId {
    /// Derives an id from what the record means: BLAKE3 in key-derivation mode over the length-prefixed parts, cut to 16 bytes.
    ///
    /// `kind` separates the record kinds. The id never leaves a device unencrypted, so it need not be keyed.
    pub fn of(kind: &str, parts: &[&[u8]]) -> Self {
        // Preparing the key costs as much as hashing a command, so it is done once.
        static KEYED: LazyLock<blake3::Hasher> =
            LazyLock::new(|| blake3::Hasher::new_derive_key("syncline hx record id v1"));
        let mut hasher = KEYED.clone();
        for part in std::iter::once(kind.as_bytes()).chain(parts.iter().copied()) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(id)
    }

    /// Reads 32 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return None;
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = (high * 16 + low) as u8;
        }
        Some(Self(id))
    }
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for RecordId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no record id (32 hexadecimal digits)"))
        })
    }
}

impl Event {
    /// The id of an imported event: the `occurrence`-th (from 0) time that `host` ran `command` at `time_us`.
    ///
    /// For events without a timestamp pass `None`: the occurrence then counts over the whole known history of that host and shell.
    /// Depends on nothing else, so a file imported twice, in another order, or on two machines gives the same ids.
    pub fn import_id(host: &str, time_us: Option<i64>, command: &str, occurrence: u32) -> RecordId {
        let time = time_us.map_or([0xff; 8], i64::to_be_bytes);
        RecordId::of(
            "import",
            &[
                host.as_bytes(),
                &time,
                command.as_bytes(),
                &occurrence.to_be_bytes(),
            ],
        )
    }
}

impl Session {
    /// The id of a session.
    pub fn id_for(name: &str) -> RecordId {
        RecordId::of("session", &[name.as_bytes()])
    }
}

impl Pin {
    /// The id of a mark.
    pub fn id_for(event: RecordId, clock: i64, pinned: bool) -> RecordId {
        RecordId::of(
            "pin",
            &[&event.0, &clock.to_be_bytes(), &[u8::from(pinned)]],
        )
    }
}

impl Tombstone {
    /// The id of the deletion of `target`: the same on every device, so that two deletions of one event are one.
    pub fn id_for(target: RecordId) -> RecordId {
        RecordId::of("tombstone", &[&target.0])
    }
}

impl Record {
    /// The record's identity.
    pub fn id(&self) -> RecordId {
        match self {
            Self::Event(event) => event.id,
            Self::Session(session) => session.id,
            Self::Pin(pin) => pin.id,
            Self::Tombstone(tombstone) => tombstone.id,
        }
    }
}
