//! A daemon by a clock of the test's own: weeks pass without anybody waiting.

use super::*;
use std::sync::Mutex;

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A clock that jumps to where a sleep ends, and the work that is done by it.
struct World {
    now: Mutex<Timestamp>,
    /// How far the clock jumps on top of a sleep that ends after a time: the machine was suspended.
    suspended: Mutex<Option<(Timestamp, SignedDuration)>>,
    ran: Mutex<Vec<Timestamp>>,
    told: Mutex<Vec<Next>>,
    /// How long a run takes.
    takes: SignedDuration,
    /// After so many runs the daemon is stopped, and the last one with it.
    runs: usize,
    starts_now: bool,
    stop: StopSignal,
    dir: tempfile::TempDir,
}

impl World {
    fn new(now: &str, runs: usize) -> World {
        World {
            now: Mutex::new(time(now)),
            suspended: Mutex::default(),
            ran: Mutex::default(),
            told: Mutex::default(),
            takes: SignedDuration::from_mins(10),
            runs,
            starts_now: false,
            stop: StopSignal::new(),
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    fn set(&self, now: &str) {
        *self.now.lock().expect("nobody panicked") = time(now);
    }

    async fn daemon(&self, schedule: &str) -> Result<(), DaemonError> {
        self.daemon_with(schedule, Duration::ZERO, 0).await
    }

    async fn daemon_with(
        &self,
        schedule: &str,
        jitter: Duration,
        random: u64,
    ) -> Result<(), DaemonError> {
        let schedule: Schedule = schedule.parse().expect("a schedule");
        let daemon = Daemon {
            schedule: &schedule,
            zone: TimeZone::UTC,
            jitter,
            clock: self,
            random: &move || random,
            starts_now: self.starts_now,
            state_dir: self.dir.path().to_owned(),
        };
        daemon.run(self, &self.stop).await
    }

    fn ran(&self) -> Vec<String> {
        let ran = self.ran.lock().expect("nobody panicked");
        let shown = ran
            .iter()
            .map(|time| time.strftime("%m-%d %H:%M").to_string());
        shown.collect()
    }

    fn state(&self) -> DaemonState {
        let read = DaemonState::read(self.dir.path());
        read.expect("it is read").expect("it is there")
    }
}

#[async_trait]
impl Clock for World {
    fn now(&self) -> Timestamp {
        *self.now.lock().expect("nobody panicked")
    }

    async fn sleep(&self, time: Duration) {
        assert!(time <= SLEEP_AT_MOST, "{time:?}");
        let mut now = self.now.lock().expect("nobody panicked");
        *now += SignedDuration::try_from(time).expect("a time");
        let mut suspended = self.suspended.lock().expect("nobody panicked");
        if let Some((_, by)) = suspended.take_if(|(from, _)| *now >= *from) {
            *now += by;
        }
    }
}

#[async_trait(?Send)]
impl Work for World {
    async fn run(&self) -> Ended {
        let mut ran = self.ran.lock().expect("nobody panicked");
        let mut now = self.now.lock().expect("nobody panicked");
        ran.push(*now);
        *now += self.takes;
        if ran.len() < self.runs {
            return Ended::ByItself;
        }
        self.stop.raise();
        Ended::Stopped
    }

    fn tell(&self, next: Next) {
        self.told.lock().expect("nobody panicked").push(next);
    }
}

const SUNDAYS: &str = "cron(0 3 ? * SUN *)";

#[tokio::test]
async fn it_runs_when_it_is_due_and_says_when_that_is() {
    let world = World::new("2026-11-27T18:00:00Z", 3);
    world.daemon(SUNDAYS).await.expect("it ends");
    assert_eq!(world.ran(), ["11-29 03:00", "12-06 03:00", "12-13 03:00"]);
    let told = world.told.lock().expect("nobody panicked").clone();
    assert_eq!(told[0], Next::At(time("2026-11-29T03:00:00Z")));
    assert_eq!(told.len(), 3);
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_once() {
    // Asleep from Saturday on, for three weeks.
    let world = World::new("2026-11-27T18:00:00Z", 2);
    let asleep = (
        time("2026-11-28T12:00:00Z"),
        SignedDuration::from_hours(24 * 21),
    );
    *world.suspended.lock().expect("nobody panicked") = Some(asleep);
    world.daemon(SUNDAYS).await.expect("it ends");
    assert_eq!(world.ran(), ["12-19 12:00", "12-20 03:00"]);
    // Off.
    let world = World {
        stop: StopSignal::new(),
        runs: 4,
        ..world
    };
    world.set("2027-02-01T12:00:00Z");
    // The last run was stopped with its daemon: that one is made up for too, by the same run.
    world.daemon(SUNDAYS).await.expect("it ends");
    assert_eq!(world.ran()[2..], ["02-01 12:00", "02-07 03:00"]);
    // So does one that was asked for at the start.
    let world = World {
        stop: StopSignal::new(),
        runs: 6,
        starts_now: true,
        ..world
    };
    world.set("2027-03-01T12:00:00Z");
    world.daemon(SUNDAYS).await.expect("it ends");
    assert_eq!(world.ran()[4..], ["03-01 12:00", "03-07 03:00"]);
}

#[tokio::test]
async fn a_run_that_takes_longer_than_the_time_between_two_is_followed_by_one() {
    let world = World {
        takes: SignedDuration::from_mins(100),
        ..World::new("2026-11-27T18:01:00Z", 3)
    };
    world.daemon("rate(30 minutes)").await.expect("it ends");
    assert_eq!(world.ran(), ["11-27 18:31", "11-27 20:11", "11-27 21:51"]);
}

#[tokio::test]
async fn a_run_that_died_with_its_daemon_is_made_up_for_once() {
    let world = World::new("2026-11-29T02:00:00Z", 99);
    for expected in [1, 2, 2] {
        // The process dies in the middle of a run.
        let dies = Dies(&world);
        let schedule: Schedule = SUNDAYS.parse().expect("a schedule");
        let daemon = Daemon {
            schedule: &schedule,
            zone: TimeZone::UTC,
            jitter: Duration::ZERO,
            clock: &world,
            random: &|| 0,
            starts_now: false,
            state_dir: world.dir.path().to_owned(),
        };
        let until_wednesday = async {
            while world.now() < time("2026-12-02T00:00:00Z") && world.ran().len() < expected {
                tokio::task::yield_now().await;
            }
        };
        if expected == 2 && world.ran().len() == 2 {
            // Nothing is left to be made up for: it waits for the next Sunday.
            assert_eq!(world.state().begun, None);
            break;
        }
        tokio::select! {
            _ = daemon.run(&dies, &world.stop) => panic!("it hangs in its run"),
            () = until_wednesday => {}
        }
    }
    assert_eq!(world.ran().len(), 2);
}

/// Work that begins and never ends.
struct Dies<'a>(&'a World);

#[async_trait(?Send)]
impl Work for Dies<'_> {
    async fn run(&self) -> Ended {
        let now = self.0.now();
        self.0.ran.lock().expect("nobody panicked").push(now);
        std::future::pending().await
    }

    fn tell(&self, _: Next) {}
}

#[tokio::test]
async fn it_starts_later_by_chance_and_keeps_to_the_schedule() {
    let world = World::new("2026-11-27T18:00:00Z", 2);
    let jitter = Duration::from_secs(3600);
    world
        .daemon_with(SUNDAYS, jitter, 3_599_999 + 3_600_000)
        .await
        .expect("it ends");
    assert_eq!(world.ran(), ["11-29 03:59", "12-06 03:59"]);
}

#[tokio::test]
async fn another_schedule_begins_anew_and_one_that_never_comes_is_an_error() {
    let world = World::new("2026-11-27T18:00:00Z", 1);
    world.daemon(SUNDAYS).await.expect("it ends");
    let world = World {
        stop: StopSignal::new(),
        runs: 2,
        ..world
    };
    world.set("2027-01-01T12:00:00Z");
    world.daemon("cron(0 4 ? * SUN *)").await.expect("it ends");
    assert_eq!(world.ran(), ["11-29 03:00", "01-03 04:00"]);
    let world = World {
        stop: StopSignal::new(),
        ..world
    };
    let never = world.daemon("cron(0 3 1 1 ? 2020)").await;
    assert!(matches!(never, Err(DaemonError::Never { .. })), "{never:?}");
}

#[tokio::test]
async fn a_clock_that_was_wrong_once_stops_nothing_for_years() {
    let world = World::new("2040-01-01T00:00:00Z", 1);
    world.daemon(SUNDAYS).await.expect("it ends");
    let world = World {
        stop: StopSignal::new(),
        runs: 3,
        ..world
    };
    world.set("2026-11-27T18:00:00Z");
    world.daemon(SUNDAYS).await.expect("it ends");
    assert_eq!(world.ran()[1..], ["11-27 18:00", "11-29 03:00"]);
}

#[test]
fn one_state_directory_has_one_daemon() {
    let place = tempfile::tempdir().expect("a directory");
    assert!(!Lock::is_held(place.path()));
    let lock = Lock::take(place.path()).expect("it is free");
    assert!(matches!(Lock::take(place.path()), Err(LockError::Held)));
    assert!(Lock::is_held(place.path()));
    drop(lock);
    assert!(!Lock::is_held(place.path()));
    Lock::take(place.path()).expect("it is free");
}
