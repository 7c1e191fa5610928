//! Runs: what is mirrored, what is refused, what is fetched again.

use crate::world::{FIRST, World};
use bottles::sample::{Sample, Trouble};
use bottles::sync::{SyncError, SyncOptions};
use bottles::{hashfile, names};
use std::collections::BTreeSet;

fn formulae(generation: &bottles::log::Generation) -> BTreeSet<&str> {
    generation
        .bottles
        .iter()
        .map(|held| held.formula.as_str())
        .collect()
}

#[tokio::test]
async fn a_selection_comes_with_what_it_needs_for_every_platform() {
    let world = World::new().await;
    let report = world.sync(&["gtk+", "wget", "tree"], FIRST).await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let generation = world.check().await.expect("something is published");
    let expected = BTreeSet::from([
        "gtk+",
        "jq",
        "oniguruma",
        "wget",
        "openssl@3",
        "ca-certificates",
        "tree",
    ]);
    assert_eq!(formulae(&generation), expected);
    let platforms: Vec<&str> = generation
        .selection
        .platforms
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(
        platforms,
        [
            "arm64_linux",
            "arm64_sequoia",
            "arm64_sonoma",
            "arm64_tahoe",
            "x86_64_linux"
        ]
    );
    // Of the one without a bottle for the newest macOS its clients take the older one.
    let tree: Vec<&str> = generation
        .bottles
        .iter()
        .filter(|held| held.formula == "tree")
        .map(|held| held.tag.as_str())
        .collect();
    assert_eq!(
        tree,
        [
            "arm64_linux",
            "arm64_sequoia",
            "arm64_sonoma",
            "x86_64_linux"
        ]
    );
    assert!(
        world
            .objects()
            .contains_key("v2/homebrew/core/gtkx/manifests/2.24.33_1")
    );
    assert!(
        world
            .objects()
            .contains_key("v2/homebrew/core/oniguruma/manifests/6.9.9-1")
    );
    world.check_static(&["jq", "gtk+", "openssl@3"]);
}

#[tokio::test]
async fn the_hash_file_and_the_api_are_as_they_should_be() {
    // RSA-PSS signs with a salt, so the same payload is another file each time.
    let sample = Sample::embedded();
    let world = World::serving(sample.clone()).await;
    world.sync(&["jq"], FIRST).await;
    let generation = world.check().await.expect("something is published");
    let file = world.hash_file();
    assert_eq!(file.bottles.len(), generation.bottles.len());
    assert_eq!(
        file.bottles["jq-1.7.1-x86_64_linux"].download_date,
        "2026-09-21"
    );
    // The API's files are the upstream's, byte for byte.
    for (path, bytes) in sample.api {
        match world.objects().get(&format!("api/{path}")) {
            Some(found) => assert!(found == &bytes, "{path}"),
            None => assert_eq!(path, "internal/packages.sonoma.jws.json"),
        }
    }
}

#[tokio::test]
async fn nothing_new_costs_a_handful_of_requests_and_writes_nothing() {
    let world = World::new().await;
    world.sync(&["wget"], FIRST).await;
    let before = world.objects();
    let _ = world.server.take_asked();
    let store_before = world.handle.operations();
    let report = world.sync(&[], FIRST + 86_400).await;
    assert!(report.nothing_new && report.published.is_none());
    assert_eq!(world.objects(), before);
    let asked = world.server.take_asked();
    assert!(asked.iter().all(|line| line.contains("/api/")), "{asked:?}");
    // The bar is 40 with the upstream's; each API file costs one at either.
    let operations = world.handle.operations() - store_before;
    assert!(operations < 26, "{operations}");
}

#[tokio::test]
async fn a_new_version_is_a_new_generation_and_only_it_is_fetched() {
    let world = World::new().await;
    world.sync(&["jq", "wget"], FIRST).await;
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    let _ = world.server.take_asked();
    let report = world.sync(&[], FIRST + 86_400).await;
    let generation = world.check().await.expect("something is published");
    assert_eq!(generation.number, 2);
    world.check_static(&["jq", "wget"]);
    let asked = world.server.take_asked();
    let blobs = asked.iter().filter(|line| line.contains("/blobs/"));
    assert!(
        blobs
            .clone()
            .all(|line| line.contains("/jq/") || line.contains("/oniguruma/")),
        "{asked:?}"
    );
    assert_eq!(report.missing, report.fetched);
    // The earlier bottles are there for clients that have not refreshed.
    assert!(
        world
            .objects()
            .contains_key("v2/homebrew/core/jq/manifests/1.7.1")
    );
    let days = world.hash_file();
    assert_eq!(
        days.bottles["jq-1.8.0-x86_64_linux"].download_date,
        "2026-09-22"
    );
    assert_eq!(
        days.bottles["wget-1.24.5-x86_64_linux"].download_date,
        "2026-09-21"
    );
}

/// The path of a formula's bottle for Linux in the registry.
fn blob(formula: &str) -> String {
    let sample = Sample::embedded();
    let image = names::image(formula);
    let manifest = sample
        .registry
        .iter()
        .find(|(key, _)| key.contains(&format!("/{image}/manifests/")));
    let index: serde_json::Value =
        serde_json::from_slice(manifest.expect("a manifest").1).expect("JSON");
    let entry = index["manifests"]
        .as_array()
        .expect("entries")
        .iter()
        .find(|entry| {
            let reference = entry["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()
                .expect("a reference");
            reference.contains("x86_64_linux")
        });
    let digest = entry.expect("an entry")["annotations"]["sh.brew.bottle.digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    format!("/{}", names::blob_key(formula, &digest))
}

#[tokio::test]
async fn a_damaged_bottle_is_never_there_and_nothing_is_published() {
    let world = World::new().await;
    world.sync(&["wget"], FIRST).await;
    let before = world.current().await.expect("it is published").0;
    let path = blob("jq");
    world.server.trouble(&path, vec![Trouble::Damage; 10]);
    let report = world.sync(&["jq"], FIRST + 1).await;
    assert_eq!(
        report
            .failures
            .iter()
            .map(|failure| failure.formula.as_str())
            .collect::<Vec<_>>(),
        ["jq"]
    );
    assert_eq!(report.published, None);
    assert!(!world.objects().contains_key(path.trim_start_matches('/')));
    assert_eq!(world.current().await.expect("it is published").0, before);
    world.check().await;
    // What was fetched stays: only the damaged one is asked for again.
    world.server.trouble(&path, vec![]);
    let _ = world.server.take_asked();
    let report = world.sync(&["jq"], FIRST + 2).await;
    assert!(report.failures.is_empty());
    let asked = world.server.take_asked();
    let blobs: Vec<&String> = asked
        .iter()
        .filter(|line| line.contains("/blobs/"))
        .collect();
    assert_eq!(blobs, [&format!("GET {path}")]);
    world.check().await;
}

#[tokio::test]
async fn a_manifest_that_takes_nothings_place_is_put_there_at_once_unless_this_only_looks() {
    let world = World::new().await;
    let path = blob("jq");
    world.server.trouble(&path, vec![Trouble::Damage; 10]);
    let dry = SyncOptions {
        dry_run: true,
        ..world.options(&["jq"], FIRST)
    };
    let report = world.run(&dry).await.expect("it is planned");
    assert_eq!(report.manifests, 2);
    assert!(world.objects().is_empty(), "{:?}", world.objects().keys());
    let report = world.sync(&["jq"], FIRST).await;
    assert_eq!((report.published, report.manifests), (None, 2));
    let manifests = |key: &String| key.contains("/manifests/");
    assert_eq!(
        world.objects().keys().filter(|key| manifests(key)).count(),
        2
    );
    // Nobody has to be asked for them again.
    world.server.trouble(&path, vec![]);
    let _ = world.server.take_asked();
    let report = world.sync(&["jq"], FIRST).await;
    assert!(report.published.is_some());
    let asked = world.server.take_asked();
    assert_eq!(asked.iter().filter(|line| manifests(line)).count(), 0);
    world.check_settled().await;
}

#[tokio::test]
async fn an_incomplete_generation_is_published_only_when_asked_for_and_keeps_what_was() {
    let world = World::new().await;
    world.sync(&["jq", "wget"], FIRST).await;
    let later = Sample::a_week_later();
    let missing: Vec<String> = later
        .registry
        .keys()
        .filter(|key| key.contains("/jq/manifests/"))
        .cloned()
        .collect();
    let mut broken = later;
    for key in &missing {
        broken.registry.remove(key);
    }
    world.server.replace(broken);
    let report = world.sync(&[], FIRST + 1).await;
    assert_eq!(report.published, None);
    let mut options = world.options(&[], FIRST + 2);
    options.publishes_incomplete = true;
    let report = world.run(&options).await.expect("it ends");
    assert_eq!(
        report
            .failures
            .iter()
            .map(|failure| failure.formula.as_str())
            .collect::<Vec<_>>(),
        ["jq"]
    );
    let generation = world.check().await.expect("it is published");
    assert_eq!(generation.number, 2);
    let version = |name: &str| {
        let held = generation
            .bottles
            .iter()
            .find(|held| held.formula == name)
            .expect("it is held");
        names::manifest_tag(&held.version, held.rebuild)
    };
    assert_eq!(
        (version("jq").as_str(), version("oniguruma").as_str()),
        ("1.7.1", "6.9.9-2")
    );
}

#[tokio::test]
async fn a_cut_download_goes_on_and_a_busy_server_is_waited_for() {
    let world = World::new().await;
    let path = blob("jq");
    world
        .server
        .trouble(&path, vec![Trouble::CutAfter(1_000), Trouble::Status(503)]);
    world.server.trouble(
        "/api/formula.jws.json",
        vec![Trouble::Status(429), Trouble::CutAfter(10)],
    );
    let report = world.sync(&["jq"], FIRST).await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    world.check().await.expect("it is published");
}

#[tokio::test]
async fn an_api_file_of_another_key_is_refused() {
    let world = World::new().await;
    let mut forged = Sample::embedded();
    let file = forged.api.get_mut("formula.jws.json").expect("it is there");
    let text = String::from_utf8(file.clone())
        .expect("text")
        .replace("1.24.5", "6.6.6");
    *file = text.into_bytes();
    world.server.replace(forged);
    let outcome = world.run(&world.options(&["wget"], FIRST)).await;
    assert!(
        matches!(
            outcome,
            Err(SyncError::Plan(bottles::plan::PlanError::Api { .. }))
        ),
        "{outcome:?}"
    );
    assert!(world.objects().is_empty());
}

#[tokio::test]
async fn two_runs_at_once_lose_nothing_of_each_other() {
    let world = World::new().await;
    world.sync(&["tree"], FIRST).await;
    let (a, b) = (
        world.options(&["jq"], FIRST + 1),
        world.options(&["wget"], FIRST + 1),
    );
    let (a, b) = tokio::join!(world.run(&a), world.run(&b));
    a.expect("it ends");
    b.expect("it ends");
    let generation = world.check().await.expect("it is published");
    assert!(
        formulae(&generation).is_superset(&BTreeSet::from(["tree", "jq", "wget", "openssl@3"])),
        "{:?}",
        formulae(&generation)
    );
    assert_eq!(generation.selection.formulae.len(), 3);
    world.check_static(&["tree", "jq", "wget"]);
    world.check_settled().await;
    let report = world.sync(&[], FIRST + 2).await;
    assert!(report.nothing_new, "{report:?}");
    assert_eq!(world.hash_file().bottles.len(), generation.bottles.len());
}

#[tokio::test]
async fn what_is_gone_from_the_store_is_found_and_fetched() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let key = blob("jq").trim_start_matches('/').to_owned();
    assert!(world.handle.remove_raw(&key));
    world
        .handle
        .remove_raw("v2/homebrew/core/oniguruma/manifests/6.9.9-1");
    let mut options = world.options(&[], FIRST + 1);
    options.checks_store = true;
    let report = world.run(&options).await.expect("it ends");
    assert_eq!(report.fetched, 1);
    world.check().await.expect("it is published");
    assert!(
        world
            .objects()
            .contains_key("v2/homebrew/core/oniguruma/manifests/6.9.9-1")
    );
}

#[tokio::test]
async fn a_damaged_hash_file_is_moved_aside_and_made_anew() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let whole = world.hash_file();
    world
        .handle
        .put_raw(hashfile::KEY, b"{\"last_updated\":".to_vec());
    let report = world.sync(&[], FIRST + 1).await;
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.contains("Invalid hash file format")),
        "{:?}",
        report.warnings
    );
    assert_eq!(world.hash_file().bottles, whole.bottles);
    let aside = world
        .objects()
        .into_iter()
        .find(|(key, _)| key.starts_with("backups/bottles_hash_"));
    assert_eq!(
        aside.expect("it was moved").1.as_ref(),
        b"{\"last_updated\":"
    );
    // Gone altogether: made anew from what lies in the store, and what is not there is not in it.
    world.handle.remove_raw(hashfile::KEY);
    world.handle.remove_raw(blob("jq").trim_start_matches('/'));
    let now = jiff::Timestamp::from_second(FIRST + 2).expect("a time");
    let _ = world.server.take_asked();
    let rebuilt = bottles::sync::rebuild_hash(&world.store, None, now)
        .await
        .expect("it is rebuilt");
    assert_eq!(rebuilt.missing.len(), 1);
    assert_eq!(world.hash_file().bottles.len(), whole.bottles.len() - 1);
    assert!(world.server.take_asked().is_empty());
}

#[tokio::test]
async fn a_mirror_without_a_log_is_read_back_from_its_manifests() {
    let world = World::new().await;
    world.sync(&["wget"], FIRST).await;
    let whole = world.hash_file();
    for key in world
        .objects()
        .keys()
        .filter(|key| key.starts_with(".syncline/"))
    {
        world.handle.remove_raw(key);
    }
    world.handle.remove_raw(hashfile::KEY);
    let now = jiff::Timestamp::from_second(FIRST).expect("a time");
    let rebuilt = bottles::sync::rebuild_hash(&world.store, None, now)
        .await
        .expect("it is rebuilt");
    assert_eq!(rebuilt.bottles, whole.bottles.len() as u64);
    assert_eq!(world.hash_file().bottles, whole.bottles);
    // And a run takes up what lies there without fetching it again.
    let _ = world.server.take_asked();
    let report = world.sync(&["wget"], FIRST).await;
    assert_eq!(report.fetched, 0);
    assert!(
        !world
            .server
            .take_asked()
            .iter()
            .any(|line| line.contains("/blobs/"))
    );
    world.check().await.expect("it is published");
}

#[tokio::test]
async fn one_formula_that_makes_no_sense_is_named_and_stops_nobody_else() {
    let mut formulae = bottles::sample::formulae();
    // The registry takes no such version, and clients do not ask for it: it has no bottle, as far as anybody can tell.
    formulae[6].version = "2.4+20151223".to_owned();
    let mut sample = Sample::of(&formulae);
    let world = World::serving(sample.clone()).await;
    let report = world.sync(&["tree", "jq"], FIRST).await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!(report.without_bottle["x86_64_linux"].contains("tree"));
    // A digest that is none is a failure of its formula.
    for (path, file) in &mut sample.api {
        let envelope = bottles::api::jws::Envelope::parse(file).expect("an envelope");
        let payload = envelope.payload.into_owned();
        let mut json: serde_json::Value = serde_json::from_str(&payload).expect("JSON");
        if let Some(entry) = json.pointer_mut("/formulae/wget") {
            entry["bottle_checksum"] = "../../etc".into();
        } else if path == "formula.jws.json" {
            json[5]["bottle"]["stable"]["files"]["x86_64_linux"]["sha256"] = "../../etc".into();
        }
        *file = bottles::sample::signed(&json.to_string());
    }
    world.server.replace(sample);
    let report = world.sync(&["wget"], FIRST + 1).await;
    let failed: Vec<&str> = report
        .failures
        .iter()
        .map(|failure| failure.formula.as_str())
        .collect();
    assert!(
        failed.iter().all(|name| *name == "wget") && !failed.is_empty(),
        "{failed:?}"
    );
    assert_eq!(report.published, None);
}

#[tokio::test]
async fn a_download_that_breaks_often_and_gets_on_each_time_comes_to_its_end() {
    let mut formulae = bottles::sample::formulae();
    formulae[6].filling = 1_000_000;
    let sample = Sample::of(&formulae);
    let world = World::serving(sample.clone()).await;
    let blobs = sample.registry.keys();
    for key in blobs.filter(|key| key.contains("/tree/blobs/")) {
        // More often than a request is made that gets nowhere.
        world
            .server
            .trouble(&format!("/{key}"), vec![Trouble::CutAfter(150_000); 6]);
    }
    let report = world.sync(&["tree"], FIRST).await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    world.check().await.expect("it is published");
}

#[tokio::test]
async fn a_redirect_from_tls_to_plain_text_is_not_followed() {
    let world = World::new().await;
    let registry = world.server.registry();
    let address = registry.trim_start_matches("http://");
    let proxy = testkit::ScriptedProxy::with_tls(address.parse().expect("an address"));
    let env = store::Environment::from_iter([(
        "SSL_CERT_FILE",
        proxy.ca_pem_path().display().to_string(),
    )]);
    let upstream = world.upstream_through(&proxy.endpoint(), &env);
    let known = bottles::upstream::Validators::default();
    let path = "formula.jws.json";
    let found = upstream.api_file(path, &known).await.expect("it answers");
    assert!(matches!(found, bottles::upstream::ApiAnswer::File(_)));
    let mut redirect = testkit::proxy::s3_error(302, "Found", "elsewhere");
    redirect.set_header("location", &format!("{}/{path}", world.server.api()));
    proxy.add(testkit::Rule::new(testkit::Action::Respond(redirect)));
    let _ = world.server.take_asked();
    let error = upstream
        .api_file(path, &known)
        .await
        .expect_err("it is not followed");
    assert!(error.to_string().contains("redirect"), "{error}");
    assert_eq!(world.server.take_asked(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_says_of_a_digest_counts_only_if_it_compares_what_it_is_told() {
    let server = testkit::S3Server::start();
    let url: store::StoreUrl = server.store_url("bucket", "").parse().expect("a URL");
    let open = async |checksums| {
        let tuning = store::Tuning {
            checksums,
            ..store::Tuning::default()
        };
        let store = store::Store::open(&url, &tuning, &store::Environment::default()).await;
        store.expect("it opens")
    };
    let honest = open(true).await;
    let bytes = bytes::Bytes::from_static(b"a bottle");
    let sha256 = transfer::Digest::of(&bytes);
    let attributes = store::Attributes::default();
    honest
        .put_with("blob", bytes, &attributes, Some(sha256.0))
        .await
        .expect("written");
    // Other bytes lie there than the store was told, and it does not know.
    std::fs::write(server.root().join("bucket/blob"), "a battle").expect("written");
    assert_eq!(
        honest.head("blob").await.expect("there").sha256,
        Some(sha256.0)
    );
    let digest = sha256.to_string();
    for (store, trusted) in [(open(false).await, false), (honest, true)] {
        assert_eq!(bottles::plan::trusts_checksums(&store).await, trusted);
        let is_right = bottles::plan::is_right(&store, "blob", &digest, trusted).await;
        assert_eq!(is_right.expect("asked"), trusted);
    }
}
