//! Why a run ended before its work was done.
//!
//! What must hold: `Display` says only this level and `source()` the next; every error has a remedy and says whether the
//! run can be resumed.

use crate::journal::JournalError;
use crate::ledger::LedgerError;
use crate::report::Report;
use crate::source::SourceError;
use std::error::Error;
use std::fmt;
use store::StoreError;

type BoxError = Box<dyn Error + Send + Sync>;

/// The plan could not go on: the tool's own error.
#[derive(Debug)]
pub struct PlanError {
    cause: BoxError,
    remedy: Option<String>,
}

impl PlanError {
    /// Makes an error of the tool's own.
    #[must_use]
    pub fn new(cause: impl Into<BoxError>) -> PlanError {
        PlanError {
            cause: cause.into(),
            remedy: None,
        }
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> PlanError {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the next items could not be planned")
    }
}

impl Error for PlanError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

/// Which part of a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunErrorKind {
    /// The plan could not go on.
    Plan,
    /// The source failed as a whole: a full disk, a store that cannot be reached.
    Source,
    /// The target store failed, or the one that keeps the journal's copy.
    Store,
    /// The ledger failed.
    Ledger,
    /// The journal could not be written or read.
    Journal,
    /// Another run's objects or entries are in the way.
    Mismatch,
    /// More items failed than the limit allows.
    TooManyFailures,
    /// An object was not what was stored, and the limits say that this ends the run.
    Verification,
    /// A test ended the run at a step.
    Crash,
}

/// Why a run ended early, and what it had done until then.
#[derive(Debug)]
pub struct RunError {
    kind: RunErrorKind,
    report: Box<Report>,
    cause: Option<BoxError>,
    remedy: String,
}

impl RunError {
    pub(crate) fn new(kind: RunErrorKind, cause: Option<BoxError>, remedy: String) -> RunError {
        RunError {
            kind,
            report: Box::default(),
            cause,
            remedy,
        }
    }

    pub(crate) fn crash() -> RunError {
        RunError::new(RunErrorKind::Crash, None, "resume the run".to_owned())
    }

    pub(crate) fn verification(key: &str) -> RunError {
        let remedy = "roll the run back, or check the store (--test-storage) and resume it";
        let cause = format!("{key} came back different");
        RunError::new(
            RunErrorKind::Verification,
            Some(cause.into()),
            remedy.to_owned(),
        )
    }

    pub(crate) fn too_many_failures(failures: u64) -> RunError {
        let remedy = "see the exceptions of the report, mend their causes, then resume the run";
        let cause = format!("{failures} items failed");
        RunError::new(
            RunErrorKind::TooManyFailures,
            Some(cause.into()),
            remedy.to_owned(),
        )
    }

    pub(crate) fn with_report(mut self, report: Report) -> RunError {
        self.report = Box::new(report);
        self
    }

    /// Returns which part failed.
    #[must_use]
    pub fn kind(&self) -> RunErrorKind {
        self.kind
    }

    /// Returns what was done until then.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns what a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// Returns the store's error that caused it, of the target or of the source.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        let cause = self.cause.as_ref()?;
        cause
            .downcast_ref::<StoreError>()
            .or_else(|| cause.downcast_ref::<SourceError>()?.store_error())
    }

    /// Returns the ledger's error that caused it; its source is the tool's own.
    #[must_use]
    pub fn ledger_error(&self) -> Option<&LedgerError> {
        self.cause.as_ref()?.downcast_ref()
    }
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> RunError {
        let remedy = format!("{}; then resume the run", error.remedy());
        RunError::new(RunErrorKind::Store, Some(error.into()), remedy)
    }
}

impl From<SourceError> for RunError {
    fn from(error: SourceError) -> RunError {
        let remedy = error.remedy();
        RunError::new(RunErrorKind::Source, Some(error.into()), remedy)
    }
}

impl From<LedgerError> for RunError {
    fn from(error: LedgerError) -> RunError {
        let remedy = error.remedy().to_owned();
        RunError::new(RunErrorKind::Ledger, Some(error.into()), remedy)
    }
}

impl From<JournalError> for RunError {
    fn from(error: JournalError) -> RunError {
        let remedy = error.remedy();
        RunError::new(RunErrorKind::Journal, Some(error.into()), remedy)
    }
}

impl From<PlanError> for RunError {
    fn from(error: PlanError) -> RunError {
        let remedy = error
            .remedy
            .clone()
            .unwrap_or_else(|| "see the cause, then resume the run".to_owned());
        RunError::new(RunErrorKind::Plan, Some(error.into()), remedy)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RunErrorKind::Plan => "the run stopped: planning failed",
            RunErrorKind::Source => "the run stopped: the source failed",
            RunErrorKind::Store => "the run stopped: the store failed",
            RunErrorKind::Ledger => "the run stopped: the switch of a batch is not certain",
            RunErrorKind::Journal => "the run stopped: its journal failed",
            RunErrorKind::Mismatch => "the run stopped: the journal does not fit",
            RunErrorKind::TooManyFailures => "the run stopped: too many items failed",
            RunErrorKind::Verification => "the run stopped: an object is not what was stored",
            RunErrorKind::Crash => "the run was ended by a test",
        })
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause
            .as_ref()
            .map(|cause| &**cause as &(dyn Error + 'static))
    }
}
