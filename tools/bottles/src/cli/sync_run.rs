//! `homebrew-sync sync`.

use super::args::SyncArgs;
use super::mirror::{Place, tuning};
use super::notices::Settings;
use super::recording::{Recorded, Recording};
use super::telling::Telling;
use super::{external_hash, failures, signals};
use crate::api::jws::PublicKey;
use crate::hashfile::HashFile;
use crate::log::Held;
use crate::platform::Platform;
use crate::runs::Trigger;
use crate::selection::{Selection, read_brewfile};
use crate::sync::{self, SyncOptions, SyncReport};
use crate::upstream::{Upstream, UpstreamOptions};
use console::{Env, Exit, Failure, FailureExt, Ui, human, visible_line};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Environment, Store};
use transfer::{Retry, StopSignal};
use url::Url;

/// Where a brew keeps the key that it checks the API with, below its repository.
const KEY_IN_BREW: &str = "Library/Homebrew/api/homebrew-1.pem";

/// Where brew is installed by default.
const BREWS: [&str; 4] = [
    "/opt/homebrew",
    "/usr/local/Homebrew",
    "/usr/local",
    "/home/linuxbrew/.linuxbrew/Homebrew",
];

/// So many formulae that go are named to a person.
const REMOVED_NAMED: usize = 20;

/// How a run was begun.
pub(super) struct Start {
    /// By whom.
    pub(super) trigger: Trigger,
    /// Who may ask it to stop.
    pub(super) stop: StopSignal,
}

/// Runs `sync`.
pub(super) async fn run(
    args: &SyncArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let stop = StopSignal::new();
    let _listening = signals::listen(ui, &stop)?;
    let start = Start {
        trigger: Trigger::Manual,
        stop,
    };
    once(args, place, ui, env, start).await
}

/// Runs once, and leaves a record of it.
pub(super) async fn once(
    args: &SyncArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
    start: Start,
) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let name = place.named(env)?;
    let now = now(env)?;
    if args.rebuild_hash {
        let external = external_hash::read(args.external_hash.as_deref(), env).await?;
        return rebuild_hash(&place.open(env).await?, external.as_ref(), now, ui).await;
    }
    let settings = match args.dry_run {
        true => Settings::none(),
        false => Settings::resolve(&args.notices, env).await,
    };
    let opened = place.open(env).await;
    let name = opened.as_ref().map_or(name, Store::describe);
    let recording = match args.dry_run {
        true => None,
        false => Some(Recording::begin(&name, place, env, now, start.trigger, ui)),
    };
    let (telling, ticking) = Telling::begin(settings, &name, ui);
    let mut asked = 0;
    let (store, outcome) = match opened {
        Ok(store) => {
            let run = (&store, now, start.stop);
            let (outcome, requests) = attempt(args, place, env, run, telling.clone(), ui).await;
            asked = requests;
            (Some(store), outcome)
        }
        Err(failure) => (None, Err(failure)),
    };
    telling.rest(ticking).await;
    if let Ok(report) = &outcome {
        tell(report, args.dry_run, begun.elapsed(), ui);
    }
    let mut recorded = Recorded::default();
    if let Some(recording) = recording {
        let mut warnings = recording.warnings();
        recorded = recording.end(store.as_ref(), &outcome, asked, ui).await;
        if let Some(record) = &recorded.record {
            warnings.extend(outcome.iter().flat_map(|report| report.warnings.clone()));
            telling.end(record, &warnings).await;
        }
    }
    let report = match recorded.exit(outcome)? {
        Ok(report) => report,
        Err(exit) => return Ok(exit),
    };
    Ok(match () {
        () if report.stopped => Exit::Interrupted,
        () if !report.failures.is_empty() => Exit::Partial,
        () => Exit::Ok,
    })
}

/// Runs; returns what came of it, and how many requests the upstream got.
async fn attempt(
    args: &SyncArgs,
    place: &Place,
    env: &Env,
    (store, now, stop): (&Store, Timestamp, StopSignal),
    telling: Arc<Telling>,
    ui: &Ui,
) -> (Result<SyncReport, Failure>, u64) {
    let external = tokio::select! {
        read = external_hash::read(args.external_hash.as_deref(), env) => read,
        () = stop.raised() => return (Ok(SyncReport::stopped()), 0),
    };
    let external = match external {
        Ok(external) => external,
        Err(failure) => return (Err(failure), 0),
    };
    let prepared = options(args, place, (env, now), external, ui)
        .and_then(|options| Ok((options, Arc::new(upstream(args, env)?))));
    let (options, upstream) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return (Err(failure), 0),
    };
    let outcome = sync::run(store, &upstream, &options, telling, stop).await;
    let outcome = outcome.map_err(|error| failures::of_sync(&error));
    (outcome, upstream.requests())
}

fn options(
    args: &SyncArgs,
    place: &Place,
    (env, now): (&Env, Timestamp),
    external: Option<HashFile>,
    ui: &Ui,
) -> Result<SyncOptions, Failure> {
    Ok(SyncOptions {
        selection: selection(args, ui)?,
        replaces_selection: args.replace,
        skip: args.skip.iter().cloned().collect(),
        dry_run: args.dry_run,
        publishes_incomplete: args.publish_incomplete,
        accepts_shrinking: args.accept_shrinking,
        checks_store: args.check,
        concurrency: args.concurrency.into(),
        now,
        key: key(args, env)?,
        external,
        retry: Retry::default(),
        state_dir: place.state_dir.clone(),
    })
}

/// Returns the time; `SOURCE_DATE_EPOCH` stands in for the clock where a mirror is to come out the same again
/// (reproducible-builds.org's variable of that name).
pub(super) fn now(env: &Env) -> Result<Timestamp, Failure> {
    let Some(text) = env.get("SOURCE_DATE_EPOCH") else {
        return Ok(Timestamp::now());
    };
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.ok_or_else(|| {
        Failure::config(format!(
            "SOURCE_DATE_EPOCH is {text:?}, not a number of seconds since 1970"
        ))
        .hint("unset it, or set it to a number")
    })
}

fn selection(args: &SyncArgs, ui: &Ui) -> Result<Selection, Failure> {
    let mut selection = Selection {
        all: args.all,
        formulae: args.formula.iter().cloned().collect(),
        platforms: args.platform.iter().cloned().collect(),
        portable_ruby: args.portable_ruby.iter().cloned().collect(),
        flat: args.layout.is_some(),
        ..Selection::default()
    };
    for tag in &args.platform {
        tag.parse::<Platform>()
            .map_err(|error| Failure::usage(error).kind("platform"))?;
    }
    for version in &args.portable_ruby {
        if !crate::names::is_tag(version) {
            return Err(
                Failure::usage(format!("{version:?} is no version of portable-ruby"))
                    .hint("write it like 4.0.6"),
            );
        }
    }
    if let Some(path) = &args.brewfile {
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
        let found = read_brewfile(&text).map_err(|error| {
            Failure::from_error(Exit::Failed, &error)
                .hint("a Brewfile that computes its entries is not understood; list the formulae with --formula instead")
        })?;
        for (kind, count) in &found.others {
            ui.warn(format!(
                "{}: {} passed over: only bottles are mirrored",
                path.display(),
                human::count(*count as u64, &format!("{kind} entry"))
            ));
        }
        selection.formulae.extend(found.formulae);
    }
    Ok(selection)
}

pub(super) fn key(args: &SyncArgs, env: &Env) -> Result<Option<PublicKey>, Failure> {
    let named = args
        .api_key
        .clone()
        .or_else(|| env.get("HOMEBREW_SYNC_API_KEY").map(PathBuf::from));
    let path = match named {
        Some(path) => path,
        None => {
            let own = env.get("HOMEBREW_REPOSITORY").map(PathBuf::from);
            let places = own.into_iter().chain(BREWS.map(PathBuf::from));
            let found = places
                .map(|place| place.join(KEY_IN_BREW))
                .find(|path| path.is_file());
            match found {
                Some(path) => path,
                None => return Ok(None),
            }
        }
    };
    let pem = std::fs::read(&path).map_err(|error| {
        failures::hinted(
            Failure::io("read", &path, &error),
            "--api-key, or HOMEBREW_SYNC_API_KEY, names a brew's own Library/Homebrew/api/homebrew-1.pem; without it and without a brew on this machine no signature is checked",
        )
    })?;
    let key = PublicKey::from_pem(&pem).map_err(|error| {
        Failure::from_error(Exit::Config, &error)
            .context(format!("{} cannot be used", path.display()))
            .hint("it should be a brew's own Library/Homebrew/api/homebrew-1.pem")
    })?;
    Ok(Some(key))
}

/// Returns where the API and the registry are.
pub(super) fn upstreams(args: &SyncArgs, env: &Env) -> Result<(Url, Url), Failure> {
    let url = |typed: &Option<String>, variable: &str, default: &str| {
        let text = typed
            .as_deref()
            .or_else(|| env.get(variable))
            .unwrap_or(default);
        let url: Url = text
            .parse()
            .or_fail(Exit::Config, format!("{text:?} is no address"))?;
        match ["http", "https"].contains(&url.scheme()) && url.has_host() {
            true => Ok(url),
            false => Err(
                Failure::config(format!("{text:?} is no http or https address"))
                    .hint("write it like https://formulae.brew.sh/api"),
            ),
        }
    };
    Ok((
        url(
            &args.api,
            "HOMEBREW_SYNC_API",
            "https://formulae.brew.sh/api",
        )?,
        url(&args.registry, "HOMEBREW_SYNC_REGISTRY", "https://ghcr.io")?,
    ))
}

fn upstream(args: &SyncArgs, env: &Env) -> Result<Upstream, Failure> {
    let (api, registry) = upstreams(args, env)?;
    let options = UpstreamOptions {
        api,
        registry,
        authorization: env
            .get("HOMEBREW_DOCKER_REGISTRY_TOKEN")
            .map(|token| format!("Bearer {token}")),
        attempts: 5,
        pause: Duration::from_millis(500),
    };
    let environment = Environment::from(env);
    Upstream::new(options, &tuning(args.concurrency.into()), &environment).map_err(Failure::from)
}

async fn rebuild_hash(
    store: &Store,
    external: Option<&HashFile>,
    now: Timestamp,
    ui: &Ui,
) -> Result<Exit, Failure> {
    let rebuilt = sync::rebuild_hash(store, external, now)
        .await
        .map_err(|error| failures::of_sync(&error))?;
    for warning in &rebuilt.warnings {
        ui.warn(warning);
    }
    let keys = |bottles: &[Held]| bottles.iter().map(Held::blob_key).collect::<Vec<String>>();
    let (missing, damaged) = (keys(&rebuilt.missing), keys(&rebuilt.damaged));
    if ui.is_json() {
        ui.json(&serde_json::json!({
            "bottles": rebuilt.bottles, "missing": missing, "damaged": damaged, "digests_compared": rebuilt.digests_compared,
        }));
    } else {
        ui.out(format!(
            "bottles_hash.json names {}; the store's digests of {} were compared.",
            human::count(rebuilt.bottles, "bottle"),
            human::number(rebuilt.digests_compared),
        ));
    }
    if missing.is_empty() && damaged.is_empty() {
        return Ok(Exit::Ok);
    }
    for key in &missing {
        ui.warn(format!("not in the store, or of another size: {key}"));
    }
    for key in &damaged {
        ui.warn(format!("other bytes than its digest says: {key}"));
    }
    if damaged.is_empty() {
        ui.hint("`homebrew-sync sync --check` fetches what is gone.");
    } else {
        ui.hint("Remove the bottles that are damaged, then `homebrew-sync sync --check` fetches what is gone.");
    }
    Ok(Exit::Partial)
}

/// Says what clients need besides what is mirrored. No notice tells of it: nobody is to be woken every week for what was chosen.
fn tell_advice(report: &SyncReport, ui: &Ui) {
    if report.bottles == 0 || ui.is_quiet() {
        return;
    }
    if report.no_portable_ruby {
        ui.warn(
            "no portable-ruby is mirrored, and a client whose machine has no Ruby that fits cannot start without the one that it pins: \
             add --portable-ruby VERSION, as its Library/Homebrew/vendor/portable-ruby-version says",
        );
    }
    // This is for some only: it is said where something changes.
    if report.no_glibc && !report.nothing_new {
        ui.hint(
            "A Linux whose C library is older than that of the bottles installs glibc and gcc with anything: \
             if there are such clients, add --formula glibc --formula gcc.",
        );
    }
}

/// Names what the mirror has had and has no more.
fn tell_removed(report: &SyncReport, dry_run: bool, ui: &Ui) {
    let all = &report.removed;
    if all.is_empty() {
        return;
    }
    let is_kept = !dry_run && report.published.is_none();
    ui.out(format!(
        "{} from the mirror{}:",
        human::count(all.len() as u64, "removal"),
        if is_kept || dry_run {
            ", once it is published"
        } else {
            "; earlier generations keep them until they are pruned"
        },
    ));
    for removed in all.iter().take(REMOVED_NAMED) {
        let platforms: Vec<&str> = removed.platforms.iter().map(String::as_str).collect();
        let (name, why) = (&removed.formula, removed.why.as_str());
        let name = visible_line(name);
        ui.out(format!("  {name} ({}): {why}", platforms.join(", ")));
    }
    if all.len() > REMOVED_NAMED {
        ui.out(format!(
            "  and {} more, which --json names",
            human::number((all.len() - REMOVED_NAMED) as u64)
        ));
    }
}

/// Tells whether something failed that may be passed over: not where the registry or the network did.
fn is_any_passable(report: &SyncReport) -> bool {
    let mut failures = report.failures.iter();
    failures.any(|failure| failure.remedy.contains("--skip"))
}

fn tell(report: &SyncReport, dry_run: bool, took: Duration, ui: &Ui) {
    for warning in &report.warnings {
        ui.warn(visible_line(warning));
    }
    for failure in &report.failures {
        // A name with a line end in it would look like two warnings.
        let (name, what) = (visible_line(&failure.formula), visible_line(&failure.what));
        ui.warn(format!("{name}: {what}. {}", failure.remedy));
    }
    if ui.is_json() {
        return ui.json(report);
    }
    tell_advice(report, ui);
    tell_removed(report, dry_run, ui);
    let mut without: BTreeMap<&str, usize> = BTreeMap::new();
    for (platform, names) in &report.without_bottle {
        without.insert(platform, names.len());
    }
    for (platform, count) in without {
        ui.status(format!(
            "{platform}: {} without a bottle",
            human::count(count as u64, "formula")
        ));
    }
    let whole = format!(
        "{} in {} for {}",
        human::count(report.bottles, "bottle"),
        human::bytes(report.bytes),
        report
            .platforms
            .iter()
            .cloned()
            .collect::<Vec<_>>()
            .join(", "),
    );
    if report.nothing_new {
        ui.out(format!("Nothing new: {whole}."));
    } else if dry_run {
        ui.out(format!(
            "Would fetch {} of {}: {} and {} changed. The mirror then has {whole}.",
            human::count(report.missing, "file"),
            human::bytes(report.missing_bytes),
            human::count(report.manifests, "manifest"),
            human::count(report.api_files, "API file"),
        ));
    } else {
        let rate = human::rate(report.fetched_bytes, took)
            .map_or_else(String::new, |rate| format!(" ({rate})"));
        ui.out(format!(
            "Fetched {} of {} in {}{rate}.",
            human::count(report.fetched, "file"),
            human::bytes(report.fetched_bytes),
            human::duration(took),
        ));
    }
    match &report.published {
        Some(id) => ui.out(format!("Published generation {id}: {whole}.")),
        None if report.stopped => ui.hint("Stopped. Run the same again to go on: what is stored stays."),
        None if !report.failures.is_empty() && !dry_run && !is_any_passable(report) => ui.hint(
            "Nothing was published: clients see what they saw before. Run again once that is mended; --publish-incomplete publishes the rest.",
        ),
        None if !report.failures.is_empty() && !dry_run => ui.hint(
            "Nothing was published: clients see what they saw before. Run again. --publish-incomplete publishes the rest, and --skip NAME passes a formula over; but the API names its newest version all the same, and clients cannot install that until a run has fetched it.",
        ),
        None => {}
    }
}
