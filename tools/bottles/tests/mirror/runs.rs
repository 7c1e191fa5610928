//! The records that runs leave, through the command line.

use crate::program::{program, run, sync};
use crate::world::World;
use serde_json::Value;

const JQ: [&str; 4] = ["--formula", "jq", "--platform", "x86_64_linux"];

async fn listed(world: &World) -> Vec<Value> {
    let mut command = program(world);
    let mirror = world.state.path().join("mirror");
    command.args(["runs", "--json", "--store"]).arg(mirror);
    let (code, out, err) = run(command).await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).expect("JSON")
}

fn outcomes(runs: &[Value]) -> Vec<&str> {
    let outcome = |run: &'_ Value| run["outcome"].as_str().map(str::to_owned);
    let found: Vec<String> = runs.iter().filter_map(outcome).collect();
    assert_eq!(found.len(), runs.len());
    runs.iter()
        .map(|run| run["outcome"].as_str().unwrap_or(""))
        .collect()
}

/// The line of figures at the end of a log.
fn totals(log: &str) -> Value {
    let line = log.lines().rev().find(|line| line.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("there is no line of JSON in {log}"));
    serde_json::from_str(line).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_leaves_a_record_in_the_store_and_on_the_machine_whatever_came_of_it() {
    let mut sample = bottles::sample::Sample::embedded();
    sample.registry.retain(|key, _| !key.contains("/tree/"));
    let world = World::serving(sample).await;
    // One that is typed wrong is none, and neither is a plan.
    let (code, _, _) = run(sync(&world, &[])).await;
    assert_eq!(code, 2);
    run(sync(&world, &["--formula", "jq", "--dry-run"])).await;
    assert_eq!(listed(&world).await, [] as [Value; 0]);
    let (code, _, log) = run(sync(&world, &JQ)).await;
    assert_eq!(code, 0, "{log}");
    let published = totals(&log);
    assert_eq!(published["fetched"], 2, "{log}");
    for count in [
        "fetched_bytes",
        "store_requests",
        "upstream_requests",
        "bottles",
    ] {
        assert!(published[count].as_u64() > Some(0), "{count}: {log}");
    }
    let (_, _, log) = run(sync(&world, &[])).await;
    assert_eq!(totals(&log)["outcome"], "nothing_new");
    let (code, _, log) = run(sync(&world, &["--formula", "tree"])).await;
    assert_eq!(code, 3);
    assert_eq!(totals(&log)["failures"][0]["formula"], "tree", "{log}");
    let nowhere = ["--api", "http://127.0.0.1:1/api"];
    let (code, _, log) = run(sync(&world, &nowhere)).await;
    assert_eq!(code, 14);
    assert_eq!(totals(&log)["outcome"], "failed");
    assert!(
        totals(&log)["upstream_requests"].as_u64() > Some(0),
        "{log}"
    );
    let mut again = vec!["--json"];
    again.extend(nowhere);
    let (_, out, _) = run(sync(&world, &again)).await;
    let document: Value = serde_json::from_str(&out).expect("one document");
    assert_eq!(document["run"]["outcome"], "failed", "{out}");
    assert!(document["error"].is_object(), "{out}");
    let expected = ["published", "nothing_new", "incomplete", "failed", "failed"];
    let all = listed(&world).await;
    assert_eq!(outcomes(&all), expected);
    // Either place tells all of it: another machine has only the store, and who cannot reach the store has only this machine.
    for gone in [
        "mirror/.syncline/mirror/runs",
        ".local/state/homebrew-sync/runs",
    ] {
        let gone = world.state.path().join(gone);
        let aside = world.state.path().join("aside");
        std::fs::rename(&gone, &aside).expect("moved");
        assert_eq!(listed(&world).await, all, "{}", gone.display());
        std::fs::rename(&aside, &gone).expect("moved");
    }
    let mut status = program(&world);
    status
        .args(["status", "--store"])
        .arg(world.state.path().join("mirror"));
    let (_, out, _) = run(status).await;
    assert!(
        out.contains("incomplete") && out.contains("1 failure: tree"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_of_the_guide_find_what_they_look_for_in_a_log() {
    let mut sample = bottles::sample::Sample::embedded();
    sample.registry.retain(|key, _| !key.contains("/tree/"));
    let world = World::serving(sample).await;
    let (_, _, good) = run(sync(&world, &JQ)).await;
    let downloaded = good
        .lines()
        .filter(|line| line.contains("Downloaded bottle"));
    let downloaded: Vec<&str> = downloaded.collect();
    assert_eq!(downloaded.len(), 2, "{good}");
    assert!(
        downloaded
            .iter()
            .any(|line| line.contains("Downloaded bottle jq-")
                && line.contains(".x86_64_linux.bottle.tar.gz")),
        "{good}"
    );
    assert!(!good.contains("ERROR"), "{good}");
    let (_, _, bad) = run(sync(&world, &["--formula", "tree"])).await;
    let error = bad.lines().find(|line| line.contains("ERROR"));
    assert!(error.is_some_and(|line| line.contains("tree")), "{bad}");
    // Who wants none of it gets none.
    let (_, _, quiet) = run(sync(&world, &["--quiet"])).await;
    assert_eq!(quiet, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_written_fails_no_run_and_is_said() {
    let world = World::new().await;
    run(sync(&world, &JQ)).await;
    let runs = world.state.path().join("mirror/.syncline/mirror/runs");
    std::fs::remove_dir_all(&runs).expect("removed");
    // Where a folder should be is a file.
    std::fs::write(&runs, "").expect("written");
    let (code, out, err) = run(sync(&world, &["--formula", "tree"])).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Published generation"), "{out}");
    assert!(
        err.contains("the record of this run is not in the store"),
        "{err}"
    );
    // Nor can it be read: what this machine did is seen all the same.
    assert_eq!(outcomes(&listed(&world).await), ["published", "published"]);
    std::fs::remove_file(&runs).expect("removed");
    assert_eq!(outcomes(&listed(&world).await), ["published", "published"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_is_known_to_the_next_one_and_one_that_is_stopped_says_so() {
    use std::process::Stdio;
    let world = World::new().await;
    run(sync(&world, &JQ)).await;
    // An upstream that takes the question and never answers.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let api = format!("http://{}/api", mute.local_addr().expect("an address"));
    for (signal, outcome) in [("-KILL", "killed"), ("-TERM", "interrupted")] {
        let prepared = sync(&world, &["--api", &api]);
        let mut command = tokio::process::Command::new(prepared.get_program());
        command.args(prepared.get_args()).env_clear();
        for (name, value) in prepared.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it runs");
        let asked = mute.accept().await.expect("it asks");
        let running = listed(&world).await;
        assert_eq!(outcomes(&running).last(), Some(&"running"));
        let id = child.id().expect("it runs").to_string();
        let kill = tokio::process::Command::new("kill")
            .args([signal, &id])
            .status()
            .await;
        assert!(kill.expect("it runs").success());
        let status = child.wait().await.expect("it ends");
        drop(asked);
        assert_eq!(
            outcomes(&listed(&world).await).last(),
            Some(&outcome),
            "{status}"
        );
    }
    // What another machine learns of it comes with the next run.
    run(sync(&world, &[])).await;
    std::fs::remove_dir_all(world.state.path().join(".local/state/homebrew-sync/runs"))
        .expect("removed");
    let expected = ["published", "killed", "interrupted", "nothing_new"];
    assert_eq!(outcomes(&listed(&world).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_mirrors_under_a_fixed_clock_come_out_the_same() {
    let world = World::new().await;
    let mut command = sync(&world, &JQ);
    command.env("SOURCE_DATE_EPOCH", "1790000000");
    let (code, _, err) = run(command).await;
    assert_eq!(code, 0, "{err}");
    assert!(
        !world
            .state
            .path()
            .join("mirror/.syncline/mirror/runs")
            .exists()
    );
    assert_eq!(outcomes(&listed(&world).await), ["published"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_counts_what_went_from_the_mirror() {
    let world = World::new().await;
    let everything = ["--all", "--platform", "x86_64_linux"];
    let (code, _, log) = run(sync(&world, &everything)).await;
    assert_eq!((code, &totals(&log)["removed"]), (0, &0.into()), "{log}");
    let fewer = crate::shrinking::without(&["tree", "jq", "gtk+"]);
    world.server.replace(bottles::sample::Sample::of(&fewer));
    // What is not published has taken nothing away.
    run(sync(&world, &["--dry-run"])).await;
    let (code, _, log) = run(sync(&world, &[])).await;
    assert_eq!((code, &totals(&log)["removed"]), (0, &3.into()), "{log}");
    let removed = listed(&world).await;
    let removed: Vec<&Value> = removed.iter().map(|run| &run["removed"]).collect();
    assert_eq!(removed, [0, 3]);
    let mut runs = program(&world);
    let mirror = world.state.path().join("mirror");
    runs.arg("runs").arg("--store").arg(mirror);
    let (_, out, _) = run(runs).await;
    assert!(out.contains("removed"), "{out}");
    // One of an earlier program does not say it, and is read.
    let mut earlier = listed(&world).await.remove(0);
    let fields = earlier.as_object_mut().expect("fields");
    fields.remove("removed").expect("it was there");
    let read = bottles::runs::RunRecord::parse(earlier.to_string().as_bytes());
    assert_eq!(read.expect("it is read").removed, 0);
}
