//! Exit codes and what is said to do: right for what is wrong, and not only for something like it.

use crate::mending::{does, within};
use crate::program::{program, run, sync};
use crate::world::{FIRST, World};
use bottles::sample::Trouble;

const JQ: [&str; 4] = ["--formula", "jq", "--platform", "x86_64_linux"];

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_ill_is_no_failure_of_ones_own() {
    let world = World::new().await;
    for (trouble, code, says) in [
        (Trouble::Status(500), 14, "run again later"),
        (Trouble::Status(503), 14, "run again later"),
        (Trouble::Status(429), 14, "run again later"),
        (Trouble::Status(403), 13, "account"),
        (Trouble::Status(410), 1, "check that the address is right"),
        (Trouble::Damage, 16, "clients would refuse"),
    ] {
        let path = "/api/cask.jws.json";
        world.server.trouble(path, vec![trouble.clone(); 5]);
        let (found, _, err) = run(sync(&world, &JQ)).await;
        assert_eq!(found, code, "{trouble:?}: {err}");
        for part in [says, "--skip cask.jws.json keeps"] {
            assert!(err.contains(part), "{trouble:?}: {part}: {err}");
        }
        world.server.trouble(path, Vec::new());
    }
}

#[tokio::test]
async fn a_bottle_is_to_be_passed_over_only_for_what_is_wrong_with_itself() {
    for (trouble, is_its_own, says) in [
        (
            Trouble::Status(401),
            false,
            "HOMEBREW_DOCKER_REGISTRY_TOKEN",
        ),
        (
            Trouble::Status(403),
            false,
            "HOMEBREW_DOCKER_REGISTRY_TOKEN",
        ),
        (Trouble::Status(429), false, "--concurrency"),
        (Trouble::Status(503), false, "run again"),
        (Trouble::CutAfter(0), false, "check the network"),
        (Trouble::Status(404), true, "ahead of the registry"),
        (Trouble::Damage, true, "file is broken"),
    ] {
        let world = World::new().await;
        let generation = {
            let other = World::new().await;
            other.sync(&["jq"], FIRST).await;
            other.check().await.expect("it is published")
        };
        for held in generation
            .bottles
            .iter()
            .filter(|held| held.formula == "jq")
        {
            let path = format!("/{}", held.blob_key());
            world.server.trouble(&path, vec![trouble.clone(); 50]);
        }
        let report = world.sync(&["jq"], FIRST).await;
        let failure = report.failures.first().expect("it failed");
        assert_eq!(failure.formula, "jq", "{trouble:?}");
        let remedy = &failure.remedy;
        assert_eq!(
            remedy.contains("--skip"),
            is_its_own,
            "{trouble:?}: {remedy}"
        );
        assert!(remedy.contains(says), "{trouble:?}: {remedy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_word_of_a_run_does_not_pass_over_what_the_network_did() {
    let world = World::new().await;
    let manifests = {
        let other = World::new().await;
        other.sync(&["jq"], FIRST).await;
        other.check().await.expect("it is published").manifests
    };
    for key in manifests.keys() {
        let path = format!("/{key}");
        world.server.trouble(&path, vec![Trouble::Status(403); 5]);
    }
    let (code, _, err) = run(sync(&world, &JQ)).await;
    assert_eq!(code, 3, "{err}");
    assert!(!err.contains("--skip"), "{err}");
    assert!(err.contains("Nothing was published"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_there_are_said_with_what_belongs_there() {
    let world = World::new().await;
    let (code, _, err) = run(sync(&world, &JQ)).await;
    assert_eq!(code, 0, "{err}");
    let empty = world.state.path().join("empty");
    std::fs::create_dir(&empty).expect("made");
    let empty = empty.to_str().expect("a path");
    let key = world.state.path().join("site.key");
    let key = key.to_str().expect("a path");
    let (code, said) = does(&world, &["bundle", "keygen", "--out", key]).await;
    assert_eq!(code, 0, "{said}");
    let public = format!("{key}.pub");
    for (arguments, code, says) in [
        (
            &["bundle", "keygen", "--out", key][..],
            1,
            "no key is written over",
        ),
        (
            &["bundle", "export", "--out", empty, "--key", "/nowhere"],
            1,
            "bundle keygen --out FILE",
        ),
        (
            &["bundle", "export", "--out", "/dev/null/x", "--key", key],
            1,
            "--out DIR",
        ),
        (
            &["bundle", "import", empty, "--trust", "/nowhere"],
            1,
            "FILE.pub",
        ),
        (
            &["bundle", "import", empty, "--trust", &public],
            16,
            "bundle.json.sig and the parts",
        ),
        (
            &["bundle", "import", "/nowhere", "--trust", &public],
            16,
            "bundle.json.sig and the parts",
        ),
        (&["sync", "--api-key", "/nowhere"], 1, "homebrew-1.pem"),
        (
            &["sync", "--external-hash", "/nowhere/x.json"],
            1,
            "--external-hash away",
        ),
        (
            &["sync", "--external-hash", "x.json"],
            4,
            "https://HOST/bottles_hash.json",
        ),
    ] {
        let (found, said) = does(&world, arguments).await;
        assert_eq!(found, code, "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_written_otherwise_is_said_with_how_it_is_written() {
    let world = World::new().await;
    for (store, says) in [
        ("./m", "--store \"$PWD/m\""),
        ("m/n", "--store \"$PWD/m/n\""),
        ("s4://m", "'s3:'"),
        ("folder:m", "folder:/PATH"),
    ] {
        let mut command = program(&world);
        command.args(["status", "--store", store]);
        let (code, _, err) = run(command).await;
        assert_eq!(code, 4, "{err}");
        assert!(err.contains(says), "{store}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_runs_that_cannot_be_read_are_not_taken_for_none() {
    let world = World::new().await;
    let (code, _, err) = run(sync(&world, &JQ)).await;
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = run(sync(&world, &[])).await;
    assert_eq!(code, 0, "{err}");
    let records = within(&world.state.path().join("mirror/.syncline/mirror/runs"));
    // Of another machine.
    let own = world.state.path().join(".local/state/homebrew-sync/runs");
    std::fs::remove_dir_all(own).expect("removed");
    std::fs::write(&records[0], b"").expect("written");
    let (code, said) = does(&world, &["runs"]).await;
    assert_eq!(code, 0, "{said}");
    let one = "1 record in the store cannot be read";
    assert!(said.contains(one), "{said}");
    // Of the two, the one that is whole is shown, whichever that is.
    let rows = ["published", "nothing new"].map(|outcome| said.matches(outcome).count());
    assert_eq!(rows.iter().sum::<usize>(), 1, "{said}");
    for path in &records {
        std::fs::write(path, b"{").expect("written");
    }
    let (code, said) = does(&world, &["runs"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("2 records in the store cannot be read"),
        "{said}"
    );
    assert!(said.contains("No record of a run can be read."), "{said}");
}
