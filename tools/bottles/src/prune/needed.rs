//! Until when clients may have been told of a generation.
//!
//! What must hold: clients of plain files go by what lies under the names of the API's files. A generation's files may lie there after another one was
//! marked, until somebody puts them right: a run that died between its mark and its files leaves it so, or one that died before its mark.
//! So a generation was needed until it is certain that others' files lay there: whoever publishes has put them there before it marks; who goes
//! back marks first. What lies there now was put there when it was written.
//!
//! It deliberately reads no file: their times are enough, once they are as the current generation has them.

use crate::log::{Log, Mark};
use futures::StreamExt;
use std::time::{SystemTime, UNIX_EPOCH};
use store::{Store, StoreError};

/// Returns when an API file was last written, by the store's clock.
pub(super) async fn last_written(store: &Store) -> Result<SystemTime, StoreError> {
    let mut last = UNIX_EPOCH;
    let mut entries = store.list_stream("api");
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let path = entry.key.strip_prefix("api/");
        if path.is_some_and(crate::plan::is_api_file) {
            last = last.max(entry.modified);
        }
    }
    Ok(last)
}

/// Returns until when clients may have met what was superseded by the mark at a place, or by a later one; nothing if they may still meet it.
/// `settled` is when the files that lie there now were written, if they are those of the current generation.
pub(super) fn until(log: &Log, next: usize, settled: Option<SystemTime>) -> Option<SystemTime> {
    let last = log.marks.len().checked_sub(1)?;
    let later = log.marks.iter().enumerate().take(last).skip(next);
    let mut clean = later.filter(|(place, _)| came_after_its_files(log, *place));
    match clean.next() {
        Some((_, mark)) => Some(mark.written),
        // Mended since, or put there after the mark.
        None => settled.map(|settled| settled.max(log.marks[last].written)),
    }
}

/// Tells whether a mark says that its generation's files lay under their names when it was set: not if it was gone back to, and not if
/// another run published at the same moment.
fn came_after_its_files(log: &Log, place: usize) -> bool {
    let mark: &Mark = &log.marks[place];
    let is_first = |other: &Mark| other.generation != mark.generation;
    let is_rival = |other: &Mark| other.number == mark.number && other != mark;
    log.marks[..place].iter().all(is_first) && !log.marks.iter().any(is_rival)
}
