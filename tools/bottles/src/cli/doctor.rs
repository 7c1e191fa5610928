//! `homebrew-sync doctor --client`: what clients missed, and why.
//!
//! What must hold: whatever of the mirror cannot be read is said, and the rest is explained as far as it goes.

use super::args::DoctorArgs;
use super::generations::{current, open, read};
use super::mirror::Place;
use super::{client_env, serving};
use crate::api::formulae::Formulae;
use crate::api::jws::Envelope;
use crate::api::{Bottle, packages};
use crate::doctor::client::{self, Client};
use crate::doctor::{self, Finding, Known, explain};
use crate::log::{self, Generation};
use crate::plan::api_key;
use crate::platform::Platform;
use crate::serve;
use console::{Env, Exit, Failure, FailureExt, Ui, visible_line};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use store::{ErrorKind, Store};

/// So many paths are explained.
const PATHS_MAX: usize = 50;

/// So many other generations are looked into.
const OTHERS_MAX: usize = 10;

/// Runs `doctor --client`.
pub(super) async fn run(
    args: &DoctorArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let variables = match &args.config {
        Some(path) => compare(path, args.url.as_deref())?,
        None => Vec::new(),
    };
    let paths = paths(args, place)?;
    let mut explained: Vec<(String, Finding)> = Vec::new();
    if !paths.is_empty() {
        let (store, log) = open(place, env).await?;
        let id = current(&log, &store)?;
        let generation = read(&store, &id).await?;
        let mut others = Vec::new();
        let ids = log.published().into_iter().filter(|other| **other != id);
        for other in ids.rev().take(OTHERS_MAX) {
            match log::read(&store, other).await {
                Ok(other) => others.push(other),
                Err(error) => ui.warn(format!("{error}; it is passed over")),
            }
        }
        others.sort_by_key(|generation| generation.number);
        let offered = offered(&store, &generation, ui).await;
        let gone = gone(&store, &generation, &paths).await;
        let known = Known {
            current: &generation,
            others: &others,
            offered: &offered,
            gone: &gone,
        };
        explained.extend(paths.into_iter().map(|path| {
            let finding = explain(&path, &known);
            (path, finding)
        }));
    }
    tell(&variables, &explained, ui);
    Ok(Exit::Ok)
}

/// Looks for what the paths lead to; returns what is gone. Where the store does not tell, it is not said to be gone.
async fn gone(store: &Store, generation: &Generation, paths: &[String]) -> BTreeSet<String> {
    let mut gone = BTreeSet::new();
    for key in paths.iter().flat_map(|path| doctor::keys(path, generation)) {
        let found = store.head(&key).await;
        if found.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            gone.insert(key);
        }
    }
    gone
}

/// What to explain: what was typed, or what servers on this machine have written down, the last first and each once.
fn paths(args: &DoctorArgs, place: &Place) -> Result<Vec<String>, Failure> {
    if !args.path.is_empty() {
        return Ok(args.path.clone());
    }
    let file = serving::misses_file(place);
    let misses = serve::read_misses(&file).map_err(|error| Failure::io("read", &file, &error))?;
    let mut seen = BTreeSet::new();
    let last = misses.into_iter().rev().map(|miss| miss.path);
    Ok(last
        .filter(|path| seen.insert(path.clone()))
        .take(PATHS_MAX)
        .collect())
}

fn compare(path: &Path, url: Option<&str>) -> Result<Vec<Finding>, Failure> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .or_fail(Exit::Failed, "standard input could not be read")?;
    } else {
        text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    }
    let client = Client::parse(&text);
    if client == Client::default() {
        return Err(
            Failure::usage(format!("{} has nothing of brew in it", path.display()))
                .hint("write the output of `brew config`, or of `env | grep HOMEBREW`, into it"),
        );
    }
    let Some(url) = url else {
        return Err(
            Failure::usage("it is not said where clients reach the mirror").hint("add --url URL"),
        );
    };
    let expected = client_env::expected(url, client.version.as_deref())?;
    Ok(client::check(&client, &expected))
}

/// Reads from the API's files of a generation every bottle that they name.
async fn offered(store: &Store, generation: &Generation, ui: &Ui) -> Vec<Bottle> {
    let mut found = BTreeSet::new();
    for (path, entry) in &generation.api {
        let platform = path.strip_prefix("internal/packages.");
        let platform = platform.and_then(|rest| rest.strip_suffix(".jws.json"));
        let platform = platform.and_then(|tag| tag.parse::<Platform>().ok());
        if platform.is_none() && path != "formula.jws.json" {
            continue;
        }
        let read = async {
            let file = log::read_file(store, &api_key(path), &entry.file).await;
            let file = file.map_err(|error| error.to_string())?;
            bottles(&file, platform.as_ref())
        };
        match read.await {
            Ok(bottles) => found.extend(bottles),
            Err(why) => ui.warn(format!("api/{path}: {why}; it is passed over")),
        }
    }
    found.into_iter().collect()
}

fn bottles(file: &[u8], platform: Option<&Platform>) -> Result<Vec<Bottle>, String> {
    let envelope = Envelope::parse(file).map_err(|error| error.to_string())?;
    let of = |catalogue: crate::api::Catalogue| {
        let offers = catalogue.offers.into_values();
        offers.filter_map(|offer| offer.bottle)
    };
    if let Some(platform) = platform {
        let catalogue = packages::read(&envelope.payload, platform);
        return Ok(of(catalogue.map_err(|error| error.to_string())?).collect());
    }
    let formulae = Formulae::read(&envelope.payload).map_err(|error| error.to_string())?;
    let tags: BTreeSet<&str> = formulae.tags().collect();
    let platforms = tags
        .into_iter()
        .filter_map(|tag| tag.parse::<Platform>().ok());
    Ok(platforms
        .flat_map(|platform| of(formulae.catalogue(&platform)))
        .collect())
}

fn tell(variables: &[Finding], explained: &[(String, Finding)], ui: &Ui) {
    if ui.is_json() {
        let misses: Vec<_> = explained
            .iter()
            .map(|(path, finding)| json!({"path": path, "cause": finding.cause, "why": finding.why, "next": finding.next}))
            .collect();
        ui.json(&json!({"variables": variables, "misses": misses}));
        return;
    }
    if variables.is_empty() && explained.is_empty() {
        ui.out("Nothing was missed, and nothing is to be said.");
        return;
    }
    for finding in variables {
        let (why, next) = (visible_line(&finding.why), visible_line(&finding.next));
        ui.out(format!("client: {why}\n    {next}"));
    }
    for (path, finding) in explained {
        let path = visible_line(path);
        let (why, next) = (visible_line(&finding.why), visible_line(&finding.next));
        ui.out(format!("{path}\n    {why}\n    -> {next}"));
    }
}
