//! `bench bottles`: a mirror of a whole API snapshot, 34,436 bottles, of which nothing or little is new.
//!
//! What must hold: the snapshot is a real API file; only sizes and manifests are made here, one for each version, as an upstream has them.
//! The bottles' own bytes are not there: neither planning nor finding out that nothing is new may look at them.

use crate::run::{Measured, mb, measure, require, secs};
use crate::table::Table;
use bottles::log::{self, Generation, Held, Log};
use bottles::names;
use bottles::plan::Planner;
use bottles::publish;
use bottles::sample::{Sample, SampleServer, signed};
use bottles::selection::Selection;
use bottles::upstream::{Upstream, UpstreamOptions};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{Environment, Store, Tuning};
use testkit::{S3Options, S3Process};

/// The time that the mirror was made at, in seconds since 1970.
const MADE_AT: i64 = 1_790_000_000;

/// Measures.
///
/// # Errors
/// If something that is measured does not work at all.
pub fn bench(arguments: &[String]) -> Result<u32, String> {
    let [flag, snapshot] = arguments else {
        return Err(
            "say where a snapshot of the API is: --snapshot FILE (formula.json, bare or gzipped)"
                .to_owned(),
        );
    };
    if flag != "--snapshot" {
        return Err(format!("{flag} is not understood; --snapshot FILE is"));
    }
    let text = read(Path::new(snapshot))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(scale(&text))
}

fn read(path: &Path) -> Result<String, String> {
    let say = |error: std::io::Error| format!("{}: {error}", path.display());
    if path.extension().is_some_and(|extension| extension == "gz") {
        let output = std::process::Command::new("gzip")
            .arg("-dc")
            .arg(path)
            .output()
            .map_err(say)?;
        return String::from_utf8(output.stdout).map_err(|error| error.to_string());
    }
    std::fs::read_to_string(path).map_err(say)
}

async fn scale(text: &str) -> Result<u32, String> {
    let sample = upstream_of(text)?;
    let tags = tags_of(text)?;
    let server = SampleServer::start(sample.clone())
        .await
        .map_err(|error| error.to_string())?;
    let s3 = S3Process::with(S3Options {
        buckets: vec!["mirror".to_owned()],
        ..S3Options::default()
    })
    .map_err(|error| error.to_string())?;
    let url = s3.store_url("mirror", "");
    let bottles = publish_all(&server, &url, tags).await?;
    println!(
        "{} bottles of {} formulae are mirrored; API file {}.\n",
        bottles,
        sample.registry.len(),
        mb(text.len() as u64)
    );
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut table = Table::default();
    table.head("homebrew-sync", "");

    judge_nothing_new(&server, &url, scratch.path(), &mut table)?;

    // Signed anew it is another file of the same contents: fetched, checked, read and planned from the beginning.
    let mut again = sample;
    again
        .api
        .insert("formula.jws.json".to_owned(), signed(text));
    server.replace(again);
    judge_plan(&server, &url, scratch.path(), &mut table)?;
    Ok(table.missed())
}

fn judge_nothing_new(
    server: &SampleServer,
    url: &str,
    scratch: &Path,
    table: &mut Table,
) -> Result<(), String> {
    let _ = server.take_asked();
    let ran = sync(server, url, scratch, &[])?;
    let report: Value =
        serde_json::from_str(&ran.stdout).map_err(|error| format!("no JSON: {error}"))?;
    if report["nothing_new"] != true {
        return Err(format!("something was new: {}", ran.stdout));
    }
    let requests =
        report["store_requests"].as_u64().unwrap_or(u64::MAX) + server.take_asked().len() as u64;
    table.note(
        "nothing new: time",
        secs(ran.took),
        ran.took < Duration::from_secs(5),
        "< 5 s",
    );
    table.note("nothing new: processor time", secs(ran.cpu), true, "");
    table.note(
        "nothing new: requests, store and upstream",
        requests.to_string(),
        requests < 40,
        "< 40",
    );
    Ok(())
}

fn judge_plan(
    server: &SampleServer,
    url: &str,
    scratch: &Path,
    table: &mut Table,
) -> Result<(), String> {
    let ran = sync(server, url, scratch, &["--dry-run"])?;
    table.note(
        "plan from the whole API, manifests known: time",
        secs(ran.took),
        ran.took < Duration::from_secs(1),
        "< 1 s",
    );
    table.note(
        "plan from the whole API: processor time",
        secs(ran.cpu),
        true,
        "",
    );
    table.note(
        "plan from the whole API: peak memory",
        mb(ran.peak_bytes),
        ran.peak_bytes < 250 << 20,
        "< 250 MB",
    );
    Ok(())
}

fn sync(
    server: &SampleServer,
    url: &str,
    scratch: &Path,
    more: &[&str],
) -> Result<Measured, String> {
    let key = scratch.join("key.pem");
    std::fs::write(&key, bottles::sample::PUBLIC_KEY).map_err(|error| error.to_string())?;
    let (api, registry, state) = (server.api(), server.registry(), scratch.join("state"));
    let (key, state) = (key.display().to_string(), state.display().to_string());
    let mut arguments = vec![
        "sync",
        "--json",
        "--store",
        url,
        "--api",
        &api,
        "--registry",
        &registry,
        "--api-key",
        &key,
        "--state-dir",
        &state,
    ];
    arguments.extend(more);
    let program: PathBuf = testkit::built_binary("bottles", "homebrew-sync");
    let ran = measure(&program, &arguments, &[])?;
    require(&ran, "homebrew-sync sync")?;
    Ok(ran)
}

/// Publishes a generation that has everything, without the bottles' bytes; returns how many it has.
async fn publish_all(
    server: &SampleServer,
    url: &str,
    tags: BTreeSet<String>,
) -> Result<usize, String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let tuning = Tuning {
        max_connections: 32,
        concurrent_uploads: 32,
        ..Tuning::default()
    };
    let environment = Environment::default();
    let url = url
        .parse::<store::StoreUrl>()
        .map_err(|error| say(&error))?;
    let store = Store::open(&url, &tuning, &environment)
        .await
        .map_err(|error| say(&error))?;
    let options = UpstreamOptions {
        api: server.api().parse().map_err(|_| "no address")?,
        registry: server.registry().parse().map_err(|_| "no address")?,
        authorization: None,
        attempts: 3,
        pause: Duration::from_millis(50),
    };
    let upstream =
        Arc::new(Upstream::new(options, &tuning, &environment).map_err(|error| say(&error))?);
    let now = jiff::Timestamp::from_second(MADE_AT).map_err(|error| say(&error))?;
    let base = Generation::empty(now);
    let plan = everything(&upstream, &store, &base, tags).await?;
    if let Some(failure) = plan.failures.first() {
        return Err(format!("{}: {}", failure.formula, failure.what));
    }
    let next = Generation {
        number: 1,
        selection: plan.selection.clone(),
        api: plan.api.clone(),
        manifests: plan.manifests.clone(),
        bottles: plan.bottles.clone(),
        ..base.clone()
    };
    let count = next.bottles.len();
    // As if a generation before it had named all bottles: publishing looks for the bytes of those that are new.
    let vouching = Generation {
        bottles: next.bottles.clone(),
        ..base
    };
    let published = publish::publish(
        &store,
        &Log::default(),
        &vouching,
        &next,
        &plan.manifest_bytes,
        &plan.api_bytes,
    )
    .await;
    let id = published.map_err(|error| say(&error))?;
    let read: Vec<Held> = log::read(&store, &id)
        .await
        .map_err(|error| say(&error))?
        .bottles;
    match read.len() == count {
        true => Ok(count),
        false => Err("the generation came back short".to_owned()),
    }
}

/// Plans every formula on every platform.
async fn everything(
    upstream: &Arc<Upstream>,
    store: &Store,
    base: &Generation,
    platforms: BTreeSet<String>,
) -> Result<bottles::plan::Plan, String> {
    let selection = Selection {
        all: true,
        platforms,
        ..Selection::default()
    };
    let planner = Planner {
        upstream,
        store,
        base,
        key: None,
        skip: &BTreeSet::new(),
        concurrency: 32,
        today: "2026-09-21".to_owned(),
        checks_store: false,
        dry_run: false,
        replaces_selection: false,
        accepts_shrinking: true,
    };
    let planned = planner.plan(selection).await.map_err(|error| {
        format!(
            "{error}: {}",
            std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
        )
    })?;
    Ok(planned)
}

fn tags_of(text: &str) -> Result<BTreeSet<String>, String> {
    let all = bottles::api::formulae::Formulae::read(text).map_err(|error| error.to_string())?;
    let tags = all
        .tags()
        .filter(|tag| tag.parse::<bottles::platform::Platform>().is_ok());
    Ok(tags.map(str::to_owned).collect())
}

/// Makes the upstream of a snapshot: the API file, signed, and a manifest for each version.
fn upstream_of(text: &str) -> Result<Sample, String> {
    let formulae: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut registry = BTreeMap::new();
    for formula in &formulae {
        let stable = &formula["bottle"]["stable"];
        let (Some(files), Some(name), Some(version)) = (
            stable["files"].as_object(),
            formula["name"].as_str(),
            formula["versions"]["stable"].as_str(),
        ) else {
            continue;
        };
        let version = names::package_version(version, formula["revision"].as_u64().unwrap_or(0));
        let rebuild = stable["rebuild"].as_u64().unwrap_or(0);
        let entries: Vec<Value> = files
            .iter()
            .map(|(tag, file)| {
                json!({"annotations": {
                    "org.opencontainers.image.ref.name": names::reference(&version, tag, rebuild),
                    "sh.brew.bottle.digest": file["sha256"],
                    "sh.brew.bottle.size": "1000000",
                    "sh.brew.tab": "{}",
                }})
            })
            .collect();
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        registry.insert(
            names::manifest_key(name, &names::manifest_tag(&version, rebuild)),
            index.into_bytes(),
        );
    }
    let api = BTreeMap::from([("formula.jws.json".to_owned(), signed(text))]);
    Ok(Sample { api, registry })
}
