//! The command line, as a person or a script meets it.

use crate::program::{program, run, sync};
use crate::world::World;
use assert_cmd::Command;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn from_an_empty_folder_to_a_mirror_that_can_be_looked_at() {
    let world = World::new().await;
    let (code, out, err) = run(sync(
        &world,
        &["--formula", "jq", "--platform", "x86_64_linux", "--dry-run"],
    ))
    .await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Would fetch 2 files"), "{out}");
    let (code, out, err) = run(sync(
        &world,
        &["--formula", "jq", "--platform", "x86_64_linux"],
    ))
    .await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Published generation 00000001-"), "{out}");
    let (code, out, _) = run(sync(&world, &["--json"])).await;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, report["nothing_new"].as_bool()), (0, Some(true)));
    let mirror = world.state.path().join("mirror");
    for (arguments, expected) in [
        (vec!["status"], "1 formula and what they need"),
        (vec!["generations"], "*"),
        (vec!["diff", "1"], "the same bottles"),
        (vec!["scrub"], "Read 2 bottles; 0 wrong."),
        (
            vec!["prune", "--keep", "1"],
            "Removed 0 generations and 0 objects",
        ),
        (vec!["misses"], "No client asked"),
        (vec!["test-permissions"], "can be written"),
    ] {
        let mut command = program(&world);
        command.args(&arguments).arg("--store").arg(&mirror);
        let (code, out, err) = run(command).await;
        assert_eq!(code, 0, "{arguments:?}: {err}");
        assert!(out.contains(expected), "{arguments:?}: {out}");
    }
    // A scrub reads the API's files too.
    let file = mirror.join("api/cask.jws.json");
    std::fs::write(&file, "{}").expect("a file");
    let mut command = program(&world);
    command.args(["scrub", "--store"]).arg(&mirror);
    let (code, out, err) = run(command).await;
    assert_eq!(code, 16, "{out}{err}");
    assert!(err.contains("api/cask.jws.json"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_has_its_code_and_says_what_to_do() {
    let world = World::new().await;
    let mut nowhere = program(&world);
    nowhere.arg("status");
    let mut empty = program(&world);
    empty.args(["status", "--store"]).arg(world.state.path());
    let mut unknown = program(&world);
    unknown.args(["frobnicate"]);
    for (command, code, says) in [
        (nowhere, 4, "HOMEBREW_SYNC_STORE"),
        (empty, 10, "homebrew-sync sync"),
        (unknown, 2, "frobnicate"),
        (sync(&world, &[]), 2, "--formula NAME"),
        (sync(&world, &["--formula", "wgte"]), 1, "is wget meant?"),
        (
            sync(&world, &["--formula", "jq", "--platform", "amiga"]),
            2,
            "no platform",
        ),
        (
            sync(&world, &["--formula", "jq", "--api", "ftp://x"]),
            4,
            "no http or https address",
        ),
        (
            sync(&world, &["--formula", "jq", "--layout", "round"]),
            2,
            "flat",
        ),
        (
            sync(&world, &["--formula", "jq", "--api-key", "/nowhere"]),
            1,
            "/nowhere",
        ),
        (
            sync(
                &world,
                &["--formula", "jq", "--api", "http://127.0.0.1:1/api"],
            ),
            14,
            "check the network",
        ),
    ] {
        let (found, out, err) = run(command).await;
        assert_eq!(found, code, "{out}{err}");
        assert!(err.contains(says), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_file_that_is_named_and_cannot_be_read_stops_the_run() {
    let world = World::new().await;
    let no_such_file = format!("{}/no/such.json", world.server.api());
    let no_hash = format!("{}/cask.jws.json?secret=hidden", world.server.api());
    for (command, code, says) in [
        (
            sync(
                &world,
                &["--formula", "jq", "--external-hash", "/nowhere/it.json"],
            ),
            1,
            "/nowhere/it.json",
        ),
        (
            sync(
                &world,
                &["--formula", "jq", "--external-hash", &no_such_file],
            ),
            1,
            "404",
        ),
        (
            sync(&world, &["--formula", "jq", "--external-hash", &no_hash]),
            16,
            "Invalid hash file format",
        ),
        (
            sync(
                &world,
                &["--formula", "jq", "--external-hash", "s3://bucket"],
            ),
            4,
            "names no hash file",
        ),
    ] {
        let (found, out, err) = run(command).await;
        assert_eq!(found, code, "{out}{err}");
        assert!(err.contains(says) && !err.contains("hidden"), "{err}");
    }
    assert!(
        world
            .server
            .take_asked()
            .iter()
            .all(|line| !line.contains("/v2/"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_file_is_read_from_a_bucket_a_folder_and_a_server_and_flat_names_are_made() {
    let world = World::new().await;
    let s3 = testkit::S3Server::start();
    let day = |text: &str| {
        let sum = "0".repeat(64);
        let entry = serde_json::json!({"sha256": sum, "download_date": text, "file_size": 1});
        serde_json::json!({"bottles": {"jq-1.7.1-x86_64_linux": entry}}).to_string()
    };
    let file = world.state.path().join("other.json");
    std::fs::write(&file, day("2020-01-01")).expect("a file");
    std::fs::write(s3.root().join("bucket/other.json"), day("2020-01-01")).expect("an object");
    let mut sample = bottles::sample::Sample::embedded();
    let served = day("2020-01-01").into_bytes();
    sample.api.insert("other.json".to_owned(), served);
    world.server.replace(sample);
    let in_bucket = s3.store_url("bucket", "other.json");
    for place in [
        file.display().to_string(),
        format!("{}/other.json", world.server.api()),
        in_bucket,
    ] {
        let arguments = [
            "--json",
            "--formula",
            "jq",
            "--platform",
            "x86_64_linux",
            "--layout",
            "flat",
            "--external-hash",
            &place,
        ];
        let (code, out, err) = run(sync(&world, &arguments)).await;
        assert_eq!(code, 0, "{place}: {err}");
        let report: Value = serde_json::from_str(&out).expect("JSON");
        let others = &report["external"]["others"];
        assert_eq!(
            others,
            &serde_json::json!(["jq-1.7.1-x86_64_linux"]),
            "{place}"
        );
        assert!(err.contains("other digests"), "{err}");
    }
    let link = world
        .state
        .path()
        .join("mirror/flat/jq-1.7.1.x86_64_linux.bottle.tar.gz");
    assert!(link.symlink_metadata().expect("it is there").is_symlink());
    let arguments = ["--formula", "jq", "--layout", "flat", "--store"];
    let mut refused = sync(&world, &arguments);
    refused.arg(s3.store_url("bucket", "mirror"));
    let (code, _, err) = run(refused).await;
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("homebrew-sync serve"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_which_anything_failed_does_not_end_well() {
    let mut sample = bottles::sample::Sample::embedded();
    sample.registry.retain(|key, _| !key.contains("/tree/"));
    let world = World::serving(sample).await;
    let (code, _, err) = run(sync(&world, &["--formula", "tree", "--formula", "jq"])).await;
    assert_eq!(code, 3, "{err}");
    assert!(
        err.contains("tree:") && err.contains("Nothing was published"),
        "{err}"
    );
    let (code, out, err) = run(sync(
        &world,
        &["--formula", "tree", "--formula", "jq", "--skip", "tree"],
    ))
    .await;
    assert_eq!(code, 0, "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_makes_the_folder_of_a_disk_that_is_not_mounted() {
    let world = World::new().await;
    let mirror = world.state.path().join("mirror");
    let fetching = ["--formula", "jq", "--platform", "x86_64_linux"];
    let (code, _, err) = run(sync(&world, &fetching)).await;
    assert_eq!(code, 0, "{err}");
    let unmounted = world.state.path().join("not-mounted/mirror");
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["sync", "--formula", "jq"],
        vec!["sync", "--rebuild-hash"],
        vec!["prune", "--keep", "1"],
        vec!["rollback"],
        vec!["scrub"],
        vec!["diagnose"],
        vec!["test-permissions"],
        vec!["serve", "--listen", "127.0.0.1:0"],
    ];
    // Twice: what a first one left behind would let the second one through.
    commands.extend(commands.clone());
    for arguments in commands {
        let mut command = sync(&world, &[]);
        command.env("HOMEBREW_SYNC_STORE", &unmounted);
        let program = command.get_program().to_owned();
        let mut plain = Command::new(program);
        plain.args(&arguments).env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                plain.env(name, value);
            }
        }
        let (code, out, err) = run(plain).await;
        assert_ne!(code, 0, "{arguments:?}: {out}");
        assert!(
            (out + &err).contains("mount the disk"),
            "{arguments:?}: {err}"
        );
        assert!(!unmounted.exists(), "{arguments:?}");
    }
    assert!(mirror.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_address_of_the_api_is_in_nothing_that_is_said() {
    let world = World::new().await;
    let api = world.server.api().replace("http://", "http://user:s3cr3t@");
    for arguments in [vec!["--json"], vec![]] {
        let mut command = sync(&world, &arguments);
        command
            .args(["--formula", "jq"])
            .env("HOMEBREW_SYNC_API", format!("{api}/nowhere?key=k3yk3y"));
        let (code, out, err) = run(command).await;
        assert_ne!(code, 0, "{out}");
        let said = out + &err;
        assert!(said.contains("/api/nowhere"), "{said}");
        assert!(
            !said.contains("s3cr3t") && !said.contains("k3yk3y"),
            "{said}"
        );
    }
    let mut command = program(&world);
    let mirror = world.state.path().join("mirror");
    command.args(["runs", "--json", "--store"]).arg(mirror);
    let (_, out, err) = run(command).await;
    let said = out + &err;
    assert!(
        !said.contains("s3cr3t") && !said.contains("k3yk3y"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_over_by_nobody_is_named_with_what_may_be_meant() {
    let world = World::new().await;
    let names = |skipped: &[&str]| {
        let mut arguments = vec!["--formula", "jq", "--platform", "x86_64_linux"];
        arguments.extend(skipped.iter().flat_map(|name| ["--skip", name]));
        sync(&world, &arguments)
    };
    // Passed over by somebody, though perhaps by nobody in the selection.
    let (code, _, err) = run(names(&["wget", "cask.jws.json", "portable-ruby"])).await;
    assert_eq!(code, 0, "{err}");
    assert!(!err.contains("--skip"), "{err}");
    let (code, _, err) = run(names(&["wgte", "homebrew/core/tree", "zzzzzzzz"])).await;
    assert_eq!(code, 0, "{err}");
    for expected in [
        "--skip wgte passes nothing over: no formula or API file has that name; is wget meant?",
        "--skip homebrew/core/tree passes nothing over: no formula or API file has that name; is tree meant?",
        "--skip zzzzzzzz passes nothing over: no formula or API file has that name\n",
    ] {
        assert!(err.contains(expected), "{expected}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_not_split_into_a_heap_of_files() {
    let world = World::new().await;
    for (size, says) in [("1", "1MiB"), ("1023KiB", "1MiB"), ("0", "1MiB")] {
        let mut command = program(&world);
        command.args(["bundle", "export", "--out", "out", "--key", "key"]);
        command.args(["--split", size]);
        let (code, _, err) = run(command).await;
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("--split") && err.contains(says), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_said_once_and_stdout_holds_nothing_but_the_document() {
    let world = World::new().await;
    let api = ["--formula", "jq", "--api", "http://127.0.0.1:1/api"];
    for more in [&[][..], &["--json"], &["--quiet"], &["-v"]] {
        let (code, out, err) = run(sync(&world, &[&api, more].concat())).await;
        assert_eq!(code, 14, "{out}{err}");
        let said = "the upstream could not be asked";
        let on_stdout = usize::from(more == ["--json"]);
        assert_eq!(out.matches(said).count(), 2 * on_stdout, "{more:?}: {out}");
        assert_eq!(
            err.lines()
                .filter(|line| line.contains(said) && !line.starts_with('{'))
                .count(),
            1,
            "{more:?}: {err}"
        );
        assert_eq!(out.is_empty(), on_stdout == 0, "{more:?}: {out}");
        if on_stdout == 0 {
            assert!(err.contains("check the network"), "{more:?}: {err}");
        }
    }
}
