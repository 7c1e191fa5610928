//! The lines of a journal, and how they are written: sixteen hexadecimal digits of a BLAKE3 over the line's number and text,
//! a space, the text as JSON, a line feed.
//!
//! What must hold: a line is valid only at its own place, so that one that was lost, moved or repeated is noticed.

use super::StoredBlob;
use crate::item::Item;
use crate::ledger::Outcome;
use crate::report::{Exception, Report};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How many digits of the checksum are kept.
pub(super) const SUM_LENGTH: usize = 16;

/// What a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Names the run; it becomes a part of keys in the target, so it has only letters, digits, '-', '_' and '.'.
    pub run_id: String,
    /// The tool that made it.
    pub tool: String,
    /// The tool's version.
    pub version: String,
    /// When it began.
    pub started: Timestamp,
    /// Whatever the tool needs to go on with it.
    #[serde(default)]
    pub parameters: serde_json::Value,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// The first line.
    Run(RunHeader),
    /// A call of the engine begins.
    Begin { what: String, time: Timestamp },
    /// An item is in the plan. `fresh` says of each blob that no object had its key.
    Planned { item: Item, fresh: Vec<bool> },
    /// An upload in parts is begun.
    Upload { key: String, id: String },
    /// It is completed or given up.
    UploadEnded { id: String },
    /// All blobs of an item are in the target and proved; `planned` is where its line begins.
    Stored {
        id: String,
        planned: u64,
        blobs: Vec<Option<StoredBlob>>,
    },
    /// An item is left out.
    LeftOut { id: String, exception: Exception },
    /// Something a person should know.
    Remark { exception: Exception },
    /// Items are about to be switched over.
    Committing { ids: Vec<String> },
    /// They were, or not.
    Committed {
        time: Timestamp,
        outcomes: Vec<(String, Outcome)>,
    },
    /// Items are about to be switched back.
    Reverting { ids: Vec<String> },
    /// They were, or not.
    Reverted { outcomes: Vec<(String, Outcome)> },
    /// The objects that the run made of these items are gone.
    ObjectsRemoved { ids: Vec<String> },
    /// The sources of items are about to be removed.
    Removing { ids: Vec<String> },
    /// They were.
    Removed { ids: Vec<String> },
    /// The file was made from a store's copy: whoever has it may not be who began the run. Or the copy contradicts it, and that was passed over.
    Taken {
        time: Timestamp,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        contested: bool,
    },
    /// Somebody said that the run is one of here, and what it is asked to do.
    Owned {
        time: Timestamp,
        parameters: serde_json::Value,
    },
    /// A call of the engine came to its end; the report has no list of exceptions here.
    End {
        what: String,
        time: Timestamp,
        report: Box<Report>,
    },
}

/// The same line with only what the index needs: opening a journal of a million items reads nothing else.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Head<'a> {
    Run(IgnoredAny),
    Begin {},
    Planned {
        #[serde(borrow)]
        item: ItemHead<'a>,
    },
    Upload {
        #[serde(borrow)]
        key: Cow<'a, str>,
        #[serde(borrow)]
        id: Cow<'a, str>,
    },
    UploadEnded {
        #[serde(borrow)]
        id: Cow<'a, str>,
    },
    Stored {
        #[serde(borrow)]
        id: Cow<'a, str>,
    },
    LeftOut {
        #[serde(borrow)]
        id: Cow<'a, str>,
    },
    Remark {},
    Committing {
        #[serde(borrow)]
        ids: Vec<Cow<'a, str>>,
    },
    Committed {
        #[serde(borrow)]
        outcomes: Vec<(Cow<'a, str>, Outcome)>,
    },
    Reverting {
        #[serde(borrow)]
        ids: Vec<Cow<'a, str>>,
    },
    Reverted {
        #[serde(borrow)]
        outcomes: Vec<(Cow<'a, str>, Outcome)>,
    },
    ObjectsRemoved {
        #[serde(borrow)]
        ids: Vec<Cow<'a, str>>,
    },
    Removing {
        #[serde(borrow)]
        ids: Vec<Cow<'a, str>>,
    },
    Removed {
        #[serde(borrow)]
        ids: Vec<Cow<'a, str>>,
    },
    Taken {
        #[serde(default)]
        contested: bool,
    },
    Owned {
        parameters: serde_json::Value,
    },
    End {
        #[serde(borrow)]
        what: Cow<'a, str>,
    },
}

#[derive(Debug, Deserialize)]
pub(super) struct ItemHead<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
}

/// Writes a line, the line feed included.
pub(super) fn encode(number: u64, line: &Line) -> serde_json::Result<Vec<u8>> {
    let mut bytes = vec![b' '; SUM_LENGTH + 1];
    serde_json::to_writer(&mut bytes, line)?;
    let sum = sum(number, &bytes[SUM_LENGTH + 1..]);
    bytes[..SUM_LENGTH].copy_from_slice(&sum);
    bytes.push(b'\n');
    Ok(bytes)
}

/// Returns the text of a line that is valid at its place; the line comes with its line feed.
pub(super) fn text(number: u64, bytes: &[u8]) -> Option<&[u8]> {
    let line = bytes.strip_suffix(b"\n")?;
    let (found, rest) = line.split_at_checked(SUM_LENGTH)?;
    let text = rest.strip_prefix(b" ")?;
    (sum(number, text) == found).then_some(text)
}

fn sum(number: u64, text: &[u8]) -> [u8; SUM_LENGTH] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(text);
    let hex = hasher.finalize().to_hex();
    let mut sum = [0; SUM_LENGTH];
    sum.copy_from_slice(&hex.as_bytes()[..SUM_LENGTH]);
    sum
}

impl Line {
    /// Returns what the index needs of the line.
    pub(super) fn head(&self) -> Head<'_> {
        match self {
            Line::Run(_) => Head::Run(IgnoredAny),
            Line::Begin { .. } => Head::Begin {},
            Line::Planned { item, .. } => Head::Planned {
                item: ItemHead {
                    id: Cow::Borrowed(&item.id),
                },
            },
            Line::Upload { key, id } => Head::Upload {
                key: Cow::Borrowed(key),
                id: Cow::Borrowed(id),
            },
            Line::UploadEnded { id } => Head::UploadEnded {
                id: Cow::Borrowed(id),
            },
            Line::Stored { id, .. } => Head::Stored {
                id: Cow::Borrowed(id),
            },
            Line::LeftOut { id, .. } => Head::LeftOut {
                id: Cow::Borrowed(id),
            },
            Line::Remark { .. } => Head::Remark {},
            Line::Committing { ids } => Head::Committing { ids: cows(ids) },
            Line::Committed { outcomes, .. } => Head::Committed {
                outcomes: cow_pairs(outcomes),
            },
            Line::Reverting { ids } => Head::Reverting { ids: cows(ids) },
            Line::Reverted { outcomes } => Head::Reverted {
                outcomes: cow_pairs(outcomes),
            },
            Line::ObjectsRemoved { ids } => Head::ObjectsRemoved { ids: cows(ids) },
            Line::Removing { ids } => Head::Removing { ids: cows(ids) },
            Line::Removed { ids } => Head::Removed { ids: cows(ids) },
            Line::Taken { contested, .. } => Head::Taken {
                contested: *contested,
            },
            Line::Owned { parameters, .. } => Head::Owned {
                parameters: parameters.clone(),
            },
            Line::End { what, .. } => Head::End {
                what: Cow::Borrowed(what),
            },
        }
    }
}

fn cows(ids: &[String]) -> Vec<Cow<'_, str>> {
    ids.iter().map(|id| Cow::Borrowed(id.as_str())).collect()
}

fn cow_pairs(pairs: &[(String, Outcome)]) -> Vec<(Cow<'_, str>, Outcome)> {
    let pairs = pairs.iter();
    pairs
        .map(|(id, outcome)| (Cow::Borrowed(id.as_str()), outcome.clone()))
        .collect()
}
