//! The commands that look whether all is well: `diagnose`, `test-permissions`, `doctor --client`.

use crate::program::{program, run, sync};
use crate::receiver::{Manner, Receiver};
use crate::world::World;
use serde_json::Value;
use testkit::{Rule, S3Server, ScriptedProxy};

const JQ: [&str; 4] = ["--formula", "jq", "--platform", "x86_64_linux"];

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_that_is_missing_is_named_and_nothing_is_left_behind() {
    let world = World::new().await;
    let server = S3Server::start();
    let proxy = ScriptedProxy::in_front_of(server.address());
    let store = proxy.store_url("bucket", "mirror");
    let test = || {
        let mut command = program(&world);
        command.args(["test-permissions", "--json", "--store", &store]);
        command
    };
    let outcomes = |out: &str| -> Vec<String> {
        let found: Value = serde_json::from_str(out).expect("JSON");
        let rows = found["actions"].as_array().expect("rows").clone();
        let denied = rows.into_iter().filter(|row| row["outcome"] == "denied");
        denied
            .map(|row| row["action"].as_str().expect("a name").to_owned())
            .collect()
    };
    let (code, out, err) = run(test()).await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(outcomes(&out), [] as [String; 0]);
    let left = files(&server.root().join("bucket"));
    assert!(left.is_empty(), "{left:?}");
    let denied = |method: &str, part: &str| {
        let rule = Rule::s3_error(403, "AccessDenied", "Access Denied");
        rule.method(method).target(part)
    };
    for (rules, expected, names) in [
        (vec![denied("PUT", "/object")], vec!["put"], "s3:PutObject"),
        (vec![denied("GET", "/object")], vec!["get"], "s3:GetObject"),
        (
            vec![denied("GET", "list-type")],
            vec!["list"],
            "s3:ListBucket",
        ),
        (
            vec![denied("POST", "?uploads")],
            vec!["upload in parts", "abort an upload"],
            "s3:PutObject",
        ),
        (
            vec![denied("DELETE", "uploadId")],
            vec!["abort an upload"],
            "s3:AbortMultipartUpload",
        ),
        (
            vec![denied("POST", "?delete"), denied("DELETE", "/object")],
            vec!["delete"],
            "s3:DeleteObject",
        ),
    ] {
        proxy.clear();
        for rule in rules {
            proxy.add(rule);
        }
        let (code, out, err) = run(test()).await;
        assert_eq!(outcomes(&out), expected, "{out}{err}");
        assert_eq!(code, 13, "{out}{err}");
        let found: Value = serde_json::from_str(&out).expect("JSON");
        let message = found["error"]["message"].as_str().expect("a message");
        assert!(message.contains(names), "{message}");
        let policy = found["policy"].as_str().expect("a policy");
        assert!(policy.contains(names), "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diagnosis_says_what_is_well_and_what_is_not_and_has_no_secret() {
    let world = World::new().await;
    run(sync(&world, &JQ)).await;
    let receiver = Receiver::start(Manner::Slack).await;
    let diagnose = |arguments: &[&str]| {
        let prepared = sync(&world, &[]);
        let mut command = program(&world);
        command.arg("diagnose").args(arguments);
        for (name, value) in prepared.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.env("HOMEBREW_SYNC_SLACK_WEBHOOK", receiver.url());
        command
    };
    let (code, out, err) = run(diagnose(&[])).await;
    assert_eq!(code, 0, "{out}{err}");
    for part in [
        "generation 1",
        "published",
        "signatures are checked",
        "Slack (127.0.0.1:",
        "API",
        "registry",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let home = world.state.path().display().to_string();
    assert!(!out.contains("XXXXsecret") && !out.contains(&home), "{out}");
    assert!(receiver.got().is_empty());
    // All that is wrong is said, not the first of it only.
    let mut command = diagnose(&["--api", "http://127.0.0.1:1/api"]);
    command
        .env("HOMEBREW_SYNC_WEBHOOK_FILE", "/nowhere")
        .env("HOMEBREW_SYNC_API_KEY", "/nowhere/key.pem");
    let (code, out, _) = run(command).await;
    assert_ne!(code, 0, "{out}");
    for part in [
        "fail  API",
        "fail  notices",
        "fail  API key",
        "pass  registry",
        "pass  mirror",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

/// Writes down what the API has and the mirror has not, a formula and a platform, and an address that is wrong.
fn write_misses(world: &World) {
    let files = bottles::sample::Sample::embedded();
    let envelope = bottles::api::jws::Envelope::parse(&files.api["formula.jws.json"]);
    let payload = envelope.expect("an envelope").payload.to_string();
    let generation = bottles::api::formulae::Formulae::read(&payload).expect("read");
    let linux = "x86_64_linux".parse().expect("a platform");
    let mac = "arm64_sequoia".parse().expect("a platform");
    let bottle = |platform, name: &str| {
        generation.catalogue(platform).offers[name]
            .bottle
            .clone()
            .expect("one")
    };
    let (wget, jq) = (bottle(&linux, "wget"), bottle(&mac, "jq"));
    let misses = [
        format!("/{}", bottles::names::blob_key("wget", &wget.sha256)),
        format!("/{}", bottles::names::blob_key("jq", &jq.sha256)),
        "/v2/v2/homebrew/core/jq/manifests/1".to_owned(),
    ];
    let state = world.state.path().join(".local/state/homebrew-sync");
    let lines: Vec<String> = misses
        .iter()
        .map(|path| {
            format!(
                "{{\"time\":\"2026-11-27T03:00:00Z\",\"path\":\"{path}\",\"agent\":\"Homebrew\"}}\n"
            )
        })
        .collect();
    std::fs::write(state.join("misses.jsonl"), lines.concat()).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_explained_with_what_to_run_next() {
    let world = World::new().await;
    run(sync(&world, &JQ)).await;
    let mirror = world.state.path().join("mirror");
    let doctor = |arguments: &[&str]| {
        let mut command = program(&world);
        command
            .args(["doctor", "--client", "--store"])
            .arg(&mirror)
            .args(arguments);
        command
    };
    let (code, out, err) = run(doctor(&[])).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Nothing was missed"), "{out}");
    write_misses(&world);
    let (code, out, err) = run(doctor(&[])).await;
    assert_eq!(code, 0, "{err}");
    for part in [
        "wget is not mirrored",
        "sync --formula wget",
        "the mirror is not for arm64_sequoia",
        "without /v2",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let client = world.state.path().join("config");
    std::fs::write(
        &client,
        "HOMEBREW_VERSION: 4.3.0\nHOMEBREW_NO_AUTO_UPDATE: set\n",
    )
    .expect("written");
    let config = client.to_str().expect("a path");
    let (code, out, err) = run(doctor(&[
        "--config",
        config,
        "--url",
        "http://mirror:8080",
        "--json",
    ]))
    .await;
    assert_eq!(code, 0, "{err}");
    let found: Value = serde_json::from_str(&out).expect("JSON");
    let variables = found["variables"].to_string();
    assert!(
        variables.contains("export HOMEBREW_ARTIFACT_DOMAIN='http://mirror:8080'"),
        "{variables}"
    );
    assert!(variables.contains("bottles of the past"), "{variables}");
    assert_eq!(found["misses"].as_array().map(Vec::len), Some(3));
    let (code, _, err) = run(doctor(&["--config", config])).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("--url URL"), "{err}");
    // One that serve was only asked for is told without the misses file.
    let (_, out, _) = run(doctor(&["--path", "/jq-9.9.x86_64_linux.bottle.tar.gz"])).await;
    assert!(out.contains("the client asks for 9.9"), "{out}");
}
