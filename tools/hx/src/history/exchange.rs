//! The records as JSON: the objects of hx's own export format, version 1, for `export` and `import`.
//!
//! What must hold: an object that was written is read back as the same record; fields this version does not know are ignored.
//!
//! What it deliberately does not do: the document around the objects.
//!
//! ```json
//! {"format":"syncline-hx-history","version":1,"exported_at":"2024-03-13T14:30:20Z","has_end":true,"events":[…],"sessions":[…],"pins":[…],"tombstones":[…],"end":{…}}
//! ```
//!
//! The end is `{"type":"end","records":N,"digest":…}`: how many records there are, and a sum over them that does not depend on their order.
//! If they were read from a damaged database, `missing` says how many are known not to be among them. A document that could not be
//! finished has `error` as its last key, and no end.
//!
//! In JSON Lines the first line is `{"type":"header","format":…,"version":…,"exported_at":…,"has_end":true}`, and each further line one
//! of the objects with its `type`: `event`, `session`, `pin` or `tombstone`. The last line is the end. Times that end in `_us` are microseconds since the Unix epoch;
//! `time` repeats one for people. Absent means unknown.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::model::{Event, Pin, Record, RecordId, Session, Tombstone};

/// The name of the format.
pub(crate) const FORMAT: &str = "syncline-hx-history";

/// The version that this hx writes, and the newest it reads.
pub(crate) const VERSION: u64 = 1;

/// The first line of JSON Lines; the fields before the arrays of JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    pub(crate) format: String,
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) exported_at: String,
    /// Whether there is an end. Files of older versions have none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) has_end: bool,
}

/// The last line of JSON Lines; the last value of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    #[serde(rename = "type")]
    pub(crate) kind: EndKind,
    /// How many records the file has.
    pub(crate) records: u64,
    /// Their [`Digest`]. Files of older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// How many records of a damaged database are known not to be here; none if it was sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<u64>,
}

/// The sum of what records say, in any order: 128 bits of BLAKE3 over each object without its `type` and `time`, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Digest {
    sum: u128,
    records: u64,
}

impl Digest {
    /// Adds an object. The time for people is left out: it repeats another, and how it is written may change.
    pub(crate) fn add(&mut self, object: &mut Object) {
        let time = object.time_mut().and_then(Option::take);
        let mut bytes = Vec::new();
        // Writing plain data into memory cannot fail.
        let _ = object.write_bare(&mut bytes);
        if let Some(place) = object.time_mut() {
            *place = time;
        }
        let hash = blake3::hash(&bytes);
        let first = hash.as_bytes().first_chunk::<16>();
        self.sum = self
            .sum
            .wrapping_add(first.map_or(0, |bytes| u128::from_le_bytes(*bytes)));
        self.records += 1;
    }

    /// The end of a file with these records.
    pub(crate) fn end(self, missing: Option<u64>) -> End {
        End {
            kind: EndKind::End,
            records: self.records,
            digest: Some(format!("{:032x}", self.sum)),
            missing,
        }
    }

    /// Whether these are the records, all of them and unchanged, that an export ended with.
    pub(crate) fn agrees(self, end: &End) -> bool {
        let own = self.end(None);
        end.records == own.records && (end.digest.is_none() || end.digest == own.digest)
    }

    /// Adds those of another list.
    pub(crate) fn join(&mut self, other: Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.records += other.records;
    }

    /// How many records there are.
    pub(crate) fn records(self) -> u64 {
        self.records
    }
}

/// What tells the last line of JSON Lines from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EndKind {
    #[serde(rename = "end")]
    End,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

#[derive(Serialize, Deserialize)]
pub(crate) struct EventObject {
    id: RecordId,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    time_us: i64,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    time_known: bool,
    command: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cwd: Option<Arc<str>>,
    #[serde(default)]
    host: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shell: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SessionObject {
    name: Arc<str>,
    #[serde(default)]
    host: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shell: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_us: Option<i64>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PinObject {
    event: RecordId,
    clock: i64,
    pinned: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct TombstoneObject {
    target: RecordId,
    time_us: i64,
}

/// One object of JSON Lines.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Object {
    Event(EventObject),
    Session(SessionObject),
    Pin(PinObject),
    Tombstone(TombstoneObject),
}

/// The time of a moment for people; none beyond the years that calendars have.
pub(crate) fn written(time_us: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(time_us)
        .ok()
        .map(|time| time.to_string())
}

impl From<Event> for EventObject {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            time: if event.time_known {
                written(event.time_us)
            } else {
                None
            },
            time_us: event.time_us,
            time_known: event.time_known,
            command: event.command,
            duration_ms: event.duration_ms,
            exit: event.exit,
            cwd: event.cwd,
            host: event.host,
            shell: event.shell,
            session: event.session,
            actor: event.actor,
        }
    }
}

impl From<EventObject> for Record {
    fn from(object: EventObject) -> Self {
        Self::Event(Event {
            id: object.id,
            command: object.command,
            time_us: object.time_us,
            time_known: object.time_known,
            duration_ms: object.duration_ms,
            exit: object.exit,
            cwd: object.cwd,
            host: object.host,
            shell: object.shell,
            session: object.session,
            actor: object.actor,
        })
    }
}

impl From<SessionObject> for Record {
    fn from(object: SessionObject) -> Self {
        let SessionObject {
            name,
            host,
            shell,
            start_us,
            end_us,
        } = object;
        Self::Session(Session {
            id: Session::id_for(&name),
            name,
            host,
            shell,
            start_us,
            end_us,
        })
    }
}

impl From<PinObject> for Record {
    fn from(
        PinObject {
            event,
            clock,
            pinned,
        }: PinObject,
    ) -> Self {
        Self::Pin(Pin {
            id: Pin::id_for(event, clock, pinned),
            event,
            clock,
            pinned,
        })
    }
}

impl From<TombstoneObject> for Record {
    fn from(TombstoneObject { target, time_us }: TombstoneObject) -> Self {
        Self::Tombstone(Tombstone {
            id: Tombstone::id_for(target),
            target,
            time_us,
        })
    }
}

impl From<EventObject> for Object {
    fn from(object: EventObject) -> Self {
        Self::Event(object)
    }
}

impl From<SessionObject> for Object {
    fn from(object: SessionObject) -> Self {
        Self::Session(object)
    }
}

impl From<PinObject> for Object {
    fn from(object: PinObject) -> Self {
        Self::Pin(object)
    }
}

impl From<TombstoneObject> for Object {
    fn from(object: TombstoneObject) -> Self {
        Self::Tombstone(object)
    }
}

impl From<Object> for Record {
    fn from(object: Object) -> Self {
        match object {
            Object::Event(object) => object.into(),
            Object::Session(object) => object.into(),
            Object::Pin(object) => object.into(),
            Object::Tombstone(object) => object.into(),
        }
    }
}

impl From<Record> for Object {
    fn from(record: Record) -> Self {
        match record {
            Record::Event(event) => Self::Event(event.into()),
            Record::Session(Session {
                name,
                host,
                shell,
                start_us,
                end_us,
                ..
            }) => Self::Session(SessionObject {
                name,
                host,
                shell,
                start_us,
                end_us,
            }),
            Record::Pin(Pin {
                event,
                clock,
                pinned,
                ..
            }) => Self::Pin(PinObject {
                event,
                clock,
                pinned,
            }),
            Record::Tombstone(Tombstone {
                target, time_us, ..
            }) => Self::Tombstone(TombstoneObject { target, time_us }),
        }
    }
}

impl Object {
    fn time_mut(&mut self) -> Option<&mut Option<String>> {
        match self {
            Self::Event(object) => Some(&mut object.time),
            _ => None,
        }
    }

    /// Writes the object without its `type`, as the arrays of JSON have it.
    pub(crate) fn write_bare(&self, writer: &mut dyn std::io::Write) -> serde_json::Result<()> {
        match self {
            Self::Event(object) => serde_json::to_writer(writer, object),
            Self::Session(object) => serde_json::to_writer(writer, object),
            Self::Pin(object) => serde_json::to_writer(writer, object),
            Self::Tombstone(object) => serde_json::to_writer(writer, object),
        }
    }
}
