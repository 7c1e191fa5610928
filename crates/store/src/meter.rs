//! Counts what a store was asked and how many bytes went over the wire.
//!
//! What must hold: for S3 every HTTP request counts once, retries included; for folders and memory every operation does.
//! The counts only ever grow.
//!
//! It deliberately knows no prices.

use serde::{Deserialize, Serialize};
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Requests and bytes since a store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Requests that list.
    pub lists: u64,
    /// Requests that read an object.
    pub gets: u64,
    /// Requests that write an object.
    pub puts: u64,
    /// Requests that delete, one or many.
    pub deletes: u64,
    /// Requests that ask for an object's size only.
    pub heads: u64,
    /// All other requests.
    pub other: u64,
    /// How many of the requests were sent because an earlier one had failed.
    pub retries: u64,
    /// How many of the requests the store refused because there were too many.
    #[serde(default)]
    pub throttled: u64,
    /// Bytes sent in bodies.
    pub bytes_up: u64,
    /// Bytes received in bodies.
    pub bytes_down: u64,
}

impl Usage {
    /// Returns the number of requests of any sort.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.lists + self.gets + self.puts + self.deletes + self.heads + self.other
    }
}

impl Sub for Usage {
    type Output = Usage;

    /// Returns what came on top of an earlier reading.
    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            lists: self.lists.saturating_sub(earlier.lists),
            gets: self.gets.saturating_sub(earlier.gets),
            puts: self.puts.saturating_sub(earlier.puts),
            deletes: self.deletes.saturating_sub(earlier.deletes),
            heads: self.heads.saturating_sub(earlier.heads),
            other: self.other.saturating_sub(earlier.other),
            retries: self.retries.saturating_sub(earlier.retries),
            throttled: self.throttled.saturating_sub(earlier.throttled),
            bytes_up: self.bytes_up.saturating_sub(earlier.bytes_up),
            bytes_down: self.bytes_down.saturating_sub(earlier.bytes_down),
        }
    }
}

/// What sort of request is being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    List,
    Get,
    Put,
    Delete,
    Head,
    #[cfg(feature = "s3")]
    Other,
}

/// The running counts.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    lists: AtomicU64,
    gets: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    heads: AtomicU64,
    other: AtomicU64,
    retries: AtomicU64,
    throttled: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

impl Meter {
    pub(crate) fn count(&self, request: Request) {
        let counter = match request {
            Request::List => &self.lists,
            Request::Get => &self.gets,
            Request::Put => &self.puts,
            Request::Delete => &self.deletes,
            Request::Head => &self.heads,
            #[cfg(feature = "s3")]
            Request::Other => &self.other,
        };
        counter.fetch_add(1, Relaxed);
    }

    #[cfg(feature = "s3")]
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    #[cfg(feature = "s3")]
    pub(crate) fn throttled(&self) {
        self.throttled.fetch_add(1, Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_up.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes_down.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn read(&self) -> Usage {
        Usage {
            lists: self.lists.load(Relaxed),
            gets: self.gets.load(Relaxed),
            puts: self.puts.load(Relaxed),
            deletes: self.deletes.load(Relaxed),
            heads: self.heads.load(Relaxed),
            other: self.other.load(Relaxed),
            retries: self.retries.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            bytes_up: self.bytes_up.load(Relaxed),
            bytes_down: self.bytes_down.load(Relaxed),
        }
    }
}
