//! What a run tells while it goes on, for progress bars and logs.
//!
//! What must hold: an observer is called from many tasks and must return at once.

use crate::report::Exception;

/// Hears what happens.
pub trait Observer: Send + Sync {
    /// Is called for everything that happens, from any task.
    fn event(&self, event: Event);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event) {}
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A phase of the work began.
    Phase(&'static str),
    /// So many items of so many bytes (as far as the planner knows) were written to the journal.
    Planned {
        /// How many items.
        items: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// So many more bytes are with the store.
    Bytes(u64),
    /// An item's blobs are in the store and proved.
    Stored {
        /// The item's id.
        item: String,
        /// How many bytes its blobs have.
        bytes: u64,
    },
    /// So many items were switched over.
    Committed {
        /// How many items.
        items: u64,
    },
    /// An item was left out, or something about it is odd.
    Exception(Exception),
    /// The store asked for fewer requests: so many items are copied at once now.
    Throttled {
        /// How many.
        parallel: usize,
    },
    /// A failure that may pass; the engine waits and tries again.
    Waiting {
        /// Why, in one line.
        why: String,
        /// For how many seconds.
        seconds: f64,
    },
    /// So many items were switched back.
    Reverted {
        /// How many items.
        items: u64,
    },
    /// A source that was gone was restored from its object.
    Restored {
        /// The blob's source.
        source: String,
        /// How many bytes it has.
        bytes: u64,
    },
    /// So many objects were removed from the target.
    ObjectsRemoved {
        /// How many objects.
        objects: u64,
    },
    /// A source was removed.
    SourceRemoved {
        /// The blob's source.
        source: String,
        /// How many bytes it had.
        bytes: u64,
    },
    /// An object was checked against the journal.
    Checked {
        /// The object's key.
        key: String,
        /// How many bytes were read back.
        bytes: u64,
    },
}
