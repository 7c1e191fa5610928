//! Bulk copying of blobs into a store with a durable journal: run, resume, verify, roll back, remove the sources.
//!
//! What must hold: a step is announced in the journal, durably, before it takes effect; whatever instruction a process
//! dies at, running again finishes the work and rolling back restores the start, with no blob lost and none counted
//! twice. A source is never touched by a run. Nothing counts as stored before the store has proved it.
//!
//! It deliberately knows no database and no document: a tool says by [`Ledger`] what it means to switch an item over, and
//! by [`Source`] where blobs come from. It prints nothing and reads no environment.

mod engine;
mod error;
mod item;
mod journal;
mod keyset;
mod ledger;
mod limits;
mod observer;
mod others;
mod report;
mod source;
mod stop;

pub use engine::{
    Engine, EngineParts, Keepers, MadeObjects, Mirror, RemoveOptions, RollbackOptions, Sample,
    Steps, VerifyOptions,
};
pub use error::{PlanError, RunError, RunErrorKind};
pub use item::{Blob, Digest, Item, Stamp};
pub use journal::{
    CopyFound, Custody, Entries, Entry, Journal, JournalError, JournalErrorKind, Renewed,
    RunHeader, State, StoredBlob, Tally,
};
pub use keyset::KeySet;
pub use ledger::{Ledger, LedgerError, Outcome, Standing};
pub use limits::{Limits, Proof, Retry};
pub use observer::{Event, Observer, Silent};
pub use others::{Claim, Claimant, Kin, Others};
pub use report::{Ended, Exception, ExceptionKind, Report, VerifyReport};
pub use source::{
    AS_THEY_COME, BlobStream, Contents, Files, Objects, Opened, Places, Removal, Source,
    SourceError, SourceErrorKind, in_pieces, stays_inside,
};
pub use stop::StopSignal;
pub use store::Attributes;
