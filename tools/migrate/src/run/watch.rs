//! What a run shows while it goes on: a bar on a terminal, lines for `--progress` and `--verbose`, and numbers for the summary.
//!
//! What must hold: hearing an event costs next to nothing; nothing here can hold a run up.
//!
//! What it deliberately does not do: decide anything.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use console::{Progress, Ui, human};
use transfer::{Event, Exception, Observer};

/// Counts what happens and shows it.
pub struct Watch {
    ui: Ui,
    bar: Progress,
    begun: Instant,
    /// Documents that are to be moved, as far as is known.
    total: AtomicU64,
    /// Bytes that are to be moved, as far as is known.
    total_bytes: AtomicU64,
    done: AtomicU64,
    bytes: AtomicU64,
    exceptions: AtomicU64,
    is_verbose: bool,
}

impl Watch {
    /// Makes one. `total` is how many documents there are to do, none if nobody knows.
    #[must_use]
    pub fn new(
        ui: &Ui,
        total: Option<u64>,
        total_bytes: u64,
        label: &str,
        is_verbose: bool,
    ) -> Self {
        Self {
            bar: ui.progress(total, label),
            ui: ui.clone(),
            begun: Instant::now(),
            total: AtomicU64::new(total.unwrap_or(0)),
            total_bytes: AtomicU64::new(total_bytes),
            done: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            exceptions: AtomicU64::new(0),
            is_verbose,
        }
    }

    /// Returns documents done and bytes moved so far.
    #[must_use]
    pub fn so_far(&self) -> (u64, u64) {
        (self.done.load(Relaxed), self.bytes.load(Relaxed))
    }

    /// Says in one line how far it is, how fast, and how long it will take.
    #[must_use]
    pub fn line(&self) -> String {
        let took = self.begun.elapsed();
        let (done, bytes) = self.so_far();
        let total = self.total.load(Relaxed).max(done);
        let share = (100 * done).checked_div(total).unwrap_or(100);
        let mut text = format!(
            "{} of {} ({share} %), {}",
            human::number(done),
            human::count(total, "document"),
            human::bytes(bytes)
        );
        if let Some(rate) = human::rate(bytes, took) {
            text.push_str(&format!(", {rate}"));
        }
        if let Some(left) = self.left(done, total, bytes, took) {
            text.push_str(&format!(", {} left", human::duration(left)));
        }
        match self.exceptions.load(Relaxed) {
            0 => text,
            n => format!("{text}, {}", human::count(n, "exception")),
        }
    }

    /// Bytes tell better than counts how much is left, where their sum is known.
    fn left(&self, done: u64, total: u64, bytes: u64, took: Duration) -> Option<Duration> {
        let total_bytes = self.total_bytes.load(Relaxed);
        let (so_far, all) = if total_bytes > bytes && bytes > 0 {
            (bytes, total_bytes)
        } else {
            (done, total)
        };
        if so_far == 0 || took < Duration::from_secs(2) {
            return None;
        }
        let seconds = took.as_secs_f64() * (all - so_far) as f64 / so_far as f64;
        Some(Duration::from_secs(seconds as u64))
    }

    /// Prints a line of progress, for `--progress`.
    pub fn say(&self) {
        self.ui.status(self.line());
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish();
    }

    fn advance(&self, n_done: u64) {
        self.done.fetch_add(n_done, Relaxed);
        self.bar.inc(n_done);
    }

    fn verbose(&self, line: impl FnOnce() -> String) {
        if self.is_verbose {
            self.ui.status(line());
        }
    }

    fn exception(&self, exception: &Exception) {
        self.exceptions.fetch_add(1, Relaxed);
        self.verbose(|| format!("{}: {}", exception.item, exception.message));
    }
}

impl Observer for Watch {
    fn event(&self, event: Event) {
        match event {
            Event::Phase(phase) => self.verbose(|| phase.to_owned()),
            Event::Planned { .. } => {}
            Event::Bytes(bytes) => {
                self.bytes.fetch_add(bytes, Relaxed);
                self.bar.add_bytes(bytes);
            }
            Event::Stored { item, bytes } => {
                self.verbose(|| format!("stored {item} ({})", human::bytes(bytes)));
            }
            Event::Committed { items } | Event::Reverted { items } => self.advance(items),
            Event::Exception(exception) => self.exception(&exception),
            Event::Throttled { parallel } => {
                self.verbose(|| format!("the store asks for less: {parallel} at once now"));
            }
            Event::Waiting { why, seconds } => {
                let pause = human::duration(Duration::from_secs_f64(seconds));
                self.ui.status(format!("waiting {pause}: {why}"));
            }
            Event::Restored { source, bytes } => {
                self.bytes.fetch_add(bytes, Relaxed);
                self.verbose(|| format!("restored {source} ({})", human::bytes(bytes)));
            }
            Event::ObjectsRemoved { objects } => {
                self.verbose(|| format!("removed {}", human::count(objects, "object")));
            }
            Event::SourceRemoved { source, bytes } => {
                self.advance(1);
                self.verbose(|| format!("removed {source} ({})", human::bytes(bytes)));
            }
            Event::Checked { bytes, .. } => {
                self.advance(1);
                self.bytes.fetch_add(bytes, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use console::{Env, UiOptions};

    #[test]
    fn a_line_says_how_far_it_is() {
        let (ui, _captured) = Ui::captured(UiOptions::default(), &Env::default());
        let watch = Watch::new(&ui, Some(200), 0, "migrating", false);
        watch.event(Event::Committed { items: 50 });
        watch.event(Event::Bytes(2_000_000));
        let line = watch.line();
        assert!(
            line.starts_with("50 of 200 documents (25 %), 2.0 MB"),
            "{line}"
        );
    }
}
