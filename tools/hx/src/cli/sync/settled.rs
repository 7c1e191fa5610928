//! How long to wait before a change of `vault.json` counts: until who read the file before it was written has written too.
//!
//! What must hold: the wait follows from how long this device's own look and write took, for other devices take about as long.
//! What it deliberately does not do: rest on it alone; where the store compares before it writes, nobody writes over anything.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

/// Two machines are not equally fast, nor is one at all times.
const MARGIN: Duration = Duration::from_millis(500);

/// A change under way.
pub(super) struct Settled {
    begun: Instant,
    took: OnceCell<Duration>,
}

impl Settled {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            took: OnceCell::new(),
        }
    }

    /// The first time measures how long the change took, and each waits as long as that demands.
    pub(super) async fn pause(&self) {
        let took = *self.took.get_or_init(|| self.begun.elapsed());
        tokio::time::sleep(took * 2 + MARGIN).await;
    }
}
