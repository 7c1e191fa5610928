//! What hangs: an upstream in the middle of a run that is to stop, a pipe in a bundle, a program that is to print a secret.

use crate::program::{program, run, sync};
use crate::world::World;
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};
use testkit::{Action, Rule, ScriptedProxy};

/// Nothing that is asked to end takes as long as an upstream is waited for.
const SECONDS_ONLY: Duration = Duration::from_secs(20);

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    waited.unwrap_or_else(|_| panic!("not so: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_seconds_though_the_upstream_hangs_and_the_next_run_goes_on() {
    let world = World::new().await;
    let address = world.server.registry();
    let address = address.trim_start_matches("http://");
    let proxy = ScriptedProxy::in_front_of(address.parse().expect("an address"));
    // The first bottle comes, the others never do.
    proxy.add(Rule::new(Action::Stall).target("/blobs/").skip(1));
    let arguments = ["--formula", "wget", "--platform", "x86_64_linux"];
    let registry = proxy.endpoint();
    let more = ["--concurrency", "1", "--registry", &registry];
    let arguments = [&arguments[..], &more].concat();
    let prepared = sync(&world, &arguments);
    let mut command = tokio::process::Command::new(prepared.get_program());
    command.args(prepared.get_args()).env_clear();
    for (name, value) in prepared.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.kill_on_drop(true).spawn().expect("it runs");
    let asked = || {
        let requests = proxy.requests().into_iter();
        let blobs = requests.filter(|seen| seen.target.contains("/blobs/"));
        blobs.map(|seen| seen.target).collect::<Vec<String>>()
    };
    until("two bottles are asked for", || asked().len() == 2).await;
    let id = child.id().expect("it runs").to_string();
    let begun = Instant::now();
    let mut kill = tokio::process::Command::new("kill");
    let killed = kill.args(["-TERM", &id]).status().await;
    assert!(killed.expect("it runs").success());
    let output = child.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(begun.elapsed() < SECONDS_ONLY, "{said}");
    assert_eq!(output.status.code(), Some(130), "{said}");
    for part in [
        "Fetched 1 file",
        "Stopped. Run the same again",
        "\"outcome\":\"interrupted\"",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let first = asked().remove(0);
    proxy.clear();
    proxy.forget_requests();
    let (code, out, err) = run(sync(&world, &arguments)).await;
    assert_eq!(code, 0, "{out}{err}");
    // What had come is not fetched again.
    let again = asked();
    assert!(again.len() >= 2 && !again.contains(&first), "{again:?}");
    let state = world.state.path().join(".local/state/homebrew-sync");
    let left = crate::mending::within(&state).into_iter();
    let left = left.filter(|path| path.extension().is_some_and(|found| found == "journal"));
    assert_eq!(left.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_in_which_a_file_is_a_pipe_is_refused() {
    let world = World::new().await;
    let (code, _, err) = run(sync(&world, &["--formula", "tree"])).await;
    assert_eq!(code, 0, "{err}");
    let path = |name: &str| world.state.path().join(name);
    let bundle = async |arguments: &[&str], store: &str| {
        let mut command = program(&world);
        command.arg("bundle").args(arguments);
        command
            .current_dir(world.state.path())
            .arg("--store")
            .arg(path(store));
        run(command).await
    };
    std::fs::create_dir(path("far")).expect("made");
    for arguments in [
        &["keygen", "--out", "site.key"][..],
        &["export", "--out", "bundle", "--key", "site.key"],
    ] {
        let (code, _, err) = bundle(arguments, "mirror").await;
        assert_eq!(code, 0, "{err}");
    }
    for name in ["part-0000", "bundle.json.sig", "bundle.json"] {
        let file = path("bundle").join(name);
        let aside = path(name);
        std::fs::rename(&file, &aside).expect("moved");
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        assert!(made.expect("it runs").success());
        let importing = bundle(&["import", "bundle", "--trust", "site.key.pub"], "far");
        let ended = tokio::time::timeout(SECONDS_ONLY, importing).await;
        let (code, _, err) = ended.unwrap_or_else(|_| {
            // Whoever waits for it goes on.
            drop(std::fs::OpenOptions::new().write(true).open(&file));
            panic!("{name} is waited for")
        });
        assert_eq!(code, 16, "{err}");
        assert!(
            err.contains(&format!("{name} is not a regular file")),
            "{err}"
        );
        assert!(err.contains("hint"), "{err}");
        std::fs::remove_file(&file).expect("removed");
        std::fs::rename(&aside, &file).expect("moved");
    }
    let (code, _, err) = bundle(&["import", "bundle", "--trust", "site.key.pub"], "far").await;
    assert_eq!(code, 0, "{err}");
}

/// Tells whether a process works still: one that was ended and that nobody has asked for does not.
fn is_alive(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next());
    !matches!(state, None | Some("Z" | "X"))
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_are_to_print_secrets_and_hang_are_ended_with_all_that_they_began() {
    let world = World::new().await;
    let file = |name: &str| world.state.path().join(name);
    let mut command = sync(
        &world,
        &["--formula", "tree", "--platform", "x86_64_linux", "--json"],
    );
    for (variable, name) in [
        ("SLACK_WEBHOOK", "one"),
        ("WEBHOOK", "two"),
        ("SMTP", "three"),
    ] {
        let line = format!("sleep 1000 & echo $! > {}; wait", file(name).display());
        command.env(format!("HOMEBREW_SYNC_{variable}_COMMAND"), line);
    }
    let begun = Instant::now();
    let (code, out, err) = run(command).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(begun.elapsed() < SECONDS_ONLY, "{err}");
    assert_eq!(err.matches("it did not end within").count(), 3, "{err}");
    for name in ["one", "two", "three"] {
        let id = std::fs::read_to_string(file(name)).expect("it has begun");
        until("it is ended", || !is_alive(id.trim())).await;
    }
    let found: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(found["run"]["outcome"], "published", "{out}");
}
