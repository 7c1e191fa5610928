//! How fast a run goes: as many items at once as the store takes without complaint, as many bytes a second as are allowed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Complaints within this time count as one: they answer requests that were under way together.
const COMPLAINTS_APART: Duration = Duration::from_millis(250);

/// How many items are copied at once: one more after each round that went well, half as many after a complaint.
pub(super) struct Pace(Mutex<State>);

struct State {
    limit: usize,
    max: usize,
    good: usize,
    complained: Option<Instant>,
    throttled_seen: u64,
}

impl Pace {
    /// `complaints` is how often the store has complained in all so far.
    pub(super) fn new(max: usize, complaints: u64) -> Pace {
        let max = max.max(1);
        Pace(Mutex::new(State {
            limit: max,
            max,
            good: 0,
            complained: None,
            throttled_seen: complaints,
        }))
    }

    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }

    /// An item went well.
    pub(super) fn went_well(&self) {
        let mut state = self.state();
        state.good += 1;
        if state.limit < state.max && state.good >= state.limit {
            state.good = 0;
            state.limit += 1;
        }
    }

    /// The store complained. Returns the new limit if it is lower.
    pub(super) fn slow_down(&self) -> Option<usize> {
        let mut state = self.state();
        let now = Instant::now();
        let is_new = state
            .complained
            .is_none_or(|last| now.duration_since(last) >= COMPLAINTS_APART);
        if !is_new || state.limit == 1 {
            return None;
        }
        state.complained = Some(now);
        state.good = 0;
        state.limit = (state.limit / 2).max(1);
        Some(state.limit)
    }

    /// Takes in how often the store has complained in all; true if that is more than before.
    pub(super) fn has_complained(&self, in_all: u64) -> bool {
        let mut state = self.state();
        let is_more = in_all > state.throttled_seen;
        state.throttled_seen = in_all;
        is_more
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit of bytes a second.
pub(super) struct Bandwidth {
    per_second: Option<u64>,
    /// When the bytes that were granted so far will have gone.
    free_at: Mutex<Option<Instant>>,
}

impl Bandwidth {
    pub(super) fn new(per_second: Option<u64>) -> Bandwidth {
        Bandwidth {
            per_second: per_second.filter(|rate| *rate > 0),
            free_at: Mutex::new(None),
        }
    }

    /// Waits until so many bytes may go.
    pub(super) async fn take(&self, bytes: u64) {
        let Some(rate) = self.per_second else {
            return;
        };
        let wait = {
            let now = Instant::now();
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let from = free_at.unwrap_or(now).max(now);
            *free_at = Some(from + Duration::from_secs_f64(bytes as f64 / rate as f64));
            from - now
        };
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_as_many_after_a_complaint_and_one_more_after_a_good_round() {
        let pace = Pace::new(16, 0);
        assert_eq!(pace.slow_down(), Some(8));
        assert_eq!(pace.slow_down(), None, "the same complaint");
        (0..8).for_each(|_| pace.went_well());
        assert_eq!(pace.limit(), 9);
        (0..1000).for_each(|_| pace.went_well());
        assert_eq!(pace.limit(), 16);
        assert!(pace.has_complained(2) && !pace.has_complained(2) && pace.has_complained(3));
    }

    #[tokio::test]
    async fn no_more_bytes_a_second_than_allowed() {
        let bandwidth = Bandwidth::new(Some(1_000_000));
        let began = Instant::now();
        for _ in 0..3 {
            bandwidth.take(10_000).await;
        }
        assert!(
            began.elapsed() >= Duration::from_millis(20),
            "the first goes at once"
        );
        Bandwidth::new(None).take(u64::MAX).await;
    }
}
