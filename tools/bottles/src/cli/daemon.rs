//! `homebrew-sync daemon`: runs by a schedule.
//!
//! What must hold: a failed run is told and ends nothing; SIGTERM ends the daemon well, after the run that is under way was stopped.

use super::args::DaemonArgs;
use super::mirror::Place;
use super::signals;
use super::sync_run::{self, Start};
use crate::daemon::{
    Clock, Daemon, DaemonError, DaemonState, Ended, Lock, LockError, Next, SystemClock, Work,
};
use crate::runs::Trigger;
use crate::schedule::Schedule;
use async_trait::async_trait;
use console::{Env, Exit, Failure, Ui, human};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::Duration;
use transfer::StopSignal;

/// So many times are shown by `--dry-run`.
const SHOWN: usize = 5;

/// Runs `daemon`.
pub(super) async fn run(
    args: &DaemonArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let schedule = schedule(args, env)?;
    let zone = zone(args, env)?;
    if args.sync.rebuild_hash || args.sync.replace {
        return Err(Failure::usage(
            "a daemon does not replace the selection or rebuild the hash file, again and again",
        )
        .hint("do it once with `homebrew-sync sync`, then start the daemon"));
    }
    let daemon = Daemon {
        schedule: &schedule,
        zone: zone.clone(),
        jitter: args.jitter,
        clock: &SystemClock,
        random: &random,
        starts_now: args.now,
        state_dir: place.state_dir.clone(),
    };
    if args.sync.dry_run {
        return Ok(preview(&daemon, ui));
    }
    if ui.is_json() {
        return Err(
            Failure::usage("a daemon prints no document: it does not end").hint(
                "its log has a line of JSON for each run; `homebrew-sync runs --json` lists them",
            ),
        );
    }
    // What is typed wrong is said now, and not at three in the morning.
    place.named(env)?;
    let _lock = Lock::take(&place.state_dir).map_err(|error| match &error {
        LockError::Held => Failure::from_error(Exit::Locked, &error)
            .hint("end that one, or name another directory with --state-dir DIR"),
        LockError::Io(io) => Failure::io("use", &place.state_dir, io),
    })?;
    let stop = StopSignal::new();
    let _listening = signals::listen(ui, &stop)?;
    let work = Syncs {
        args,
        place,
        ui,
        env,
        stop: &stop,
        zone,
    };
    let outcome = daemon.run(&work, &stop).await;
    outcome.map_err(|error| match &error {
        DaemonError::State { .. } => Failure::from_error(Exit::Failed, &error)
            .hint("name a directory that can be written with --state-dir DIR"),
        DaemonError::Never { .. } => {
            Failure::from_error(Exit::Config, &error).hint("see the years of the schedule")
        }
    })?;
    ui.status("The daemon has ended.");
    Ok(Exit::Ok)
}

fn schedule(args: &DaemonArgs, env: &Env) -> Result<Schedule, Failure> {
    let text = args.schedule.as_deref();
    let text = text.or_else(|| env.get("HOMEBREW_SYNC_SCHEDULE"));
    let example = "write it like \"cron(0 3 ? * SUN *)\", \"rate(1 day)\" or \"0 3 * * 0\"";
    let Some(text) = text else {
        return Err(Failure::usage("it is not said when to run").hint(format!(
            "{example}, after --schedule or in HOMEBREW_SYNC_SCHEDULE"
        )));
    };
    text.parse()
        .map_err(|error| Failure::from_error(Exit::Usage, &error).hint(example))
}

fn zone(args: &DaemonArgs, env: &Env) -> Result<TimeZone, Failure> {
    let name = args.time_zone.as_deref();
    let name = name.or_else(|| env.get("HOMEBREW_SYNC_TIME_ZONE"));
    match name {
        None | Some("UTC") => Ok(TimeZone::UTC),
        Some("local") => Ok(TimeZone::system()),
        Some(name) => TimeZone::get(name).map_err(|error| {
            Failure::from_error(Exit::Usage, &error)
                .context(format!("{name:?} is no time zone that this machine knows"))
                .hint("write it like Europe/Berlin, or `local`")
        }),
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness all start when they are due.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn preview(daemon: &Daemon<'_>, ui: &Ui) -> Exit {
    let times = daemon.preview(SHOWN);
    if ui.is_json() {
        ui.json(&serde_json::json!({"schedule": daemon.schedule.to_string(), "next": times}));
        return Exit::Ok;
    }
    for time in &times {
        ui.out(shown(*time, &daemon.zone));
    }
    if times.is_empty() {
        ui.out(format!("No run is due any more by {}.", daemon.schedule));
    }
    Exit::Ok
}

fn shown(time: Timestamp, zone: &TimeZone) -> String {
    let time = time.to_zoned(zone.clone());
    time.strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Says when the next run begins, for `status`.
pub(super) fn next(place: &Place) -> Option<(Timestamp, DaemonState)> {
    let is_alive = Lock::is_held(&place.state_dir);
    let state = DaemonState::read(&place.state_dir).ok()??;
    is_alive.then_some(())?;
    Some((state.next?, state))
}

/// The runs of a daemon.
struct Syncs<'a> {
    args: &'a DaemonArgs,
    place: &'a Place,
    ui: &'a Ui,
    env: &'a Env,
    stop: &'a StopSignal,
    zone: TimeZone,
}

#[async_trait(?Send)]
impl Work for Syncs<'_> {
    async fn run(&self) -> Ended {
        let start = Start {
            trigger: Trigger::Schedule,
            stop: self.stop.clone(),
        };
        let (args, place, ui, env) = (&self.args.sync, self.place, self.ui, self.env);
        match sync_run::once(args, place, ui, env, start).await {
            Ok(Exit::Interrupted) => return Ended::Stopped,
            Ok(_) => {}
            Err(failure) => ui.failure(&failure),
        }
        ui.flush();
        Ended::ByItself
    }

    fn tell(&self, next: Next) {
        match next {
            Next::At(time) => {
                let left = time.duration_since(SystemClock.now());
                let left = Duration::try_from(left).unwrap_or_default();
                let when = shown(time, &self.zone);
                self.ui
                    .status(format!("Next run: {when}, in {}.", human::duration(left)));
            }
            Next::MissedAt(time) => {
                let when = shown(time, &self.zone);
                self.ui
                    .status(format!("A run was due {when} and missed: it begins now."));
            }
            Next::DiedAt(time) => {
                let when = shown(time, &self.zone);
                self.ui.status(format!(
                    "The run that was due {when} did not end: it begins again now."
                ));
            }
        }
        self.ui.flush();
    }
}
