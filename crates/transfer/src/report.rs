//! What a run did, and what it left out and why.
//!
//! What must hold: the counts are those of the journal, not of this process only, where that is said; every item that was
//! planned and is not switched over has an exception by name, in the report or (beyond a cap) in the journal.

use serde::{Deserialize, Serialize};
use store::Usage;

/// More exceptions than this are only counted in a report; the journal has them all.
pub(crate) const EXCEPTIONS_MAX: usize = 10_000;

/// What one call of the engine did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// Items that were written to the journal, those of earlier runs over it not counted.
    pub planned: u64,
    /// Items that the plan named and this journal had switched over before.
    pub skipped: u64,
    /// Blobs that were written to the target.
    pub stored: u64,
    /// Blobs of which an equal object was there.
    pub already_there: u64,
    /// Items that were switched over, those that had been already included.
    pub committed: u64,
    /// Items that had been switched over already.
    pub already_done: u64,
    /// Items that somebody changed meanwhile.
    pub changed: u64,
    /// Items that somebody removed meanwhile.
    pub gone: u64,
    /// Items that failed, by exceptions of a kind that counts as a failure.
    pub failed: u64,
    /// Items that were left out for what is wrong with their source: missing, truncated.
    pub left_out: u64,
    /// Items that were switched back.
    pub reverted: u64,
    /// Sources that were restored from their objects.
    pub restored: u64,
    /// Objects that were removed from the target.
    pub objects_removed: u64,
    /// Sources that were removed.
    pub sources_removed: u64,
    /// Bytes that were stored, restored or removed.
    pub bytes: u64,
    /// What was odd, by name; more than 10,000 are only counted.
    pub exceptions: Vec<Exception>,
    /// How many exceptions there were in all.
    pub exception_count: u64,
    /// What the target was asked.
    pub usage: Usage,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

impl Report {
    /// Takes an exception in, up to the cap.
    pub(crate) fn add(&mut self, exception: Exception) {
        self.exception_count += 1;
        if self.exceptions.len() < EXCEPTIONS_MAX {
            self.exceptions.push(exception);
        }
    }

    /// Tells whether everything was done and nothing was odd.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.ended == Ended::Complete && self.exception_count == 0
    }

    /// Returns how many objects were not what was stored, as far as the list goes.
    #[must_use]
    pub fn verification_failures(&self) -> u64 {
        let is_one = |exception: &&Exception| exception.kind == ExceptionKind::Verification;
        self.exceptions.iter().filter(is_one).count() as u64
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Everything that was planned was dealt with.
    #[default]
    Complete,
    /// It was asked to stop; it can be resumed.
    Stopped,
    /// As many items were planned as the limit allows.
    LimitReached,
}

/// Something about one item that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// The item's id.
    pub item: String,
    /// Which blob of the item, by its role; empty if it concerns the whole item.
    pub role: String,
    /// Where the blob comes from.
    pub source: String,
    /// The key of its object.
    pub key: String,
    /// What sort of trouble it is.
    pub kind: ExceptionKind,
    /// What is wrong, with its causes.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// What sort of trouble an item has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExceptionKind {
    /// The source is not there.
    Missing,
    /// The source is no file.
    NotAFile,
    /// The source has fewer or more bytes than it should.
    WrongSize,
    /// The source has another content than it should.
    WrongDigest,
    /// The source was changed while it was read, or since.
    SourceChanged,
    /// The source may not be read or written.
    Permission,
    /// The source lies where nothing may be restored or removed.
    Outside,
    /// The source cannot be read for another reason.
    Unreadable,
    /// A blob that is not required is missing; the item was switched over without it.
    OptionalMissing,
    /// Another object has the key.
    Clash,
    /// The key cannot be used.
    BadKey,
    /// What came back from the target is not what was stored.
    Verification,
    /// The object is not in the target.
    ObjectMissing,
    /// The target refused this object.
    Refused,
    /// Somebody changed the item meanwhile.
    ItemChanged,
    /// Somebody removed the item meanwhile.
    ItemGone,
    /// It is still switched over, and no journal that is known says why.
    StillSwitched,
    /// An object was left where it is, because it is not certain that nobody needs it.
    ObjectKept,
}

impl ExceptionKind {
    /// Tells whether it counts against the limit of failures: what is wrong with a source does not, nor what others did.
    #[must_use]
    pub fn is_failure(self) -> bool {
        use ExceptionKind as Kind;
        matches!(
            self,
            Kind::Clash
                | Kind::BadKey
                | Kind::Verification
                | Kind::ObjectMissing
                | Kind::Refused
                | Kind::Unreadable
                | Kind::Permission
        )
    }

    /// Returns the stable name that is used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        use ExceptionKind as Kind;
        match self {
            Kind::Missing => "missing",
            Kind::NotAFile => "not_a_file",
            Kind::WrongSize => "wrong_size",
            Kind::WrongDigest => "wrong_digest",
            Kind::SourceChanged => "source_changed",
            Kind::Permission => "permission",
            Kind::Outside => "outside",
            Kind::Unreadable => "unreadable",
            Kind::OptionalMissing => "optional_missing",
            Kind::Clash => "clash",
            Kind::BadKey => "bad_key",
            Kind::Verification => "verification",
            Kind::ObjectMissing => "object_missing",
            Kind::Refused => "refused",
            Kind::ItemChanged => "item_changed",
            Kind::ItemGone => "item_gone",
            Kind::StillSwitched => "still_switched",
            Kind::ObjectKept => "object_kept",
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// How it ended.
    pub ended: Ended,
    /// Items that the journal says are switched over.
    pub items: u64,
    /// Objects that were looked at.
    pub checked: u64,
    /// Objects that were read back and hashed.
    pub read_back: u64,
    /// Bytes that were read back.
    pub bytes: u64,
    /// Objects that are not in the target.
    pub missing: u64,
    /// Objects that are not what was stored.
    pub differing: u64,
    /// Each of them by name; more than 10,000 are only counted.
    pub exceptions: Vec<Exception>,
    /// What the target was asked.
    pub usage: Usage,
}
