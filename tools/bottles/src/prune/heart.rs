//! Says again and again that a prune is at work, and ends it once it was held up.
//!
//! What must hold: others take a prune for dead that has said nothing for a quarter of an hour of the store's clock, and then rely on what it
//! was about to remove. So it does not go a step further once its last word is older than [`HELD_UP`], counted from before that was written;
//! and it does not speak again either, for that would wake the dead. The time that a machine sleeps counts.
//!
//! It deliberately compares no clock with the store's: only how much time has passed, which is the same by both. What is left is a request
//! that was on its way already when the machine fell asleep.

use crate::log::{LogError, PruneSign};
use futures::future::BoxFuture;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};
use store::{Store, StoreError};

/// So often a prune says that it is at work.
const EVERY: Duration = Duration::from_mins(1);

/// A prune whose last word is older than this removes nothing more. Others give it five minutes more: for a request that is on its way, and for
/// clocks that are set.
const HELD_UP: Duration = Duration::from_mins(10);

/// So often it is looked whether it is time, and whether it is too late.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A clock that nobody sets and one that somebody did set differ by no more than this.
const SET_BACK: Duration = Duration::from_mins(1);

/// A moment by two clocks: nobody sets the one, but it may stand still while the machine sleeps; the other does not.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the one that nobody sets.
    pub steady: Instant,
    /// By the one that goes on.
    pub wall: SystemTime,
}

impl Moment {
    /// Returns the present.
    #[must_use]
    pub fn now() -> Moment {
        Moment {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// Returns how much time may have passed since an earlier moment: without end if a clock was set back meanwhile, for then nobody knows.
    fn since(self, earlier: Moment) -> Duration {
        let steady = self.steady.saturating_duration_since(earlier.steady);
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        match wall + SET_BACK < steady {
            true => Duration::MAX,
            false => wall.max(steady),
        }
    }
}

/// Works, and says meanwhile that somebody works. `begun` is when the first word was about to be written.
///
/// # Errors
/// Of the work; or [`LogError::HeldUp`], and then nothing more is done.
pub(super) async fn beat_during<T>(
    store: &Store,
    sign: &PruneSign,
    begun: Moment,
    clock: impl Fn() -> Moment,
    work: impl Future<Output = Result<T, LogError>>,
) -> Result<T, LogError> {
    let mut work = pin!(work);
    let mut heart = Heart {
        last: begun,
        tried: begun,
        count: 0,
        beat: None,
    };
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let outcome = poll_fn(|context| {
        while ticks.poll_tick(context).is_ready() {}
        let now = clock();
        if heart.beat.is_none() && now.since(heart.tried) >= EVERY && !heart.is_late(now) {
            heart.tried = now;
            heart.beat = Some(Box::pin(sign.beat(store, heart.count)));
        }
        if let Some(beat) = &mut heart.beat
            && let Poll::Ready(written) = beat.as_mut().poll(context)
        {
            heart.beat = None;
            heart.take(written, clock());
        }
        // Whenever the work goes on it may have slept: each of its steps is looked at.
        match heart.is_late(clock()) {
            true => Poll::Ready(Err(LogError::HeldUp)),
            false => work.as_mut().poll(context),
        }
    })
    .await;
    // What is on its way is not to come after the note was removed.
    if let Some(beat) = heart.beat {
        drop(beat.await);
    }
    outcome
}

struct Heart<'s> {
    /// Before the last word that is there was written.
    last: Moment,
    /// Before the last one was tried to be written.
    tried: Moment,
    count: u64,
    beat: Option<BoxFuture<'s, Result<(), StoreError>>>,
}

impl Heart<'_> {
    fn is_late(&self, now: Moment) -> bool {
        now.since(self.last) >= HELD_UP
    }

    fn take(&mut self, written: Result<(), StoreError>, now: Moment) {
        match written {
            // One that was so long on its way says nothing to those who looked meanwhile.
            Ok(()) if self.is_late(now) => {}
            Ok(()) => {
                self.last = self.tried;
                self.count += 1;
            }
            Err(error) => {
                tracing::warn!(%error, "the log could not be told that this prune is still at work");
            }
        }
    }
}
