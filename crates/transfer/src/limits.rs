//! How much a run may use, and how far it goes to prove what it stored.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a run may use at once, and where it stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many items are copied at once at most; throttling makes it fewer. The target's `Tuning::max_connections` should allow for
    /// as many.
    pub parallel: usize,
    /// How many bytes of blobs may be in memory at once.
    pub memory: u64,
    /// Blobs of more bytes than this are stored in parts.
    pub multipart_threshold: u64,
    /// Blobs of at least so many bytes whose SHA-256 is known beforehand are passed on while they are read, not held, where the target
    /// compares checksums, they need not go in parts and [`Limits::writes_over`] allows it; none holds all. What cannot be passed on is read a second time.
    pub pass_on: Option<u64>,
    /// Whether an object that came to be under a key since the target was listed may be written over: only where the key says what the bytes are.
    pub writes_over: bool,
    /// The size of a part in bytes; larger where a blob would have more than 10,000.
    pub part_size: u64,
    /// How many items are switched over in one transaction.
    pub batch: usize,
    /// How many bytes may be read from sources a second.
    pub bandwidth: Option<u64>,
    /// More failures than this end the run. Missing and truncated sources are exceptions, not failures.
    pub max_failures: Option<u64>,
    /// So many items are planned at most.
    pub max_items: Option<u64>,
    /// Ends the run at the first object that is not what was stored.
    pub stop_on_verification_failure: bool,
    /// How often a failure of the store or the ledger that may pass is waited for.
    pub retry: Retry,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            parallel: 16,
            memory: 64 << 20,
            multipart_threshold: 50_000_000,
            pass_on: None,
            writes_over: false,
            part_size: 8 << 20,
            batch: 500,
            bandwidth: None,
            max_failures: None,
            max_items: None,
            stop_on_verification_failure: false,
            retry: Retry::default(),
        }
    }
}

/// Pauses between attempts, on top of the store's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts there are in all.
    pub attempts: u32,
    /// The pause before the second attempt; each later one is twice as long.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            attempts: 6,
            pause: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// What it takes for an object to count as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The store compared the SHA-256 itself. Where a probe finds that it does not, the object is read back.
    Checksum,
    /// The object was read back and hashed.
    ReadBack,
    /// The store says that the object has the right size.
    Size,
}
