//! Progress of one piece of work: a bar on a terminal, a file for other processes, or neither.
//!
//! What must hold: counting costs next to nothing where nobody looks; the bar leaves the screen when the work ends,
//! also by an error.
//!
//! It deliberately measures nothing: the one who works says how far it is.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, WeakProgressBar};

use crate::human;
use crate::progress_file::ProgressFile;

/// Shows how far a piece of work is. A clone counts for the same work.
#[derive(Clone)]
pub struct Progress {
    inner: Arc<Inner>,
}

struct Inner {
    bar: ProgressBar,
    file: Option<ProgressFile>,
}

impl Progress {
    pub(crate) fn new(visible: bool, total: Option<u64>, label: &str) -> Self {
        let target = if visible {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target)
            .with_style(style(total.is_some()))
            .with_message(label.to_string());
        if visible {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self {
            inner: Arc::new(Inner { bar, file: None }),
        }
    }

    /// Makes one that nobody sees, for libraries and tests.
    #[must_use]
    pub fn hidden() -> Self {
        Self::new(false, None, "")
    }

    /// Also writes the progress to a file, for other processes to follow.
    #[must_use]
    pub fn with_file(self, file: ProgressFile) -> Self {
        Self {
            inner: Arc::new(Inner {
                bar: self.inner.bar.clone(),
                file: Some(file),
            }),
        }
    }

    /// Begins another phase of the work, with its own total.
    pub fn phase(&self, label: &str, total: Option<u64>) {
        let bar = &self.inner.bar;
        bar.set_style(style(total.is_some()));
        bar.set_position(0);
        total.map_or_else(|| bar.unset_length(), |total| bar.set_length(total));
        bar.set_message(label.to_string());
        if let Some(file) = &self.inner.file {
            file.update(|state| {
                state.phase = label.to_string();
                (state.done, state.total, state.bytes) = (0, total, 0);
            });
        }
    }

    /// Sets the total, once it is known.
    pub fn set_total(&self, total: u64) {
        self.inner.bar.set_style(style(true));
        self.inner.bar.set_length(total);
        if let Some(file) = &self.inner.file {
            file.update(|state| state.total = Some(total));
        }
    }

    /// Counts items as done.
    pub fn inc(&self, n_done: u64) {
        self.inner.bar.inc(n_done);
        if let Some(file) = &self.inner.file {
            file.update(|state| state.done += n_done);
        }
    }

    /// Says how many items are done altogether.
    pub fn set_done(&self, done: u64) {
        self.inner.bar.set_position(done);
        if let Some(file) = &self.inner.file {
            file.update(|state| state.done = done);
        }
    }

    /// Counts bytes that were moved.
    pub fn add_bytes(&self, n_bytes: u64) {
        if let Some(file) = &self.inner.file {
            file.update(|state| state.bytes += n_bytes);
        }
    }

    /// Returns how many items are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.inner.bar.position()
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.inner.bar.finish_and_clear();
    }

    pub(crate) fn weak_bar(&self) -> Option<WeakProgressBar> {
        (!self.inner.bar.is_hidden()).then(|| self.inner.bar.downgrade())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total {
        "{msg} {wide_bar} {human_pos}/{human_len} {rate} {eta}"
    } else {
        "{spinner} {msg} {human_pos} {rate} {elapsed}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", write_rate)
}

/// Items a second, in whole numbers where there are many.
fn write_rate(state: &ProgressState, writer: &mut dyn std::fmt::Write) {
    let rate = state.per_sec();
    // What cannot be written on the terminal cannot be told there either.
    let _ = if rate < 10.0 {
        write!(writer, "{rate:.1}/s")
    } else {
        write!(writer, "{}/s", human::number(rate as u64))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_progress_still_counts() {
        let progress = Progress::new(false, Some(10), "importing");
        progress.inc(3);
        progress.clone().inc(4);
        assert_eq!(progress.done(), 7);
        assert!(progress.weak_bar().is_none());
    }

    #[test]
    fn the_templates_are_valid() {
        for template in [
            "{msg} {wide_bar} {human_pos}/{human_len} {rate} {eta}",
            "{spinner} {msg} {human_pos} {rate} {elapsed}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn the_file_follows() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("progress.json");
        let file = ProgressFile::create(&path, "push").expect("creates");
        let progress = Progress::hidden().with_file(file);
        progress.phase("upload", Some(5));
        progress.inc(2);
        progress.add_bytes(100);
        let state = progress
            .inner
            .file
            .as_ref()
            .expect("has a file")
            .flush()
            .expect("writes");
        assert_eq!(
            (state.phase.as_str(), state.done, state.total, state.bytes),
            ("upload", 2, Some(5), 100)
        );
        assert_eq!(
            ProgressFile::read(&path).expect("reads").expect("is there"),
            state
        );
        drop(progress);
        assert!(!path.exists(), "the file goes with the work");
    }
}
