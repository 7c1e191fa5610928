//! An upstream that is broken, forged or odd: what a mirror has had stays, and what it cannot prove does not come in.

use crate::program::{run, sync};
use crate::world::{FIRST, World};
use bottles::plan::{PlanError, Why};
use bottles::sample::{self, Sample, SampleFormula, formulae};
use bottles::sync::{SyncError, SyncOptions, SyncReport};
use serde_json::{Value, json};

fn all(world: &World, now: i64) -> SyncOptions {
    let mut options = world.options(&[], now);
    options.selection.all = true;
    options
}

pub fn without(names: &[&str]) -> Vec<SampleFormula> {
    let mut left = formulae();
    left.retain(|formula| !names.contains(&formula.name.as_str()));
    left
}

/// Changes what a signed file says, and signs it anew.
fn change(sample: &mut Sample, path: &str, change: impl FnOnce(&mut Value)) {
    let file = sample.api.get_mut(path).expect("it is there");
    let envelope = bottles::api::jws::Envelope::parse(file).expect("an envelope");
    let mut json: Value = serde_json::from_str(&envelope.payload).expect("JSON");
    change(&mut json);
    *file = sample::signed(&json.to_string());
}

const PACKAGES: &str = "internal/packages.x86_64_linux.jws.json";

fn is_shrunk(outcome: &Result<SyncReport, SyncError>) -> bool {
    matches!(outcome, Err(SyncError::Plan(PlanError::Shrunk(_))))
}

#[tokio::test]
async fn an_upstream_that_has_nothing_any_more_takes_nothing_out_of_a_mirror() {
    let mut empty = Sample::embedded();
    change(&mut empty, PACKAGES, |json| json["formulae"] = json!({}));
    let mut nothing = empty.clone();
    change(&mut nothing, "formula.jws.json", |json| *json = json!([]));
    let mut cut = Sample::of(&without(&[
        "jq",
        "oniguruma",
        "openssl@3",
        "ca-certificates",
        "gtk+",
        "wget",
    ]));
    cut.registry = Sample::embedded().registry;
    for (case, broken) in [("packages", empty), ("all", nothing), ("cut", cut)] {
        for names in [&[][..], &["jq", "wget", "gtk+", "tree"][..]] {
            let world = World::small(Sample::embedded()).await;
            let mut first = world.options(names, FIRST);
            first.selection.all = names.is_empty();
            world.run(&first).await.expect("it ends");
            let before = world.check_settled().await;
            world.server.replace(broken.clone());
            let mut options = world.options(&[], FIRST + 1);
            // Not even who takes failures into account loses anything.
            options.publishes_incomplete = true;
            let outcome = world.run(&options).await;
            assert!(is_shrunk(&outcome), "{case} {names:?}: {outcome:?}");
            assert_eq!(world.check_settled().await, before, "{case} {names:?}");
            // The next day all is as it was.
            world.server.replace(Sample::embedded());
            let report = world.sync(&[], FIRST + 2).await;
            assert!(report.failures.is_empty() && report.removed.is_empty());
            assert_eq!(world.check_settled().await.bottles, before.bottles);
        }
    }
}

#[tokio::test]
async fn a_few_formulae_that_go_are_named_and_so_many_go_only_if_that_is_meant() {
    let world = World::small(Sample::embedded()).await;
    world.run(&all(&world, FIRST)).await.expect("it ends");
    let mut later = without(&["gtk+"]);
    later.retain(|formula| formula.name != "wget");
    for formula in &mut later {
        if formula.name == "tree" {
            formula.tags.retain(|tag| tag != "x86_64_linux");
        }
    }
    world.server.replace(Sample::of(&later));
    let report = world.sync(&[], FIRST + 1).await;
    assert!(report.published.is_some(), "{report:?}");
    let named = |report: &SyncReport| -> Vec<(String, Why)> {
        let removed = report.removed.iter();
        removed
            .map(|removed| (removed.formula.clone(), removed.why))
            .collect()
    };
    let expected = [
        ("gtk+", Why::Gone),
        ("tree", Why::NoBottle),
        ("wget", Why::Gone),
    ];
    assert_eq!(
        named(&report),
        expected.map(|(name, why)| (name.to_owned(), why))
    );
    assert!(report.removed[0].platforms.contains("x86_64_linux"));
    assert_eq!(world.check_settled().await.bottles.len(), 4);
    // And all that is left of a platform.
    world.server.replace(Sample::of(&without(&[
        "jq",
        "oniguruma",
        "openssl@3",
        "ca-certificates",
    ])));
    let mut options = world.options(&[], FIRST + 2);
    options.replaces_selection = true;
    options.selection.all = true;
    let outcome = world.run(&options).await;
    assert!(is_shrunk(&outcome), "{outcome:?}");
    options.accepts_shrinking = true;
    let report = world.run(&options).await.expect("it is meant");
    assert_eq!(report.removed.len(), 4, "{report:?}");
    let generation = world.check_settled().await;
    assert!(
        generation
            .bottles
            .iter()
            .all(|held| ["gtk+", "wget", "tree"].contains(&held.formula.as_str()))
    );
}

#[tokio::test]
async fn what_something_needed_and_the_upstream_has_no_more_is_named_too() {
    let world = World::small(Sample::embedded()).await;
    world.sync(&["jq", "tree"], FIRST).await;
    world.server.replace(Sample::of(&without(&["oniguruma"])));
    let report = world.sync(&[], FIRST + 1).await;
    assert_eq!(report.removed.len(), 1, "{report:?}");
    assert_eq!(
        (report.removed[0].formula.as_str(), report.removed[0].why),
        ("oniguruma", Why::Gone)
    );
    assert!(report.published.is_some());
    // What nobody asks for any more goes without a word, if that was typed.
    let mut options = world.options(&["tree"], FIRST + 2);
    options.replaces_selection = true;
    let report = world.run(&options).await.expect("it ends");
    assert!(report.removed.is_empty() && report.published.is_some());
    assert_eq!(world.check_settled().await.bottles.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_names_what_goes_and_how_to_go_on() {
    let world = World::new().await;
    let asked = ["--all", "--platform", "x86_64_linux"];
    let (code, _, err) = run(sync(&world, &asked)).await;
    assert_eq!(code, 0, "{err}");
    world.server.replace(Sample::of(&without(&["tree"])));
    let (code, out, err) = run(sync(&world, &[])).await;
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("tree (x86_64_linux): the API lists it no more"),
        "{out}"
    );
    world.server.replace(Sample::of(&formulae()[6..]));
    let (code, out, err) = run(sync(&world, &[])).await;
    assert_eq!(code, 15, "{out}{err}");
    assert!(
        err.contains("6 of 6 formulae would go") && err.contains("--accept-shrinking"),
        "{err}"
    );
    let (code, out, err) = run(sync(&world, &["--accept-shrinking", "--json"])).await;
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(report["removed"].as_array().map(Vec::len), Some(6), "{out}");
    assert_eq!(report["removed"][0]["why"], "gone");
}

/// A sample with a Ruby of version 4.0.6 whose manifest was changed.
fn with_ruby(name: &str, value: &str) -> Sample {
    let mut all = formulae();
    let mut ruby = all[1].clone();
    ruby.name = "portable-ruby".to_owned();
    ruby.version = "4.0.6".to_owned();
    ruby.rebuild = 0;
    all.push(ruby);
    let mut sample = Sample::of(&all);
    let key = bottles::names::manifest_key("portable-ruby", "4.0.6");
    let manifest = sample.registry.get_mut(&key).expect("it is there");
    let mut json: Value = serde_json::from_slice(manifest).expect("JSON");
    for entry in json["manifests"].as_array_mut().expect("a list") {
        if name == "org.opencontainers.image.ref.name" {
            let text = entry["annotations"][name].as_str().expect("text");
            entry["annotations"][name] = text.replace("4.0.6", value).into();
        } else if !name.is_empty() {
            entry["annotations"][name] = value.into();
        }
    }
    *manifest = json.to_string().into_bytes();
    sample
}

#[tokio::test]
async fn a_ruby_whose_manifest_says_what_cannot_be_is_not_fetched() {
    let digest = "sh.brew.bottle.digest";
    for (name, value, says) in [
        (digest, "x/../../../../../api/cask.jws.json", "no SHA-256"),
        (digest, "", "no SHA-256"),
        ("sh.brew.bottle.size", "0", "no size"),
        ("org.opencontainers.image.ref.name", "4.0.5", "no entry"),
    ] {
        let world = World::small(with_ruby(name, value)).await;
        let mut options = world.options(&["tree"], FIRST);
        options.selection.portable_ruby.insert("4.0.6".to_owned());
        let report = world.run(&options).await.expect("it ends");
        let failure = report.failures.first().expect("it fails");
        assert_eq!(failure.formula, "portable-ruby");
        assert!(failure.what.contains(says), "{failure:?}");
        assert!(report.published.is_none() && report.failures.len() == 1);
        let asked = world.server.take_asked();
        let is_of_ruby = |line: &&String| line.contains("blobs") && !line.contains("/tree/");
        assert!(!asked.iter().any(|line| is_of_ruby(&line)), "{asked:?}");
        assert!(!asked.iter().any(|line| line.contains("..")), "{asked:?}");
        // What lies in the mirror of it does not stand in the way of a better one.
        world.server.replace(with_ruby("", ""));
        let report = world.run(&options).await.expect("it ends");
        assert!(report.published.is_some(), "{report:?}");
        let generation = world.check_settled().await;
        assert!(
            generation
                .bottles
                .iter()
                .any(|held| held.formula == "portable-ruby")
        );
    }
}

#[tokio::test]
async fn a_file_that_lies_in_the_mirror_is_verified_as_soon_as_there_is_a_key() {
    let world = World::small(Sample::embedded()).await;
    let mut forged = Sample::embedded();
    let file = forged.api.get_mut("cask.jws.json").expect("it is there");
    let text = String::from_utf8(file.clone()).expect("text");
    *file = text
        .replace("\"payload\":\"[]\"", "\"payload\":\"[5]\"")
        .into_bytes();
    assert_ne!(*file, Sample::embedded().api["cask.jws.json"]);
    world.server.replace(forged.clone());
    let mut unchecked = world.options(&["tree"], FIRST);
    unchecked.key = None;
    let says = |report: &SyncReport| {
        report
            .warnings
            .iter()
            .any(|line| line.contains("was not checked"))
    };
    let report = world.run(&unchecked).await.expect("it ends");
    assert!(report.published.is_some() && says(&report));
    let report = world.run(&unchecked).await.expect("it ends");
    assert!(report.nothing_new && says(&report), "{report:?}");
    // The upstream says that nothing has changed, or that it has no such file.
    let mut withdrawn = forged.clone();
    withdrawn.api.remove("cask.jws.json");
    for sample in [forged, withdrawn] {
        world.server.replace(sample);
        let outcome = world.run(&world.options(&[], FIRST + 1)).await;
        let Err(SyncError::Plan(PlanError::Api { path, .. })) = outcome else {
            panic!("it was not verified: {outcome:?}");
        };
        assert_eq!(path, "cask.jws.json");
    }
    world.server.replace(Sample::embedded());
    let report = world.sync(&[], FIRST + 2).await;
    assert!(report.published.is_some() && !says(&report), "{report:?}");
    // What was verified once is not read again for it.
    let before = world.store.usage().requests();
    world.sync(&[], FIRST + 3).await;
    let checked = world.store.usage().requests() - before;
    let before = world.store.usage().requests();
    world.run(&unchecked).await.expect("it ends");
    assert_eq!(world.store.usage().requests() - before, checked);
}

#[tokio::test]
async fn a_formula_of_another_form_fails_only_who_wants_it() {
    let mut odd = Sample::embedded();
    change(&mut odd, PACKAGES, |json| {
        json["formulae"]["wget"]["revision"] = Value::Null
    });
    change(&mut odd, "formula.jws.json", |json| {
        json[5]["revision"] = Value::Null
    });
    let world = World::small(odd).await;
    let report = world.sync(&["jq"], FIRST).await;
    assert!(
        report.published.is_some() && report.failures.is_empty(),
        "{report:?}"
    );
    let report = world.sync(&["wget"], FIRST + 1).await;
    let failed: Vec<&str> = report
        .failures
        .iter()
        .map(|failure| failure.formula.as_str())
        .collect();
    assert_eq!(failed, ["wget"]);
    assert!(report.published.is_none());
}

#[tokio::test]
async fn what_an_odd_formula_may_need_stays_with_it() {
    let world = World::small(Sample::embedded()).await;
    world.sync(&["wget"], FIRST).await;
    let before = world.check_settled().await;
    let mut odd = Sample::embedded();
    change(&mut odd, PACKAGES, |json| {
        json["formulae"]["wget"]["revision"] = Value::Null
    });
    change(&mut odd, "formula.jws.json", |json| {
        json[5]["revision"] = Value::Null
    });
    world.server.replace(odd);
    let mut options = world.options(&["tree"], FIRST + 1);
    options.publishes_incomplete = true;
    let report = world.run(&options).await.expect("it ends");
    assert!(
        report.published.is_some() && report.removed.is_empty(),
        "{report:?}"
    );
    let after = world.check_settled().await;
    assert!(
        before
            .bottles
            .iter()
            .all(|held| after.bottles.contains(held))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_says_what_clients_cannot_start_without() {
    let world = World::serving(with_ruby("", "")).await;
    let asked = ["--formula", "tree", "--platform", "x86_64_linux"];
    let (code, _, err) = run(sync(&world, &asked)).await;
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("--portable-ruby VERSION"), "{err}");
    assert!(err.contains("--formula glibc --formula gcc"), "{err}");
    let (code, _, err) = run(sync(&world, &[])).await;
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("--portable-ruby VERSION") && !err.contains("glibc"),
        "{err}"
    );
    let (code, _, err) = run(sync(&world, &["--portable-ruby", "4.0.6"])).await;
    assert_eq!(code, 0, "{err}");
    assert!(!err.contains("no portable-ruby"), "{err}");
}
