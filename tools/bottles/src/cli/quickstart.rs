//! `homebrew-sync quickstart`: everything once, for real, on a sample upstream that this process serves.
//!
//! What must hold: each step is what the commands do; nothing outside the scratch directory is touched and nobody outside this machine asked.

use super::args::QuickstartArgs;
use super::failures;
use super::mirror::tuning;
use crate::api::jws::PublicKey;
use crate::log::{self, Log};
use crate::sample::{self, Sample, SampleServer};
use crate::selection::Selection;
use crate::serve::{self, Limits, ServeOptions};
use crate::sync::{self, SyncOptions};
use crate::upstream::{Upstream, UpstreamOptions};
use console::{Env, Exit, Failure, FailureExt, Ui, human};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Environment, Store, StoreUrl};
use transfer::{Digest, Retry, Silent, StopSignal};

pub(super) async fn run(args: &QuickstartArgs, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    let scratch = tempfile::Builder::new()
        .prefix("homebrew-sync-")
        .tempdir()
        .or_fail(Exit::Failed, "a scratch directory could not be made")?;
    let path = scratch.path().to_owned();
    let _gone_at_the_end = match args.keep {
        true => {
            ui.status(format!("The scratch directory is kept: {}", path.display()));
            let _ = scratch.keep();
            None
        }
        false => Some(scratch),
    };
    let environment = Environment::from(env);
    let begun = Instant::now();
    let server = SampleServer::start(Sample::embedded())
        .await
        .or_fail(Exit::Failed, "the sample upstream could not start")?;
    ui.out(format!(
        "1. A sample upstream with {} listens at {} ({}).",
        human::count(sample::formulae().len() as u64, "formula"),
        server.registry(),
        human::duration(begun.elapsed())
    ));
    let upstream = upstream_of(&server, &environment)?;
    let url = StoreUrl::from_folder(path.join("mirror"));
    std::fs::create_dir(path.join("mirror"))
        .or_fail(Exit::Failed, "the mirror's folder could not be made")?;
    let store = Store::open(&url, &tuning(16), &environment).await?;
    walk(&store, &upstream, &path, ui).await
}

fn upstream_of(server: &SampleServer, environment: &Environment) -> Result<Arc<Upstream>, Failure> {
    let options = UpstreamOptions {
        api: server
            .api()
            .parse()
            .or_fail(Exit::Failed, "the sample has no address")?,
        registry: server
            .registry()
            .parse()
            .or_fail(Exit::Failed, "the sample has no address")?,
        authorization: None,
        attempts: 3,
        pause: Duration::from_millis(50),
    };
    Ok(Arc::new(Upstream::new(options, &tuning(16), environment)?))
}

/// Mirrors, serves, asks, and mirrors once more.
async fn walk(
    store: &Store,
    upstream: &Arc<Upstream>,
    path: &Path,
    ui: &Ui,
) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let selection = Selection {
        formulae: ["jq", "wget"].map(str::to_owned).into(),
        ..Selection::default()
    };
    let report = sync::run(
        store,
        upstream,
        &sync_options(selection, path)?,
        Arc::new(Silent),
        StopSignal::new(),
    )
    .await;
    let report = report.map_err(|error| failures::of_sync(&error))?;
    ui.out(format!(
        "2. Mirrored jq, wget and what they need: {} for {}, {}, signatures checked, {} ({}).",
        human::count(report.fetched, "file"),
        human::count(report.platforms.len() as u64, "platform"),
        human::bytes(report.fetched_bytes),
        human::count(report.store_requests, "operation"),
        human::duration(begun.elapsed()),
    ));
    let begun = Instant::now();
    let read = ask_as_brew(store, path).await?;
    ui.out(format!("3. Served it, and asked as brew asks: the API, a manifest and a bottle came; {} agreed with the signed digest ({}).", human::bytes(read), human::duration(begun.elapsed())));
    let begun = Instant::now();
    let again = sync::run(
        store,
        upstream,
        &sync_options(Selection::default(), path)?,
        Arc::new(Silent),
        StopSignal::new(),
    )
    .await;
    let again = again.map_err(|error| failures::of_sync(&error))?;
    if !again.nothing_new {
        return Err(Failure::new(
            Exit::Failed,
            "a second run found something new where nothing is",
        ));
    }
    ui.out(format!(
        "4. Ran again: nothing new ({}).",
        human::duration(begun.elapsed())
    ));
    ui.hint("Now for real: `homebrew-sync sync --store /srv/mirror --formula jq --platform x86_64_linux`, then `homebrew-sync serve --store /srv/mirror`.");
    Ok(Exit::Ok)
}

fn sync_options(selection: Selection, path: &Path) -> Result<SyncOptions, Failure> {
    let key = PublicKey::from_pem(sample::PUBLIC_KEY.as_bytes())
        .or_fail(Exit::Failed, "the sample's key")?;
    Ok(SyncOptions {
        selection,
        replaces_selection: false,
        skip: BTreeSet::new(),
        dry_run: false,
        publishes_incomplete: false,
        accepts_shrinking: false,
        checks_store: false,
        concurrency: 8,
        now: Timestamp::now(),
        key: Some(key),
        retry: Retry::default(),
        state_dir: path.join("state"),
        external: None,
    })
}

/// Serves the mirror and asks for the API, a manifest and a bottle; returns how many bytes the bottle had.
async fn ask_as_brew(store: &Store, path: &Path) -> Result<u64, Failure> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .or_fail(Exit::Failed, "no port is free")?;
    let address = listener
        .local_addr()
        .or_fail(Exit::Failed, "the socket has no address")?;
    let stop = StopSignal::new();
    let options = ServeOptions {
        refresh: Duration::from_secs(60),
        misses: Some(path.join("misses.jsonl")),
        access: None,
        limits: Limits::default(),
    };
    let serving = tokio::spawn(serve::serve(store.clone(), listener, options, stop.clone()));
    let log = Log::read(store).await?;
    let id = log
        .current()
        .ok_or_else(|| Failure::new(Exit::Failed, "nothing was published"))?;
    let generation = log::read(store, id)
        .await
        .map_err(|error| failures::of_log(&error))?;
    let held = generation.bottles.iter().find(|held| held.formula == "jq");
    let held = held.ok_or_else(|| Failure::new(Exit::Failed, "jq is not in the mirror"))?;
    let root: url::Url = format!("http://{address}/")
        .parse()
        .or_fail(Exit::Failed, "the server has no address")?;
    let client = store::http_client(&root, &tuning(4), &Environment::default())?;
    let mut last = bytes::Bytes::new();
    for key in [
        "api/formula.jws.json".to_owned(),
        held.manifest_key(),
        held.blob_key(),
    ] {
        let answer = client.get(format!("{root}{key}")).send().await;
        let answer = answer
            .and_then(reqwest::Response::error_for_status)
            .or_fail(Exit::Failed, format!("{key} was not served"))?;
        last = answer
            .bytes()
            .await
            .or_fail(Exit::Failed, format!("{key} was not served whole"))?;
    }
    stop.raise();
    drop(client);
    let _ = serving.await;
    match Digest::of(&last).to_string() == held.sha256 {
        true => Ok(last.len() as u64),
        false => Err(Failure::new(
            Exit::Corrupt,
            "the bottle that was served is not the one that was mirrored",
        )),
    }
}
