//! Watching a sync: progress for the person and for other processes, and how long each phase took.
//!
//! What must hold: watching never fails a sync.
//! What it deliberately does not do: count requests (the store does).

use std::time::{Duration, Instant};

use console::{Progress, ProgressFile, Ui};
use vault::{Observer, Step};

use crate::settings::Paths;

/// What a person is told whose machine goes on under a new identity by itself.
const PARTED: &str = "another machine writes under the identity of this one: an image of it was started twice, or a backup of it put back. This one goes on under a new identity and publishes everything it has under that; nothing is lost, and nothing is to be done here";

/// Hears a sync's steps.
pub struct Watcher {
    ui: Option<Ui>,
    progress: Progress,
    begun: Instant,
    phase: Option<(&'static str, Instant)>,
    phases: Vec<(String, Duration)>,
}

impl Watcher {
    /// Shows the steps on the terminal, if there is one, and in the progress file.
    pub fn new(ui: &Ui, paths: &Paths, command: &str) -> Self {
        let progress = ui.progress(None, command);
        let progress = match ProgressFile::create(&paths.progress_file(), command) {
            Ok(file) => progress.with_file(file),
            // Without the file nobody can follow from outside; the sync itself does not need it.
            Err(_) => progress,
        };
        Self {
            ui: Some(ui.clone()),
            progress,
            begun: Instant::now(),
            phase: None,
            phases: vec![],
        }
    }

    /// Shows nothing; only measures.
    pub fn silent() -> Self {
        Self {
            ui: None,
            progress: Progress::hidden(),
            begun: Instant::now(),
            phase: None,
            phases: vec![],
        }
    }

    /// Ends the watching: how long each phase took, and everything.
    pub fn finish(mut self) -> (Vec<(String, Duration)>, Duration) {
        self.end_phase();
        self.progress.finish();
        (self.phases, self.begun.elapsed())
    }

    fn end_phase(&mut self) {
        let Some((name, since)) = self.phase.take() else {
            return;
        };
        match self.phases.iter_mut().find(|(known, _)| known == name) {
            Some((_, took)) => *took += since.elapsed(),
            None => self.phases.push((name.to_owned(), since.elapsed())),
        }
    }
}

impl Observer for Watcher {
    fn step(&mut self, step: Step) {
        match step {
            Step::Phase(name) => {
                self.end_phase();
                self.phase = Some((name, Instant::now()));
                self.progress.phase(name, None);
            }
            Step::Planned {
                records, objects, ..
            } => self
                .progress
                .set_total(if records > 0 { records } else { objects }),
            Step::Moved { bytes, records } => {
                self.progress.add_bytes(bytes);
                self.progress.inc(records.max(1));
            }
            Step::Parted => {
                if let Some(ui) = &self.ui {
                    ui.warn(PARTED);
                }
            }
        }
    }
}
