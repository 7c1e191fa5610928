//! The encoding of a batch of records in a segment: columns and dictionaries, so that compression finds what repeats.
//!
//! What must hold: decoding gives exactly what was encoded; one batch has one encoding; no input makes decoding panic or allocate more
//! than it has bytes for. Ids of imported events are not stored but derived again, since 16 random-looking bytes would cost more than all the rest.
//!
//! What it deliberately does not do: compress or encrypt (the vault does). `docs/format.md` describes the layout.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vault::Malformed;

use crate::history::model::{Event, Pin, Record, RecordId, Session, Tombstone};
use crate::history::occurrences::{Occurrence, Occurrences, import_time_us};

const VERSION: u8 = 1;
const COLUMNS: usize = 12;

const TIME_KNOWN: u8 = 1;
const HAS_DURATION: u8 = 1 << 1;
const HAS_EXIT: u8 = 1 << 2;
const HAS_CWD: u8 = 1 << 3;
const HAS_SHELL: u8 = 1 << 4;
const HAS_SESSION: u8 = 1 << 5;
const HAS_ACTOR: u8 = 1 << 6;
const EXPLICIT_ID: u8 = 1 << 7;

/// The columns, in the order in which they are stored.
#[derive(Clone, Copy)]
enum Column {
    Commands,
    Strings,
    Flags,
    Times,
    CommandRefs,
    Occurrences,
    Durations,
    Exits,
    StringRefs,
    Hosts,
    Ids,
    Others,
}

/// A record that is no event.
#[derive(Serialize, Deserialize)]
enum Other {
    #[serde(rename = "s")]
    Session(
        RecordId,
        Arc<str>,
        Arc<str>,
        Option<Arc<str>>,
        Option<i64>,
        Option<i64>,
    ),
    #[serde(rename = "p")]
    Pin(RecordId, RecordId, i64, bool),
    #[serde(rename = "t")]
    Tombstone(RecordId, i64),
}

/// Encodes a batch.
pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::default();
    let mut others = vec![];
    for record in records {
        match record {
            Record::Event(event) => writer.event(event),
            Record::Session(session) => others.push(Other::Session(
                session.id,
                session.name.clone(),
                session.host.clone(),
                session.shell.clone(),
                session.start_us,
                session.end_us,
            )),
            Record::Pin(pin) => others.push(Other::Pin(pin.id, pin.event, pin.clock, pin.pinned)),
            Record::Tombstone(tombstone) => {
                others.push(Other::Tombstone(tombstone.target, tombstone.time_us))
            }
        }
    }
    if !others.is_empty() {
        *writer.column(Column::Others) =
            serde_json::to_vec(&others).expect("plain data serialises");
    }
    writer.finish()
}

/// Decodes a batch. Events come first, in their order; then the other records, in theirs.
///
/// # Errors
/// [`Malformed`] for anything that [`encode`] did not write.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, Malformed> {
    let mut reader = Reader::new(bytes)?;
    let commands = reader.dictionary(Column::Commands)?;
    let strings = reader.dictionary(Column::Strings)?;
    let flags = std::mem::take(reader.column(Column::Flags));
    let mut records = Vec::with_capacity(flags.len());
    let mut previous_us = 0;
    for flags in flags {
        let event = reader.event(*flags, &commands, &strings, &mut previous_us)?;
        records.push(Record::Event(event));
    }
    let others = std::mem::take(reader.column(Column::Others));
    if !others.is_empty() {
        let others: Vec<Other> = serde_json::from_slice(others)
            .map_err(|error| Malformed(format!("its other records cannot be read: {error}")))?;
        records.extend(others.into_iter().map(Other::into_record));
    }
    reader.finish()?;
    Ok(records)
}

/// About how many bytes the record takes when encoded.
pub fn size(record: &Record) -> usize {
    match record {
        // A command that repeats costs a few bytes, but that is not known here.
        Record::Event(event) => event.command.len() + 12,
        Record::Session(session) => session.name.len() + 100,
        Record::Pin(_) | Record::Tombstone(_) => 100,
    }
}

impl Other {
    fn into_record(self) -> Record {
        match self {
            Self::Session(id, name, host, shell, start_us, end_us) => Record::Session(Session {
                id,
                name,
                host,
                shell,
                start_us,
                end_us,
            }),
            Self::Pin(id, event, clock, pinned) => Record::Pin(Pin {
                id,
                event,
                clock,
                pinned,
            }),
            Self::Tombstone(target, time_us) => Record::Tombstone(Tombstone {
                id: Tombstone::id_for(target),
                target,
                time_us,
            }),
        }
    }
}

#[derive(Default)]
struct Writer<'a> {
    columns: [Vec<u8>; COLUMNS],
    commands: HashMap<&'a str, u64>,
    strings: HashMap<&'a str, u64>,
    occurrences: Occurrences,
    previous_us: i64,
}

impl<'a> Writer<'a> {
    fn column(&mut self, column: Column) -> &mut Vec<u8> {
        &mut self.columns[column as usize]
    }

    fn event(&mut self, event: &'a Event) {
        let mut flags = u8::from(event.time_known) * TIME_KNOWN;
        match self.occurrences.find(event) {
            Occurrence::Nth(occurrence) => {
                put_u64(self.column(Column::Occurrences), u64::from(occurrence))
            }
            // What is not found keeps its id in full.
            Occurrence::None | Occurrence::Unknown => {
                flags |= EXPLICIT_ID;
                self.column(Column::Ids).extend_from_slice(&event.id.0);
            }
        }
        put_i64(
            &mut self.columns[Column::Times as usize],
            event.time_us.wrapping_sub(self.previous_us),
        );
        self.previous_us = event.time_us;
        let command = self.refer(Column::Commands, &event.command);
        put_u64(self.column(Column::CommandRefs), command);
        let host = self.refer(Column::Strings, &event.host);
        put_u64(self.column(Column::Hosts), host);
        if let Some(duration) = event.duration_ms {
            flags |= HAS_DURATION;
            put_i64(self.column(Column::Durations), duration);
        }
        if let Some(exit) = event.exit {
            flags |= HAS_EXIT;
            put_i64(self.column(Column::Exits), i64::from(exit));
        }
        for (flag, text) in [
            (HAS_CWD, &event.cwd),
            (HAS_SHELL, &event.shell),
            (HAS_SESSION, &event.session),
            (HAS_ACTOR, &event.actor),
        ] {
            if let Some(text) = text {
                flags |= flag;
                let reference = self.refer(Column::Strings, text);
                put_u64(self.column(Column::StringRefs), reference);
            }
        }
        self.column(Column::Flags).push(flags);
    }

    /// The index of a text in a dictionary, which it joins if it is new.
    fn refer(&mut self, dictionary: Column, text: &'a str) -> u64 {
        let known = if matches!(dictionary, Column::Commands) {
            &mut self.commands
        } else {
            &mut self.strings
        };
        let next = known.len() as u64;
        let index = *known.entry(text).or_insert(next);
        if index == next {
            let bytes = self.column(dictionary);
            put_u64(bytes, text.len() as u64);
            bytes.extend_from_slice(text.as_bytes());
        }
        index
    }

    fn finish(self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for column in &self.columns {
            put_u64(&mut bytes, column.len() as u64);
        }
        bytes.extend(self.columns.into_iter().flatten());
        bytes
    }
}

struct Reader<'a> {
    columns: [&'a [u8]; COLUMNS],
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let [VERSION, rest @ ..] = bytes else {
            return Err(Malformed("its record encoding is not version 1".into()));
        };
        let mut rest = rest;
        let mut lengths = [0; COLUMNS];
        for length in &mut lengths {
            *length = take_u64(&mut rest)?;
        }
        let mut columns = [&[][..]; COLUMNS];
        for (column, length) in columns.iter_mut().zip(lengths) {
            *column = take_bytes(&mut rest, length)?;
        }
        if rest.is_empty() {
            Ok(Self { columns })
        } else {
            Err(Malformed("it has bytes left over".into()))
        }
    }

    fn column(&mut self, column: Column) -> &mut &'a [u8] {
        &mut self.columns[column as usize]
    }

    fn u64(&mut self, column: Column) -> Result<u64, Malformed> {
        take_u64(self.column(column))
    }

    fn i64(&mut self, column: Column) -> Result<i64, Malformed> {
        self.u64(column)
            .map(|value| (value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn dictionary(&mut self, column: Column) -> Result<Vec<Arc<str>>, Malformed> {
        let mut bytes = std::mem::take(self.column(column));
        let mut texts = vec![];
        while !bytes.is_empty() {
            let length = take_u64(&mut bytes)?;
            let text = std::str::from_utf8(take_bytes(&mut bytes, length)?)
                .map_err(|_| Malformed("a text in it is not UTF-8".into()))?;
            texts.push(text.into());
        }
        Ok(texts)
    }

    fn event(
        &mut self,
        flags: u8,
        commands: &[Arc<str>],
        strings: &[Arc<str>],
        previous_us: &mut i64,
    ) -> Result<Event, Malformed> {
        let time_known = flags & TIME_KNOWN != 0;
        let time_us = previous_us.wrapping_add(self.i64(Column::Times)?);
        *previous_us = time_us;
        let command = pick(commands, self.u64(Column::CommandRefs)?)?;
        let host = pick(strings, self.u64(Column::Hosts)?)?;
        let id = if flags & EXPLICIT_ID == 0 {
            let occurrence = u32::try_from(self.u64(Column::Occurrences)?)
                .map_err(|_| Malformed("an occurrence in it is too large".into()))?;
            Event::import_id(
                &host,
                import_time_us(time_us, time_known),
                &command,
                occurrence,
            )
        } else {
            let bytes = take_bytes(self.column(Column::Ids), 16)?;
            RecordId(bytes.try_into().expect("cut to 16"))
        };
        let duration_ms = if flags & HAS_DURATION != 0 {
            Some(self.i64(Column::Durations)?)
        } else {
            None
        };
        let exit = if flags & HAS_EXIT != 0 {
            Some(self.i64(Column::Exits)?)
        } else {
            None
        };
        let exit = exit
            .map(i32::try_from)
            .transpose()
            .map_err(|_| Malformed("an exit status in it is too large".into()))?;
        let mut text = |flag| {
            if flags & flag != 0 {
                pick(strings, self.u64(Column::StringRefs)?).map(Some)
            } else {
                Ok(None)
            }
        };
        let (cwd, shell, session, actor) = (
            text(HAS_CWD)?,
            text(HAS_SHELL)?,
            text(HAS_SESSION)?,
            text(HAS_ACTOR)?,
        );
        Ok(Event {
            id,
            command,
            time_us,
            time_known,
            duration_ms,
            exit,
            cwd,
            host,
            shell,
            session,
            actor,
        })
    }

    fn finish(self) -> Result<(), Malformed> {
        if self.columns.iter().all(|column| column.is_empty()) {
            Ok(())
        } else {
            Err(Malformed("a column in it is too long".into()))
        }
    }
}

fn pick(texts: &[Arc<str>], index: u64) -> Result<Arc<str>, Malformed> {
    texts
        .get(usize::try_from(index).unwrap_or(usize::MAX))
        .cloned()
        .ok_or_else(|| Malformed("a reference in it leads nowhere".into()))
}

/// Appends an unsigned LEB128 number.
fn put_u64(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Appends a signed number in zigzag form.
fn put_i64(bytes: &mut Vec<u8>, value: i64) {
    put_u64(bytes, (value << 1 ^ value >> 63) as u64);
}

fn take_u64(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes
            .split_first()
            .ok_or_else(|| Malformed("it ends in the middle of a number".into()))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return if shift == 63 && byte > 1 {
                Err(Malformed("a number in it is too large".into()))
            } else {
                Ok(value)
            };
        }
    }
    Err(Malformed("a number in it is too long".into()))
}

fn take_bytes<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = usize::try_from(length)
        .ok()
        .and_then(|length| bytes.split_at_checked(length))
        .ok_or_else(|| Malformed("it ends in the middle of a field".into()))?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests;
