//! Exports of hx: JSON and JSON Lines.
//!
//! What must hold: objects are read one by one, so that memory does not grow with the file; a newer version is refused; a document
//! that ends early gives what it has, and says so.
//!
//! What it deliberately does not do: read the JSON of other programs.

use std::cell::RefCell;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::lines::{COMMAND_BYTES_MAX, Lines};
use super::{Applier, ImportOptions, ImportReport, Input, SkipReason, Source, refusal};
use crate::history::apply::Outcome;
use crate::history::error::{HistoryError, HistoryErrorKind, shown};
use crate::history::exchange::{
    End, EventObject, FORMAT, Header, Object, PinObject, SessionObject, TombstoneObject, VERSION,
};
use crate::history::model::Record;

struct Import<'c> {
    applier: Applier<'c>,
    report: ImportReport,
    progress: super::ImportProgress,
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
    };
    if lines {
        import.lines(&mut input)?;
    } else {
        import.document(&mut input)?;
    }
    let mut report = import.report;
    report.erased = import.applier.finish()?.erased;
    Ok(report)
}

impl Import<'_> {
    fn add(&mut self, record: Record, line: u64) -> Result<(), HistoryError> {
        if let Record::Event(event) = &record {
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
        }
        self.report.read += 1;
        if self.report.read.is_multiple_of(super::PROGRESS_STEP) {
            self.progress.tell(self.report.read);
        }
        match self.applier.add(record)? {
            Outcome::Added => self.report.added += 1,
            Outcome::Known => self.report.known += 1,
            Outcome::Forgotten => self.report.forgotten += 1,
        }
        Ok(())
    }

    fn lines(&mut self, input: &mut Input<'_>) -> Result<(), HistoryError> {
        let (path, crlf) = (input.path(), input.crlf);
        let mut lines = Lines::new(input.reader()?, crlf);
        let mut header: Option<Header> = None;
        let (mut ended, mut last) = (false, 0);
        while let Some(line) = lines
            .read()
            .map_err(|error| HistoryError::io("read", &path, error))?
        {
            if lines.bytes().trim_ascii().is_empty() {
                continue;
            }
            if header.is_none() {
                let read: Header = serde_json::from_slice(lines.bytes()).map_err(|_| {
                    refusal(&path, "its first line is not the header of an hx export")
                })?;
                check(&read.format, read.version, &path)?;
                header = Some(read);
            } else if line.too_long {
                self.report.skip(
                    line.number,
                    SkipReason::TooLong,
                    super::entry::excerpt(lines.bytes()),
                );
            } else if let Ok(end) = serde_json::from_slice::<End>(lines.bytes()) {
                // With fewer records before it, the middle was lost.
                ended = end.records == self.report.read;
            } else if let Ok(object) = serde_json::from_slice::<Object>(lines.bytes()) {
                self.add(object.into(), line.number)?;
            } else {
                let reason = if line.terminated {
                    SkipReason::Damaged
                } else {
                    SkipReason::CutOff
                };
                self.report
                    .skip(line.number, reason, super::entry::excerpt(lines.bytes()));
            }
            last = line.number;
        }
        if header.is_some_and(|header| header.has_end) && !ended {
            self.report.incomplete = true;
            if self.report.skipped.is_empty() {
                self.report.skip(last, SkipReason::CutOff, String::new());
            }
        }
        Ok(())
    }

    fn document(&mut self, input: &mut Input<'_>) -> Result<(), HistoryError> {
        let path = input.path();
        let known = match self.parse(input.reader()?, None, &path)? {
            Parsed::Whole => return Ok(()),
            Parsed::HeaderLate => header(input.reader()?).ok_or_else(|| {
                refusal(&path, "it is JSON of another program, not an export of hx")
            })?,
        };
        check(&known.format, known.version, &path)?;
        self.parse(input.reader()?, Some(()), &path).map(drop)
    }

    /// `checked` says that the header has been looked at already, wherever it is.
    fn parse(
        &mut self,
        reader: BufReader<&mut dyn Source>,
        checked: Option<()>,
        path: &Path,
    ) -> Result<Parsed, HistoryError> {
        let failure = RefCell::new(None);
        let mut json = serde_json::Deserializer::from_reader(reader);
        let visitor = Document {
            import: self,
            failure: &failure,
            path,
            checked: checked.is_some(),
        };
        let parsed = serde::Deserializer::deserialize_map(&mut json, visitor)
            .and_then(|parsed| json.end().map(|()| parsed));
        let error = match parsed {
            Ok(parsed) => return Ok(parsed),
            Err(error) => error,
        };
        match failure.into_inner() {
            Some(Stop::HeaderLate) => Ok(Parsed::HeaderLate),
            Some(Stop::Failed(failure)) => Err(failure),
            None if error.is_eof() && self.report.read > 0 => {
                self.report.incomplete = true;
                self.report
                    .skip(error.line() as u64, SkipReason::CutOff, String::new());
                Ok(Parsed::Whole)
            }
            None if error.is_io() => Err(HistoryError::io("read", path, error.into())),
            None => Err(refusal(
                path,
                &format!("it is a damaged export of hx: {error}"),
            )),
        }
    }
}

enum Parsed {
    Whole,
    HeaderLate,
}

/// Why reading was stopped from within.
enum Stop {
    /// Records come before the header, as sorted keys have it: the header must be found first.
    HeaderLate,
    Failed(HistoryError),
}

struct Document<'i, 'c, 'f> {
    import: &'i mut Import<'c>,
    failure: &'f RefCell<Option<Stop>>,
    path: &'f Path,
    checked: bool,
}

impl Document<'_, '_, '_> {
    fn stop<E: serde::de::Error>(&self, stop: Stop) -> E {
        *self.failure.borrow_mut() = Some(stop);
        E::custom("stopped")
    }

    fn array<'de, A: MapAccess<'de>, T: DeserializeOwned + Into<Record>>(
        &mut self,
        map: &mut A,
    ) -> Result<(), A::Error> {
        if !self.checked {
            return Err(self.stop(Stop::HeaderLate));
        }
        map.next_value_seed(Records::<T> {
            import: self.import,
            failure: self.failure,
            kind: PhantomData,
        })
    }
}

impl<'de> Visitor<'de> for Document<'_, '_, '_> {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an export of hx")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Parsed, A::Error> {
        let (mut format, mut version) = (None::<String>, None::<u64>);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "format" => format = Some(map.next_value()?),
                "version" => version = Some(map.next_value()?),
                "events" => self.array::<A, EventObject>(&mut map)?,
                "sessions" => self.array::<A, SessionObject>(&mut map)?,
                "pins" => self.array::<A, PinObject>(&mut map)?,
                "tombstones" => self.array::<A, TombstoneObject>(&mut map)?,
                "error" => {
                    map.next_value::<IgnoredAny>()?;
                    self.import.report.incomplete = true;
                    let what = "the export failed half-way".to_owned();
                    self.import.report.skip(0, SkipReason::CutOff, what);
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            if let (Some(format), Some(version), false) = (&format, version, self.checked) {
                check(format, version, self.path)
                    .map_err(|error| self.stop(Stop::Failed(error)))?;
                self.checked = true;
            }
        }
        if self.checked {
            Ok(Parsed::Whole)
        } else {
            Err(A::Error::custom("it has no format and version"))
        }
    }
}

struct Records<'i, 'c, 'f, T> {
    import: &'i mut Import<'c>,
    failure: &'f RefCell<Option<Stop>>,
    kind: PhantomData<T>,
}

impl<'de, T: DeserializeOwned + Into<Record>> DeserializeSeed<'de> for Records<'_, '_, '_, T> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned + Into<Record>> Visitor<'de> for Records<'_, '_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(object) = list.next_element::<T>()? {
            if let Err(error) = self.import.add(object.into(), 0) {
                *self.failure.borrow_mut() = Some(Stop::Failed(error));
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// Finds the header wherever it is in the document.
fn header(reader: impl BufRead) -> Option<Header> {
    serde_json::from_reader(reader).ok()
}

fn check(format: &str, version: u64, path: &Path) -> Result<(), HistoryError> {
    if format != FORMAT {
        return Err(refusal(
            path,
            &format!("its format is `{format}`, not `{FORMAT}`"),
        ));
    }
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
