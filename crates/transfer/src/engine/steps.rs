//! Points at which a test ends a run, to see that it can be resumed and rolled back from there.

use crate::error::RunError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the steps of a run; ends it at one of them. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Steps(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    taken: AtomicU64,
    end: End,
}

#[derive(Clone, Copy, Debug, Default)]
enum End {
    #[default]
    Never,
    Fail(u64),
    Abort(u64),
}

impl Steps {
    /// Lets every step pass.
    #[must_use]
    pub fn all() -> Steps {
        Steps::default()
    }

    /// Ends the run with [`crate::RunErrorKind::Crash`] before its step number `step`, counted from 1; tasks that are under way are
    /// dropped where they are.
    #[must_use]
    pub fn fail_at(step: u64) -> Steps {
        Steps::with(End::Fail(step))
    }

    /// Aborts the whole process before step number `step`, counted from 1, as a power cut would; in release builds it never does.
    #[must_use]
    pub fn abort_at(step: u64) -> Steps {
        Steps::with(End::Abort(step))
    }

    /// Returns how many steps were taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    fn with(end: End) -> Steps {
        Steps(Arc::new(Inner {
            taken: AtomicU64::new(0),
            end,
        }))
    }

    /// Takes a step.
    pub(crate) fn take(&self, name: &'static str) -> Result<(), RunError> {
        let number = self.0.taken.fetch_add(1, Ordering::Relaxed) + 1;
        match self.0.end {
            End::Fail(at) if number >= at => {
                tracing::debug!(step = name, number, "ended by a test");
                Err(RunError::crash())
            }
            End::Abort(at) if number >= at && cfg!(debug_assertions) => std::process::abort(),
            _ => Ok(()),
        }
    }
}
