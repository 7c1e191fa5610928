//! `homebrew-sync diagnose`: every check, each with what to do, to be pasted where help is asked for.
//!
//! What must hold: no secret is in it, and no home directory; one check that fails hides no other. Nothing is changed, but for one small object in the store
//! that is removed again.

use super::args::SyncArgs;
use super::generations::open;
use super::mirror::{Place, tuning};
use super::notices::Settings;
use super::{daemon, recording, runs, serving, sync_run};
use console::{Check, Diagnosis, Env, Exit, Failure, Ui, human};
use jiff::Timestamp;
use std::time::{Duration, Instant};
use store::{Environment, Store};
use url::Url;

/// A mirror that is older was to be brought up to date: most have a schedule of a week.
const OLD: Duration = Duration::from_secs(9 * 86_400);

/// So long an upstream has to answer.
const ANSWER_AT_MOST: Duration = Duration::from_secs(20);

/// So many runs are told of.
const RUNS: usize = 5;

/// Runs `diagnose`.
pub(super) async fn run(
    args: &SyncArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let mut diagnosis = Diagnosis::new();
    if let Some(home) = env.get("HOME") {
        diagnosis = diagnosis.hiding_home(home);
    }
    let system = format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH);
    let version = format!("{}, {system}", env!("CARGO_PKG_VERSION"));
    diagnosis.add(Check::pass("homebrew-sync", version));
    diagnosis.add(settings(env));
    diagnosis.add(state(place));
    match place.open(env).await {
        Err(failure) => diagnosis.add(Check::failed("store", &failure)),
        Ok(store) => {
            diagnosis.add(round_trip(&store).await);
            diagnosis.add(mirror(place, env).await);
            diagnosis.add(last_runs(&store, place, ui).await);
        }
    }
    diagnosis.add(api_key(args, env));
    match sync_run::upstreams(args, env) {
        Err(failure) => diagnosis.add(Check::failed("upstream", &failure)),
        Ok((api, registry)) => {
            diagnosis.add(reach("API", &below(&api, "formula_tap_migrations.jws.json"), env).await);
            diagnosis.add(reach("registry", &below(&registry, "v2/"), env).await);
        }
    }
    diagnosis.add(notices(args, env).await);
    diagnosis.add(misses(place));
    diagnosis.add(schedule(place));
    Ok(diagnosis.show(ui))
}

/// Names what is set; what it is set to may be a secret.
fn settings(env: &Env) -> Check {
    let own = |name: &&str| name.starts_with("HOMEBREW_SYNC_") || name.starts_with("AWS_");
    let mut names: Vec<&str> = env.iter().map(|(name, _)| name).filter(own).collect();
    names.sort_unstable();
    Check::pass(
        "variables",
        match names.is_empty() {
            true => "none is set".to_owned(),
            false => format!("{} are set", names.join(", ")),
        },
    )
}

fn state(place: &Place) -> Check {
    let dir = &place.state_dir;
    let file = dir.join(format!("probe-{}", std::process::id()));
    let tried = store::file::create_dir_durably(dir)
        .and_then(|()| std::fs::write(&file, ""))
        .and_then(|()| std::fs::remove_file(&file));
    match tried {
        Ok(()) => Check::pass("state directory", dir.display()),
        Err(error) => Check::fail(
            "state directory",
            format!("{}: {error}", dir.display()),
            "Name one that can be written with --state-dir DIR.",
        ),
    }
}

async fn round_trip(store: &Store) -> Check {
    let begun = Instant::now();
    let check = match store::check_round_trip(store).await {
        Ok(_) => Check::pass("store", store.describe()),
        Err(error) => Check::failed("store", &Failure::from(error)),
    };
    check.taking(begun.elapsed())
}

async fn mirror(place: &Place, env: &Env) -> Check {
    let found = async {
        let (store, log) = open(place, env).await?;
        let id = super::generations::current(&log, &store)?;
        let generation = super::generations::read(&store, &id).await?;
        let others = crate::publish::not_as_named(&store, &generation).await;
        let others = others.map_err(|error| super::failures::of_store(&error))?;
        Ok::<_, Failure>((generation, log.published().len(), others))
    };
    let (generation, kept, others) = match found.await {
        Ok(found) => found,
        Err(failure) if failure.exit() == Exit::NoStore => {
            let remedy = "Run `homebrew-sync sync --formula NAME`.";
            return Check::warn("mirror", "nothing is mirrored yet", remedy);
        }
        Err(failure) => return Check::failed("mirror", &failure),
    };
    let age = Timestamp::now().duration_since(generation.created);
    let age = Duration::try_from(age).unwrap_or_default();
    let platforms: Vec<&str> = generation
        .selection
        .platforms
        .iter()
        .map(String::as_str)
        .collect();
    let detail = format!(
        "generation {}, {}, {} in {} for {}; {} kept",
        generation.number,
        human::ago(age),
        human::count(generation.bottles.len() as u64, "bottle"),
        human::bytes(generation.bytes()),
        platforms.join(", "),
        human::count(kept as u64, "generation"),
    );
    if let Some(what) = crate::publish::unsettled(&others) {
        let remedy = "Run `homebrew-sync sync`.";
        return Check::warn("mirror", format!("{detail}; {what}"), remedy);
    }
    match age > OLD {
        // The upstream may not have changed: then the runs say so.
        true => Check::warn(
            "mirror",
            detail,
            "If the last runs failed, see why; `homebrew-sync runs` lists them.",
        ),
        false => Check::pass("mirror", detail),
    }
}

async fn last_runs(store: &Store, place: &Place, ui: &Ui) -> Check {
    let found = match runs::last(store, place, RUNS, ui).await {
        Ok(found) => found,
        Err(failure) => return Check::failed("last runs", &failure),
    };
    let told = |record: &crate::runs::RunRecord| {
        let began = record.started.strftime("%Y-%m-%d %H:%M");
        match record.outcome.is_good() || record.error.is_none() && record.failed == 0 {
            true => format!("{began} {}", record.outcome.as_str()),
            false => format!(
                "{began} {} ({})",
                record.outcome.as_str(),
                recording::why(record)
            ),
        }
    };
    let list: Vec<String> = found.iter().rev().map(told).collect();
    match found.last() {
        None => Check::pass("last runs", "none yet"),
        Some(last) if last.outcome.is_good() => Check::pass("last runs", list.join("; ")),
        Some(_) => Check::warn(
            "last runs",
            list.join("; "),
            "Run `homebrew-sync sync -v` and see what it says.",
        ),
    }
}

fn api_key(args: &SyncArgs, env: &Env) -> Check {
    match sync_run::key(args, env) {
        Ok(Some(_)) => Check::pass("API key", "signatures are checked"),
        Ok(None) => Check::warn(
            "API key",
            "there is none: signatures are not checked",
            "Name a brew's Library/Homebrew/api/homebrew-1.pem with --api-key FILE.",
        ),
        Err(failure) => Check::failed("API key", &failure),
    }
}

fn below(root: &Url, path: &str) -> Url {
    let mut url = root.clone();
    url.set_path(&format!("{}/{path}", root.path().trim_end_matches('/')));
    url
}

/// Asks whether a server answers; a registry that wants a token does.
async fn reach(name: &str, url: &Url, env: &Env) -> Check {
    let begun = Instant::now();
    let host = url.host_str().unwrap_or("").to_owned();
    let remedy =
        "Check the network, the proxy (HTTPS_PROXY, NO_PROXY) and certificates (SSL_CERT_FILE).";
    let asked = async {
        let client = store::http_client(url, &tuning(1), &Environment::from(env))
            .map_err(|error| error.to_string())?;
        let answer = client.head(url.clone()).send().await;
        answer.map_err(|error| {
            let error = error.without_url();
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                text = error.to_string();
                source = error.source();
            }
            text
        })
    };
    let check = match tokio::time::timeout(ANSWER_AT_MOST, asked).await {
        Err(_) => Check::fail(name, format!("{host} does not answer"), remedy),
        Ok(Err(why)) => Check::fail(name, format!("{host}: {why}"), remedy),
        Ok(Ok(answer)) if answer.status().is_server_error() => Check::fail(
            name,
            format!("{host}: {}", answer.status()),
            "Try again later.",
        ),
        Ok(Ok(answer)) => Check::pass(name, format!("{host} answers ({})", answer.status())),
    };
    check.taking(begun.elapsed())
}

async fn notices(args: &SyncArgs, env: &Env) -> Check {
    let settings = Settings::resolve(&args.notices, env).await;
    let told = settings.channels.iter();
    let told: Vec<String> = told
        .map(|channel| format!("{} ({})", channel.name(), channel.place()))
        .collect();
    match (settings.problems.is_empty(), told.is_empty()) {
        (false, _) => Check::fail(
            "notices",
            settings.problems.join("; "),
            "Correct it, then try `homebrew-sync test-notification`.",
        ),
        (true, true) => Check::pass("notices", "nobody gets any"),
        (true, false) => Check::pass("notices", told.join(", ")),
    }
}

fn misses(place: &Place) -> Check {
    let file = serving::misses_file(place);
    match crate::serve::read_misses(&file) {
        Ok(misses) if misses.is_empty() => Check::pass("misses", "none on this machine"),
        Ok(misses) => Check::warn(
            "misses",
            format!(
                "{} asked for and not mirrored",
                human::number(misses.len() as u64)
            ),
            "`homebrew-sync misses` lists them, `homebrew-sync doctor --client` explains them.",
        ),
        Err(error) => Check::failed("misses", &Failure::io("read", &file, &error)),
    }
}

fn schedule(place: &Place) -> Check {
    match daemon::next(place) {
        Some((time, state)) => {
            let when = time.strftime("%Y-%m-%d %H:%M UTC");
            Check::pass("daemon", format!("runs by {}, next {when}", state.schedule))
        }
        None => Check::pass("daemon", "none waits on this machine"),
    }
}
