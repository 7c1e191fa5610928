//! `homebrew-sync serve` and `misses`.

use super::args::{SampleUpstreamArgs, ServeArgs};
use super::mirror::Place;
use super::{failures, signals};
use crate::sample::{self, Sample, SampleServer};
use crate::serve::{self, AccessLog, Limits, Miss, ServeOptions};
use console::{Env, Exit, Failure, FailureExt, Table, Ui, human};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::path::PathBuf;
use transfer::StopSignal;

pub(super) fn misses_file(place: &Place) -> PathBuf {
    place.state_dir.join("misses.jsonl")
}

pub(super) async fn run(
    args: &ServeArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let store = place.open(env).await?;
    store::file::create_dir_durably(&place.state_dir)
        .map_err(|error| Failure::io("make", &place.state_dir, &error))?;
    let typed = args.access_log.clone();
    let access_log = typed.or_else(|| env.get("HOMEBREW_SYNC_ACCESS_LOG").map(PathBuf::from));
    let access = access_log.map(|path| {
        AccessLog::open(&path).map_err(|error| Failure::io("write the access log", &path, &error))
    });
    let access = access.transpose()?;
    let listener = tokio::net::TcpListener::bind(&args.listen).await;
    let listener = listener.map_err(|error| {
        Failure::wrap(
            Exit::Failed,
            format!("{} could not be listened at", args.listen),
            &error,
        )
        .hint("another program may have the port; choose one with --listen ADDRESS:PORT")
    })?;
    let address = listener
        .local_addr()
        .or_fail(Exit::Failed, "the socket has no address")?;
    ui.out(format!("Serving {} at http://{address}/", store.describe()));
    ui.flush();
    let stop = StopSignal::new();
    let _listening = signals::listen(ui, &stop)?;
    let options = ServeOptions {
        refresh: args.refresh,
        misses: Some(misses_file(place)),
        access,
        limits: limits(),
    };
    let served = serve::serve(store, listener, options, stop).await;
    served.map_err(|error| failures::of_log(&error))?;
    Ok(Exit::Ok)
}

/// What this process can bear: every client may need a socket and a file, and some are left for us.
fn limits() -> Limits {
    let mut limits = Limits::default();
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return limits;
    };
    let files = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let bearable = usize::try_from(files.saturating_sub(64) / 2).unwrap_or(usize::MAX);
    limits.connections = limits.connections.min(bearable).max(1);
    limits
}

pub(super) async fn sample_upstream(args: &SampleUpstreamArgs, ui: &Ui) -> Result<Exit, Failure> {
    if let Some(path) = &args.write_key {
        let written = store::file::atomic_write(path, sample::PUBLIC_KEY.as_bytes());
        written.map_err(|error| Failure::io("write", path, &error))?;
    }
    let sample = match args.a_week_later {
        true => Sample::a_week_later(),
        false => Sample::embedded(),
    };
    let server = SampleServer::start(sample).await;
    let server = server.or_fail(Exit::Failed, "the sample upstream could not start")?;
    ui.out(format!(
        "--api {} --registry {}",
        server.api(),
        server.registry()
    ));
    ui.flush();
    let stop = StopSignal::new();
    let _listening = signals::listen(ui, &stop)?;
    stop.raised().await;
    Ok(Exit::Ok)
}

pub(super) fn misses(place: &Place, ui: &Ui) -> Result<Exit, Failure> {
    let path = misses_file(place);
    let misses = serve::read_misses(&path).map_err(|error| Failure::io("read", &path, &error))?;
    let mut found: BTreeMap<String, (u64, Miss)> = BTreeMap::new();
    for miss in misses {
        let (count, last) = found
            .entry(miss.path.clone())
            .or_insert_with(|| (0, miss.clone()));
        *count += 1;
        *last = miss;
    }
    if ui.is_json() {
        let listed = found.values().map(|(count, last)| serde_json::json!({"path": last.path, "count": count, "last": last.time, "agent": last.agent}));
        ui.json(&listed.collect::<Vec<_>>());
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        ui.out("No client asked for anything that is not mirrored.");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["asked for", "times", "last"]);
    for (path, (count, last)) in &found {
        table.row([
            path.clone(),
            human::number(*count),
            last.time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        ]);
    }
    ui.out(table.render());
    ui.hint("Mirror what is missing: `homebrew-sync sync --formula NAME`.");
    Ok(Exit::Ok)
}
