//! The wish to stop, which comes from a signal handler or a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Asks a run to finish what is in flight, save, and end. Clones share the wish; it cannot be taken back.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_raised: AtomicBool,
    raised: Notify,
}

impl StopSignal {
    /// Makes a signal that is not raised.
    #[must_use]
    pub fn new() -> StopSignal {
        StopSignal::default()
    }

    /// Raises it.
    pub fn raise(&self) {
        self.0.is_raised.store(true, Ordering::Release);
        self.0.raised.notify_waiters();
    }

    /// Tells whether it is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.is_raised.load(Ordering::Acquire)
    }

    /// Waits until it is raised.
    pub async fn raised(&self) {
        let notified = self.0.raised.notified();
        tokio::pin!(notified);
        // Registered before the flag is read, so that no call in between is missed.
        notified.as_mut().enable();
        if !self.is_raised() {
            notified.await;
        }
    }
}
