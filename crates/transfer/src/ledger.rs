//! What the tool does when an item's blobs are in the store: it switches a row over, or writes an entry.
//!
//! What must hold: both directions are idempotent and compare before they set: the engine asks again after a crash, because
//! it cannot know whether the last call took effect.
//!
//! It deliberately knows no database.

use crate::item::Item;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;

/// Where the switch of an item is recorded: the tool's database.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Switches items over, all in one transaction: each that still has its old value gets the new one.
    ///
    /// Returns one outcome an item, in the same order. Safe to call again.
    ///
    /// # Errors
    /// If it is not certain that the transaction was committed. The run then stops, resumably, and undoes nothing.
    async fn commit(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError>;

    /// Switches items back, all in one transaction: each that has the new value gets its old one. Items that were never
    /// switched over are [`Outcome::AlreadyDone`].
    ///
    /// # Errors
    /// As for [`Ledger::commit`].
    async fn revert(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError>;

    /// Tells, without changing anything, for each item whether something names its object. What names it alike before and after the switch does not
    /// say which of the two is meant: [`Standing::Alike`].
    ///
    /// # Errors
    /// If it could not be found out.
    async fn standing(&self, items: &[Item]) -> Result<Vec<Standing>, LedgerError>;

    /// Tells, without changing anything, for each item whether its source may go: it is switched over, and nothing refers
    /// to the source any more.
    ///
    /// # Errors
    /// If it could not be found out.
    async fn is_switched(&self, items: &[Item]) -> Result<Vec<bool>, LedgerError>;
}

/// What names the object of one item, in the order of what it outweighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The item itself: it is switched over, whoever did that.
    Switched,
    /// Something else: the object must stay, and the item is not switched over.
    Named,
    /// Something names it, or the source, which has the same name.
    Alike,
    /// Nothing.
    Unnamed,
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was switched now.
    Done,
    /// It had been switched before.
    AlreadyDone,
    /// It has neither the old value nor the new, but this one: somebody changed it meanwhile.
    Changed(String),
    /// It is not there any more; the text says what is gone.
    Gone(String),
}

impl Outcome {
    /// Tells whether the item now is what was asked for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Outcome::Done | Outcome::AlreadyDone)
    }
}

/// The ledger could not do what it was asked. The tool's own error is the source.
#[derive(Debug)]
pub struct LedgerError {
    cause: Box<dyn Error + Send + Sync>,
    is_retryable: bool,
    remedy: Option<String>,
}

impl LedgerError {
    /// Makes an error of the tool's own.
    #[must_use]
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> LedgerError {
        LedgerError {
            cause: cause.into(),
            is_retryable: false,
            remedy: None,
        }
    }

    /// Says that the same call may succeed a little later: a lock, a connection that was cut.
    #[must_use]
    pub fn retryable(mut self, is_retryable: bool) -> LedgerError {
        self.is_retryable = is_retryable;
        self
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> LedgerError {
        self.remedy = Some(remedy.into());
        self
    }

    /// Tells whether the same call may succeed a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.is_retryable
    }

    /// Returns what a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        self.remedy
            .as_deref()
            .unwrap_or("check that the database runs and can be reached, then resume the run")
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the items could not be switched in the database")
    }
}

impl Error for LedgerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}
