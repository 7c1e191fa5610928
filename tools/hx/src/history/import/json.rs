//! Exports of hx: JSON and JSON Lines.
//!
//! What must hold: objects are read one by one, so that memory does not grow with the file; a newer version is refused; of a damaged
//! file every record that is whole is taken, and that others may be missing is said.
//!
//! What it deliberately does not do: read the JSON of other programs.
//!
//! A document is read twice: first to see whether it is sound and what it says of itself, wherever that stands. What is not sound is then
//! read by `scan`, which needs no document around the records.

mod scan;

use std::cell::RefCell;
use std::fmt;
use std::io::{BufReader, Read};
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, MapAccess,
    SeqAccess, Visitor,
};

use self::scan::{Piece, Scanner};
use super::lines::{COMMAND_BYTES_MAX, Lines};
use super::{Applier, ImportOptions, ImportReport, Input, SkipReason, Source, refusal};
use crate::history::apply::Outcome;
use crate::history::error::{HistoryError, HistoryErrorKind, shown};
use crate::history::exchange::{
    Digest, End, EventObject, FORMAT, Header, Object, PinObject, SessionObject, TombstoneObject,
    VERSION,
};
use crate::history::model::{Event, Record, RecordId};
use crate::history::occurrences::{Occurrence, Occurrences};

struct Import<'c> {
    applier: Applier<'c>,
    report: ImportReport,
    progress: super::ImportProgress,
    digest: Digest,
    occurrences: Occurrences,
    header: Option<Header>,
    end: Option<End>,
}

pub(super) fn import(
    mut input: Input<'_>,
    lines: bool,
    applier: Applier<'_>,
    options: &ImportOptions,
) -> Result<ImportReport, HistoryError> {
    let format = if lines {
        "hx export (JSON Lines)"
    } else {
        "hx export (JSON)"
    };
    let mut import = Import {
        applier,
        report: ImportReport::new(format, options.dry_run),
        progress: options.progress.clone(),
        digest: Digest::default(),
        occurrences: Occurrences::default(),
        header: None,
        end: None,
    };
    if lines {
        import.lines(&mut input)?;
    } else {
        import.document(&mut input)?;
    }
    import.compare(input.path)?;
    let mut report = import.report;
    report.erased = import.applier.finish()?.erased;
    Ok(report)
}

impl Import<'_> {
    fn add(&mut self, mut object: Object, line: u64) -> Result<(), HistoryError> {
        self.digest.add(&mut object);
        let mut record = Record::from(object);
        let is_event = matches!(record, Record::Event(_));
        if let Record::Event(event) = &mut record {
            if event.command.len() > COMMAND_BYTES_MAX {
                self.report.skip(
                    line,
                    SkipReason::TooLong,
                    super::entry::excerpt(event.command.as_bytes()),
                );
                return Ok(());
            }
            if event.time_known {
                self.report.saw_time(event.time_us);
            }
            if self.is_changed(event) {
                self.report.changed += u64::from(event.id != changed_id(event));
                event.id = changed_id(event);
            }
        }
        if self.digest.records().is_multiple_of(super::PROGRESS_STEP) {
            self.progress.tell(self.digest.records());
        }
        let report = &mut self.report;
        report.read += u64::from(is_event);
        *match (self.applier.add(record)?, is_event) {
            (Outcome::Added, true) => &mut report.added,
            (Outcome::Added, false) => &mut report.others,
            (Outcome::Known, true) => &mut report.known,
            (Outcome::Forgotten, true) => &mut report.forgotten,
            (_, false) => &mut report.others_known,
        } += 1;
        Ok(())
    }

    /// Whether somebody changed an event that was imported from a shell's history: its id is made of what it was.
    ///
    /// Only such an event has nothing but what those files know; the id of another one says nothing.
    fn is_changed(&mut self, event: &Event) -> bool {
        let is_imported = event.exit.is_none()
            && event.cwd.is_none()
            && event.session.is_none()
            && event.actor.is_none();
        is_imported && self.occurrences.find(event) == Occurrence::None
    }

    fn lines(&mut self, input: &mut Input<'_>) -> Result<(), HistoryError> {
        let (path, crlf) = (input.path(), input.crlf);
        let mut lines = Lines::new(input.reader()?, crlf);
        while let Some(line) = lines
            .read()
            .map_err(|error| HistoryError::io("read", &path, error))?
        {
            if line.too_long {
                self.report.skip(
                    line.number,
                    SkipReason::TooLong,
                    super::entry::excerpt(lines.bytes()),
                );
            } else if let Ok(object) = serde_json::from_slice::<Object>(lines.bytes()) {
                self.add(object, line.number)?;
            } else {
                let reason = if line.terminated {
                    SkipReason::Damaged
                } else {
                    SkipReason::CutOff
                };
                self.scan(Scanner::new(lines.bytes(), line.number), reason, &path)?;
            }
        }
        Ok(())
    }

    /// Takes every record that is whole.
    fn scan<R: Read>(
        &mut self,
        mut scanner: Scanner<R>,
        reason: SkipReason,
        path: &Path,
    ) -> Result<(), HistoryError> {
        loop {
            let line = scanner.line();
            let piece = scanner
                .next()
                .map_err(|error| HistoryError::io("read", path, error))?;
            match piece {
                None => return Ok(()),
                Some(Piece::Object(object)) => self.add(object, line)?,
                Some(Piece::End(end)) => self.end = Some(end),
                Some(Piece::Header(header)) => self.take_header(header, path)?,
                Some(Piece::Gap(bytes)) => match header_within(&bytes) {
                    Some(header) => self.take_header(header, path)?,
                    None => {
                        let excerpt = super::entry::excerpt(&bytes);
                        self.report.skip(line, reason, excerpt);
                    }
                },
            }
        }
    }

    /// A newer version is refused. Another format is refused only if no record turns up: the word may be damaged.
    fn take_header(&mut self, header: Header, path: &Path) -> Result<(), HistoryError> {
        check_version(header.version, path)?;
        self.report.incomplete |= header.format != FORMAT;
        self.header = Some(header);
        Ok(())
    }

    /// Holds what was read against what the file says of itself.
    fn compare(&mut self, path: &Path) -> Result<(), HistoryError> {
        let is_damaged = self.report.incomplete || self.report.has_damage();
        if self.digest.records() == 0 && (self.header.is_none() || is_damaged) {
            let other = self
                .header
                .as_ref()
                .filter(|header| header.format != FORMAT);
            let reason = match other {
                Some(header) => format!("its format is `{}`, not `{FORMAT}`", header.format),
                None => "it is an export of hx that is damaged so much that no record is left"
                    .to_owned(),
            };
            return Err(refusal(path, &reason));
        }
        let has_end = self.header.as_ref().is_none_or(|header| header.has_end);
        let is_whole = match &self.end {
            Some(end) => {
                let missing = end.records.saturating_sub(self.digest.records());
                self.report.missing = missing.saturating_add(end.missing.unwrap_or(0));
                self.report.altered = missing == 0 && !is_damaged && !self.digest.agrees(end);
                end.missing.is_none() && self.digest.agrees(end)
            }
            None => !has_end,
        };
        self.report.incomplete = is_damaged || !is_whole;
        Ok(())
    }

    fn document(&mut self, input: &mut Input<'_>) -> Result<(), HistoryError> {
        let path = input.path();
        let mut json = serde_json::Deserializer::from_reader(input.reader()?);
        let probe = <Probe as serde::Deserialize>::deserialize(&mut json)
            .and_then(|probe| json.end().map(|()| probe));
        match probe {
            Err(error) if error.is_io() => Err(HistoryError::io("read", &path, error.into())),
            Ok(probe) if probe.is_sound() => {
                if let Some(header) = probe.header() {
                    self.take_header(header, &path)?;
                }
                self.end = probe.end;
                if probe.error.is_some() {
                    self.report.incomplete = true;
                    let what = "the export failed half-way".to_owned();
                    self.report.skip(0, SkipReason::CutOff, what);
                }
                self.parse(input.reader()?, &path)
            }
            _ => {
                self.report.incomplete = true;
                let scanner = Scanner::new(input.reader()?, 1);
                self.scan(scanner, SkipReason::Damaged, &path)
            }
        }
    }

    fn parse(
        &mut self,
        reader: BufReader<&mut dyn Source>,
        path: &Path,
    ) -> Result<(), HistoryError> {
        let failure = RefCell::new(None);
        let mut json = serde_json::Deserializer::from_reader(reader);
        let visitor = Document {
            import: self,
            failure: &failure,
        };
        match (json.deserialize_map(visitor), failure.into_inner()) {
            (_, Some(failure)) => Err(failure),
            (Ok(()), None) => Ok(()),
            (Err(error), None) => Err(HistoryError::io("read", path, error.into())),
        }
    }
}

/// The id of an event that was changed: under its own it would take the place of what it was, on every device that sees it first.
/// Made of nothing but what the event is now, so that an export of it is known again.
fn changed_id(event: &Event) -> RecordId {
    RecordId::of(
        "changed",
        &[
            &event.time_us.to_be_bytes(),
            event.host.as_bytes(),
            event.command.as_bytes(),
        ],
    )
}

/// What a document says of itself, read without keeping its records.
#[derive(serde::Deserialize)]
struct Probe {
    format: Option<String>,
    version: Option<u64>,
    #[serde(default)]
    exported_at: String,
    #[serde(default)]
    has_end: bool,
    #[serde(default)]
    events: Each<EventObject>,
    #[serde(default)]
    sessions: Each<SessionObject>,
    #[serde(default)]
    pins: Each<PinObject>,
    #[serde(default)]
    tombstones: Each<TombstoneObject>,
    end: Option<End>,
    error: Option<IgnoredAny>,
}

impl Probe {
    fn is_sound(&self) -> bool {
        let mut digest = self.events.digest;
        digest.join(self.sessions.digest);
        digest.join(self.pins.digest);
        digest.join(self.tombstones.digest);
        let has_end = match &self.end {
            Some(end) => digest.records() == end.records,
            // One that could not be finished says so instead.
            None => !self.has_end || self.error.is_some(),
        };
        has_end && self.format.as_deref() == Some(FORMAT) && self.version.is_some()
    }

    fn header(&self) -> Option<Header> {
        Some(Header {
            kind: None,
            format: self.format.clone()?,
            version: self.version?,
            exported_at: self.exported_at.clone(),
            has_end: self.has_end,
        })
    }
}

/// The sum of a list of records that are not kept.
struct Each<T> {
    digest: Digest,
    kind: PhantomData<T>,
}

impl<T> Default for Each<T> {
    fn default() -> Self {
        Self {
            digest: Digest::default(),
            kind: PhantomData,
        }
    }
}

impl<'de, T: DeserializeOwned + Into<Object>> serde::Deserialize<'de> for Each<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self::default())
    }
}

impl<'de, T: DeserializeOwned + Into<Object>> Visitor<'de> for Each<T> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self, A::Error> {
        while let Some(object) = list.next_element::<T>()? {
            self.digest.add(&mut object.into());
        }
        Ok(self)
    }
}

struct Document<'i, 'c, 'f> {
    import: &'i mut Import<'c>,
    failure: &'f RefCell<Option<HistoryError>>,
}

impl Document<'_, '_, '_> {
    fn array<'de, A: MapAccess<'de>, T: DeserializeOwned + Into<Object>>(
        &mut self,
        map: &mut A,
    ) -> Result<(), A::Error> {
        map.next_value_seed(Records::<T> {
            import: self.import,
            failure: self.failure,
            kind: PhantomData,
        })
    }
}

impl<'de> Visitor<'de> for Document<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an export of hx")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "events" => self.array::<A, EventObject>(&mut map)?,
                "sessions" => self.array::<A, SessionObject>(&mut map)?,
                "pins" => self.array::<A, PinObject>(&mut map)?,
                "tombstones" => self.array::<A, TombstoneObject>(&mut map)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Records<'i, 'c, 'f, T> {
    import: &'i mut Import<'c>,
    failure: &'f RefCell<Option<HistoryError>>,
    kind: PhantomData<T>,
}

impl<'de, T: DeserializeOwned + Into<Object>> DeserializeSeed<'de> for Records<'_, '_, '_, T> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned + Into<Object>> Visitor<'de> for Records<'_, '_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(object) = list.next_element::<T>()? {
            if let Err(error) = self.import.add(object.into(), 0) {
                *self.failure.borrow_mut() = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// The header in what stands before the first record of a document, or behind the last one; none if it is damaged.
fn header_within(gap: &[u8]) -> Option<Header> {
    let text = std::str::from_utf8(gap).ok()?;
    let start = text.find("\"format\"")?;
    let list = text[start..].find('[').map_or(text.len(), |at| start + at);
    let fields = &text[start..list];
    // The name of the list that follows is none of its fields.
    let fields = fields
        .rfind(",")
        .filter(|_| list < text.len())
        .map_or(fields.trim_end().trim_end_matches('}'), |at| &fields[..at]);
    serde_json::from_str(&format!("{{{fields}}}")).ok()
}

fn check_version(version: u64, path: &Path) -> Result<(), HistoryError> {
    if version > VERSION {
        let cause = format!(
            "it was written by a newer hx (version {version} of the format; this hx knows {VERSION})"
        );
        return Err(HistoryError::new(
            HistoryErrorKind::NewerVersion,
            format!("cannot import {}", shown(path).display()),
            cause,
        )
        .with_remedy("Install the newest hx on this machine. Nothing was imported."));
    }
    Ok(())
}
