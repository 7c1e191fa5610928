//! What stays in a mirror when the upstream or the store has it no more, and what is said of it.

use crate::world::{FIRST, World};
use bottles::log::Generation;
use bottles::plan::PlanError;
use bottles::sample::{Sample, SampleFormula, Trouble, formulae};
use bottles::sync::{SyncError, SyncReport};
use std::collections::BTreeSet;

fn failed(report: &SyncReport) -> Vec<&str> {
    report
        .failures
        .iter()
        .map(|failure| failure.formula.as_str())
        .collect()
}

fn versions<'g>(generation: &'g Generation, formula: &str) -> BTreeSet<&'g str> {
    let held = generation.bottles.iter();
    held.filter(|held| held.formula == formula)
        .map(|held| held.version.as_str())
        .collect()
}

/// The sample's formulae without one of them.
fn without(name: &str) -> Vec<SampleFormula> {
    let mut found = formulae();
    found.retain(|formula| formula.name != name);
    found
}

#[tokio::test]
async fn an_api_that_is_not_there_is_an_error_and_empties_nothing() {
    let world = World::serving(Sample::default()).await;
    let outcome = world.run(&world.options(&["jq"], FIRST)).await;
    assert!(
        matches!(outcome, Err(SyncError::Plan(PlanError::NoApi(_)))),
        "{outcome:?}"
    );
    assert!(world.objects().is_empty());
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let before = world.objects();
    world.server.replace(Sample::default());
    let mut options = world.options(&["jq"], FIRST + 1);
    options.replaces_selection = true;
    let report = world.run(&options).await.expect("it ends");
    assert!(failed(&report).contains(&"formula.jws.json"), "{report:?}");
    assert_eq!(report.published, None);
    assert_eq!(world.objects(), before);
}

#[tokio::test]
async fn an_api_file_that_is_withdrawn_is_named_and_stays() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let mut later = Sample::a_week_later();
    later.api.remove("cask.jws.json");
    world.server.replace(later);
    let report = world.sync(&[], FIRST + 1).await;
    assert_eq!(failed(&report), ["cask.jws.json"]);
    assert_eq!(report.published, None);
    let mut options = world.options(&[], FIRST + 2);
    options.skip.insert("cask.jws.json".to_owned());
    let report = world.run(&options).await.expect("it ends");
    assert_eq!(failed(&report), Vec::<&str>::new());
    let generation = world.check().await.expect("it is published");
    assert_eq!(generation.number, 2);
    assert!(generation.api.contains_key("cask.jws.json"));
}

#[tokio::test]
async fn api_files_that_the_store_has_lost_are_put_back_or_fetched_again() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let whole = world.objects();
    let is_whole = |world: &World| {
        for (key, bytes) in whole.iter().filter(|(key, _)| key.starts_with("api/")) {
            assert_eq!(world.objects().get(key), Some(bytes), "{key}");
        }
    };
    // One is gone, and one has other bytes of the same length: their copies are here.
    let lose = |world: &World| {
        let mut damaged = whole["api/cask.jws.json"].to_vec();
        damaged[20] ^= 1;
        world.handle.put_raw("api/cask.jws.json", damaged);
        assert!(world.handle.remove_raw("api/formula.jws.json"));
    };
    lose(&world);
    let report = world.sync(&[], FIRST + 1).await;
    assert!(report.nothing_new, "{report:?}");
    is_whole(&world);
    // The copies are gone as well: the upstream has them.
    lose(&world);
    for key in whole.keys() {
        if key.starts_with(".syncline/mirror/files/") {
            assert!(world.handle.remove_raw(key));
        }
    }
    let mut options = world.options(&[], FIRST + 2);
    options.checks_store = true;
    let report = world.run(&options).await.expect("it ends");
    assert!(report.published.is_some(), "{report:?}");
    is_whole(&world);
    assert!(world.sync(&[], FIRST + 3).await.nothing_new);
}

#[tokio::test]
async fn a_formula_that_is_passed_over_stays_as_it_was() {
    let world = World::new().await;
    world.sync(&["jq", "wget"], FIRST).await;
    world.server.replace(Sample::a_week_later());
    let mut options = world.options(&[], FIRST + 1);
    options.skip.insert("jq".to_owned());
    let report = world.run(&options).await.expect("it ends");
    assert_eq!(failed(&report), Vec::<&str>::new());
    let generation = world.check().await.expect("it is published");
    assert_eq!(generation.number, 2);
    assert_eq!(versions(&generation, "jq"), BTreeSet::from(["1.7.1"]));
    assert!(
        world
            .hash_file()
            .bottles
            .contains_key("jq-1.7.1-x86_64_linux")
    );
    // What clients are told of is another one, and that is said, by every run that leaves it so.
    let says = |report: &SyncReport| {
        let said = "clients can no longer install jq: the API names 1.8.0, which is not mirrored; 1.7.1 is what the mirror has";
        let warned = report.warnings.iter().any(|line| line.starts_with(said));
        let names: Vec<&str> = report
            .unserved
            .iter()
            .map(|one| one.formula.as_str())
            .collect();
        assert!(warned && names == ["jq"], "{report:?}");
    };
    says(&report);
    options.dry_run = true;
    let report = world.run(&options).await.expect("it ends");
    assert!(report.nothing_new);
    says(&report);
    let report = world.sync(&[], FIRST + 2).await;
    assert!(report.published.is_some() && report.unserved.is_empty());
    // The very bottles that the API names are there.
    options.dry_run = false;
    let report = world.run(&options).await.expect("it ends");
    assert_eq!((&report.unserved, report.nothing_new), (&Vec::new(), true));
    assert!(!report.warnings.iter().any(|line| line.contains("jq")));
}

#[tokio::test]
async fn what_is_published_without_a_formula_that_failed_says_that_clients_cannot_install_it() {
    let world = World::new().await;
    world.sync(&["jq", "wget"], FIRST).await;
    let mut later = Sample::a_week_later();
    let missing = "v2/homebrew/core/jq/manifests/1.8.0";
    later.registry.remove(missing).expect("it was there");
    world.server.replace(later);
    let mut options = world.options(&[], FIRST + 1);
    let report = world.run(&options).await.expect("it ends");
    assert_eq!((failed(&report), &report.published), (vec!["jq"], &None));
    assert!(report.unserved.is_empty(), "nothing was published");
    options.publishes_incomplete = true;
    let report = world.run(&options).await.expect("it ends");
    assert!(report.published.is_some());
    assert_eq!(report.unserved[0].formula, "jq");
    assert_eq!(report.unserved.len(), 1);
}

#[tokio::test]
async fn a_formula_that_is_gone_upstream_fails_by_name_and_holds_up_nobody() {
    let world = World::new().await;
    world.sync(&["tree", "jq"], FIRST).await;
    let mut later = without("tree");
    later[0].version = "1.8.0".to_owned();
    world.server.replace(Sample::of(&later));
    let report = world.sync(&[], FIRST + 1).await;
    assert_eq!((failed(&report), &report.published), (vec!["tree"], &None));
    let mut options = world.options(&[], FIRST + 2);
    options.publishes_incomplete = true;
    let report = world.run(&options).await.expect("it ends");
    assert!(report.published.is_some());
    let generation = world.check().await.expect("it is published");
    assert_eq!(versions(&generation, "tree"), BTreeSet::from(["2.1.1"]));
    assert_eq!(versions(&generation, "jq"), BTreeSet::from(["1.8.0"]));
    // The same once more is nothing new, and still a failure.
    let report = world.run(&options).await.expect("it ends");
    assert_eq!((failed(&report), &report.published), (vec!["tree"], &None));
    options.skip.insert("tree".to_owned());
    assert!(world.run(&options).await.expect("it ends").nothing_new);
}

#[tokio::test]
async fn a_formula_of_a_tap_fails_by_name_and_is_not_remembered_once_it_is_passed_over() {
    let world = World::new().await;
    let mut options = world.options(&["jq", "user/tap/thing"], FIRST);
    let report = world.run(&options).await.expect("it ends");
    assert_eq!(failed(&report), ["user/tap/thing"]);
    options.skip.insert("user/tap/thing".to_owned());
    let report = world.run(&options).await.expect("it ends");
    assert!(report.published.is_some() && report.failures.is_empty());
    assert!(world.sync(&[], FIRST + 1).await.nothing_new);
}

#[tokio::test]
async fn no_file_of_the_upstream_is_asked_for_twice() {
    let world = World::new().await;
    for (sample, formulae) in [
        (Sample::embedded(), vec!["jq", "wget"]),
        (Sample::a_week_later(), vec![]),
    ] {
        world.server.replace(sample);
        let _ = world.server.take_asked();
        let report = world.sync(&formulae, FIRST).await;
        assert!(report.published.is_some());
        let asked = world.server.take_asked();
        let once: BTreeSet<&String> = asked.iter().collect();
        assert_eq!(once.len(), asked.len(), "{asked:#?}");
    }
}

#[tokio::test]
async fn what_a_report_counts_is_what_was_published() {
    let world = World::new().await;
    let sample = Sample::embedded();
    let jq = sample
        .registry
        .keys()
        .find(|key| key.contains("/jq/blobs/"))
        .expect("a blob");
    world
        .server
        .trouble(&format!("/{jq}"), vec![Trouble::Damage; 10]);
    let mut options = world.options(&["jq", "tree"], FIRST);
    options.selection.platforms = formulae()[0].tags.iter().cloned().collect();
    options.publishes_incomplete = true;
    let report = world.run(&options).await.expect("it ends");
    assert_eq!(failed(&report), ["jq"]);
    let generation = world.check().await.expect("it is published");
    let counted = (report.bottles, report.bytes);
    assert_eq!(
        counted,
        (generation.bottles.len() as u64, generation.bytes())
    );
}

#[tokio::test]
async fn a_new_macos_comes_where_nobody_chose_and_the_old_ones_stay() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let chosen = World::new().await;
    let mut options = chosen.options(&["jq"], FIRST);
    options.selection.platforms.insert("arm64_tahoe".to_owned());
    chosen.run(&options).await.expect("it ends");
    let mut later = formulae();
    later[0].tags.insert(0, "arm64_golden_gate".to_owned());
    for (world, expected) in [
        (
            &world,
            vec![
                "arm64_golden_gate",
                "arm64_linux",
                "arm64_sequoia",
                "arm64_sonoma",
                "arm64_tahoe",
                "x86_64_linux",
            ],
        ),
        (&chosen, vec!["arm64_tahoe"]),
    ] {
        world.server.replace(Sample::of(&later));
        world.sync(&[], FIRST + 1).await;
        let generation = world.check().await.expect("it is published");
        let found: Vec<&str> = generation
            .selection
            .platforms
            .iter()
            .map(String::as_str)
            .collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn an_api_file_that_is_passed_over_stays_as_it_was_whatever_is_wrong_with_it() {
    let packages = "internal/packages.x86_64_linux.jws.json";
    for trouble in [
        None,
        Some(Trouble::Damage),
        Some(Trouble::CutAfter(3)),
        Some(Trouble::Status(403)),
        Some(Trouble::Status(404)),
        Some(Trouble::Status(500)),
    ] {
        let world = World::new().await;
        world.sync(&["jq"], FIRST).await;
        let before = world.current().await.expect("it is published").1.api[packages].clone();
        world.server.replace(Sample::a_week_later());
        let troubles = trouble.iter().cycle().take(20).cloned().collect();
        world.server.trouble(&format!("/api/{packages}"), troubles);
        let mut options = world.options(&[], FIRST + 1);
        options.skip.insert(packages.to_owned());
        let report = world.run(&options).await;
        let report = report.unwrap_or_else(|error| panic!("{trouble:?}: {error:?}"));
        assert_eq!(failed(&report), Vec::<&str>::new(), "{trouble:?}");
        let generation = world.check_settled().await;
        assert_eq!(generation.number, 2, "{trouble:?}");
        assert_eq!(generation.api[packages], before, "{trouble:?}");
        // Clients of the old file find what it names, and those of the new one what that names.
        world.check_static(&["jq"]);
        let both = BTreeSet::from(["1.7.1", "1.8.0"]);
        assert_eq!(versions(&generation, "jq"), both, "{trouble:?}");
    }
}

#[tokio::test]
async fn an_api_file_that_is_passed_over_and_that_the_mirror_has_lost_is_a_failure_by_name() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    for key in world.objects().keys() {
        let is_file = key == "api/cask.jws.json" || key.starts_with(".syncline/mirror/files/");
        assert!(!is_file || world.handle.remove_raw(key));
    }
    let mut options = world.options(&[], FIRST + 1);
    options.skip.insert("cask.jws.json".to_owned());
    let report = world.run(&options).await.expect("it ends");
    assert_eq!(failed(&report), ["cask.jws.json"]);
    assert_eq!(report.published, None);
}
