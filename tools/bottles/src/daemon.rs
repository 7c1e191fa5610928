//! Runs by a schedule, for as long as it is let.
//!
//! What must hold: no run begins before the one before it has ended, and no two daemons share a state directory; what was due while the machine or the
//! daemon was off is made up for by one run; a run that died with its daemon is made up for once; a run that fails ends nothing.
//!
//! It deliberately does not know what a run does, nor which clock it goes by: tests have their own.

mod state;

pub use state::{DaemonState, Lock, LockError};

use crate::schedule::Schedule;
use async_trait::async_trait;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use transfer::StopSignal;

/// No sleep is longer: a machine that was suspended wakes up later than its timers think, and a clock may be set.
const SLEEP_AT_MOST: Duration = Duration::from_secs(30);

/// So often a run begins for one time at which it was due: once more than it died.
const ATTEMPTS: u32 = 2;

/// A clock that was wrong by more than this is not believed any more when the daemon begins again.
const CLOCK_AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// What time it is.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the time.
    fn now(&self) -> Timestamp;

    /// Waits; it may take longer.
    async fn sleep(&self, time: Duration);
}

/// The machine's clock.
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// How a run ended, as far as the schedule is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, well or not.
    ByItself,
    /// Because the daemon is to end: it is made up for later.
    Stopped,
}

/// What is done when it is due.
#[async_trait(?Send)]
pub trait Work {
    /// Does it.
    async fn run(&self) -> Ended;

    /// Hears what comes next.
    fn tell(&self, next: Next);
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A run at this time.
    At(Timestamp),
    /// A run now, for one that was due at this time.
    MissedAt(Timestamp),
    /// A run now, for one that died.
    DiedAt(Timestamp),
}

/// What a daemon goes by.
pub struct Daemon<'a> {
    /// The schedule.
    pub schedule: &'a Schedule,
    /// The time zone that it is read in.
    pub zone: TimeZone,
    /// Runs begin up to so much later than they are due, so that many mirrors do not ask one upstream at one moment.
    pub jitter: Duration,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// A random number.
    pub random: &'a (dyn Fn() -> u64 + Send + Sync),
    /// Whether it runs once as it begins.
    pub starts_now: bool,
    /// Where it remembers what it did.
    pub state_dir: PathBuf,
}

/// A daemon could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its state could not be kept.
    #[error("the state of the daemon cannot be kept in {path}")]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The schedule has no time to come.
    #[error("no run is due any more by {schedule}")]
    Never {
        /// The schedule.
        schedule: String,
    },
}

impl Daemon<'_> {
    /// Works by the schedule until it is stopped.
    ///
    /// # Errors
    /// If the state cannot be kept, or nothing is due any more.
    pub async fn run(&self, work: &dyn Work, stop: &StopSignal) -> Result<(), DaemonError> {
        let mut state = self.take_up()?;
        if self.starts_now {
            // It stands for whatever was missed, too.
            self.run_once(&mut state, self.clock.now(), work).await?;
        }
        while !stop.is_raised() {
            let Some(next) = self.next(&state) else {
                state.next = None;
                self.keep(&state)?;
                return Err(DaemonError::Never {
                    schedule: self.schedule.to_string(),
                });
            };
            let due = match next {
                Next::At(due) => {
                    let start = self.later(due);
                    state.next = Some(start);
                    self.keep(&state)?;
                    work.tell(Next::At(start));
                    if !self.wait(start, stop).await {
                        break;
                    }
                    due
                }
                Next::MissedAt(due) | Next::DiedAt(due) => {
                    work.tell(next);
                    due
                }
            };
            self.run_once(&mut state, due, work).await?;
        }
        Ok(())
    }

    /// Returns the times at which runs are due from now on, without anything done.
    #[must_use]
    pub fn preview(&self, count: usize) -> Vec<Timestamp> {
        let now = self.clock.now();
        let mut time = now;
        let mut found = Vec::new();
        while found.len() < count
            && let Some(next) = self.schedule.next(time, now, &self.zone)
        {
            found.push(next);
            time = next;
        }
        found
    }

    /// Reads what was remembered; another schedule begins anew.
    fn take_up(&self) -> Result<DaemonState, DaemonError> {
        let now = self.clock.now();
        let fresh = DaemonState {
            schedule: self.schedule.to_string(),
            time_zone: self.zone_name(),
            anchor: now,
            handled: now,
            begun: None,
            next: None,
        };
        let known = DaemonState::read(&self.state_dir).map_err(|error| self.failed(error))?;
        let mut state = match known {
            Some(known)
                if known.schedule == fresh.schedule && known.time_zone == fresh.time_zone =>
            {
                known
            }
            _ => fresh,
        };
        if state.handled.duration_since(now) > CLOCK_AHEAD {
            state.handled = now;
        }
        if state.anchor > now {
            state.anchor = now;
        }
        Ok(state)
    }

    fn zone_name(&self) -> String {
        let name = self.zone.iana_name().map(str::to_owned);
        name.unwrap_or_else(|| format!("{:?}", self.zone))
    }

    /// What comes after all that has been handled.
    fn next(&self, state: &DaemonState) -> Option<Next> {
        if let Some(begun) = &state.begun {
            return Some(Next::DiedAt(begun.due));
        }
        let due = self
            .schedule
            .next(state.handled, state.anchor, &self.zone)?;
        Some(match due <= self.clock.now() {
            true => Next::MissedAt(due),
            false => Next::At(due),
        })
    }

    fn later(&self, due: Timestamp) -> Timestamp {
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        if most == 0 {
            return due;
        }
        let by = i64::try_from((self.random)() % most).unwrap_or(0);
        due.checked_add(SignedDuration::from_millis(by))
            .unwrap_or(due)
    }

    /// Waits for a time; tells whether it has come.
    async fn wait(&self, until: Timestamp, stop: &StopSignal) -> bool {
        loop {
            let left = until.duration_since(self.clock.now());
            let Ok(left) = Duration::try_from(left) else {
                return !stop.is_raised();
            };
            if left.is_zero() || stop.is_raised() {
                return !stop.is_raised();
            }
            tokio::select! {
                () = self.clock.sleep(left.min(SLEEP_AT_MOST)) => {}
                () = stop.raised() => return false,
            }
        }
    }

    /// Runs for all that is due by now.
    async fn run_once(
        &self,
        state: &mut DaemonState,
        due: Timestamp,
        work: &dyn Work,
    ) -> Result<(), DaemonError> {
        let attempt = state.begun.as_ref().map_or(0, |begun| begun.attempt) + 1;
        state.handled = state.handled.max(self.clock.now());
        state.next = None;
        // Whoever finds this and no daemon knows that the run died. The last attempt is not made up for.
        state.begun = (attempt < ATTEMPTS).then_some(state::Attempt { due, attempt });
        self.keep(state)?;
        match work.run().await {
            Ended::ByItself => state.begun = None,
            Ended::Stopped => state.begun = Some(state::Attempt { due, attempt: 1 }),
        }
        self.keep(state)
    }

    fn keep(&self, state: &DaemonState) -> Result<(), DaemonError> {
        state
            .write(&self.state_dir)
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> DaemonError {
        DaemonError::State {
            path: self.state_dir.clone(),
            error,
        }
    }
}

#[cfg(test)]
mod tests;
