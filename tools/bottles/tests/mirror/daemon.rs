//! The daemon as a process: what it says, what it leaves, how it ends. What it does when is tested with a clock of its own.

use crate::program::{program, run, sync};
use crate::world::World;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

/// A daemon, and what it says.
struct Daemon {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    said: String,
}

impl Daemon {
    fn start(world: &World, arguments: &[&str]) -> Daemon {
        let prepared = sync(world, arguments);
        let mut command = tokio::process::Command::new(prepared.get_program());
        // In place of `sync`.
        command
            .arg("daemon")
            .args(prepared.get_args().skip(1))
            .env_clear();
        for (name, value) in prepared.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it runs");
        let log = child.stderr.take().expect("a pipe");
        Daemon {
            child,
            log: BufReader::new(log).lines(),
            said: String::new(),
        }
    }

    /// Reads on until a line has a text in it; returns the line.
    async fn until(&mut self, text: &str) -> String {
        while let Some(line) = self.log.next_line().await.expect("it is read") {
            self.said += &line;
            self.said.push('\n');
            if line.contains(text) {
                return line;
            }
        }
        panic!("it never said {text:?}: {}", self.said)
    }

    async fn end(mut self) -> (Option<i32>, String) {
        let id = self.child.id().expect("it runs").to_string();
        let kill = tokio::process::Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await;
        assert!(kill.expect("it runs").success());
        while let Some(line) = self.log.next_line().await.expect("it is read") {
            self.said += &line;
            self.said.push('\n');
        }
        let status = self.child.wait().await.expect("it ends");
        (status.code(), self.said)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_ends_no_daemon_and_a_second_daemon_is_refused() {
    let world = World::new().await;
    let schedule = ["--schedule", "cron(0 3 ? * SUN *)", "--now"];
    // Nothing is selected yet, so the first run fails.
    let mut daemon = Daemon::start(&world, &schedule);
    daemon.until("nothing is selected").await;
    let next = daemon.until("Next run: Sun ").await;
    assert!(next.contains("03:00:00 UTC, in "), "{next}");
    let mut second = sync(&world, &[]);
    let arguments: Vec<_> = second.get_args().skip(1).map(ToOwned::to_owned).collect();
    assert!(arguments.is_empty());
    second = program(&world);
    second
        .args(["daemon", "--schedule", "rate(1 day)", "--store"])
        .arg(world.state.path().join("mirror"));
    let (code, _, err) = run(second).await;
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("another daemon"), "{err}");
    let (code, said) = daemon.end().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("The daemon has ended."), "{said}");
    // With something to do; `status` knows when it goes on.
    let mut arguments = schedule.to_vec();
    arguments.extend(["--formula", "jq", "--platform", "x86_64_linux"]);
    let mut daemon = Daemon::start(&world, &arguments);
    daemon.until("Downloaded bottle").await;
    daemon.until("Next run: ").await;
    let mut status = program(&world);
    status
        .args(["status", "--store"])
        .arg(world.state.path().join("mirror"));
    let (code, out, err) = run(status).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("by cron(0 3 ? * SUN *)"), "{out}");
    let (code, said) = daemon.end().await;
    assert_eq!(code, Some(0), "{said}");
    let mut runs = program(&world);
    runs.args(["runs", "--json", "--store"])
        .arg(world.state.path().join("mirror"));
    let (_, out, _) = run(runs).await;
    let runs: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let of = |number: usize| {
        (
            runs[number]["trigger"].clone(),
            runs[number]["outcome"].clone(),
        )
    };
    assert_eq!(of(0), ("schedule".into(), "failed".into()));
    assert_eq!(of(1), ("schedule".into(), "published".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_the_middle_of_a_run_ends_run_and_daemon_well() {
    let world = World::new().await;
    // An upstream that takes the question and never answers.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let api = format!("http://{}/api", mute.local_addr().expect("an address"));
    let daemon = Daemon::start(
        &world,
        &[
            "--schedule",
            "rate(7 days)",
            "--now",
            "--formula",
            "jq",
            "--api",
            &api,
        ],
    );
    let asked = mute.accept().await.expect("it asks");
    let (code, said) = daemon.end().await;
    drop(asked);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"outcome\":\"interrupted\""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_shown_without_a_run_and_one_that_is_none_is_refused() {
    let world = World::new().await;
    let daemon = |arguments: &[&str]| {
        let mut command = program(&world);
        command.arg("daemon").args(arguments);
        command
    };
    let berlin = [
        "--schedule",
        "0 3 * * 1",
        "--time-zone",
        "Europe/Berlin",
        "--dry-run",
    ];
    let (code, out, err) = run(daemon(&berlin)).await;
    assert_eq!(code, 0, "{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 5, "{out}");
    let fits = |line: &str| line.starts_with("Mon ") && line.contains(" 03:00:00 CE");
    assert!(lines.iter().all(|line| fits(line)), "{out}");
    for (arguments, code, says) in [
        (vec![], 2, "HOMEBREW_SYNC_SCHEDULE"),
        (vec!["--schedule", "cron(0 3 * * SUN *)"], 2, "must be ?"),
        (
            vec!["--schedule", "rate(1 day)", "--time-zone", "Mars"],
            2,
            "Europe/Berlin",
        ),
        (vec!["--schedule", "rate(1 day)"], 4, "HOMEBREW_SYNC_STORE"),
        (
            vec!["--schedule", "rate(1 day)", "--replace"],
            2,
            "once with `homebrew-sync sync`",
        ),
    ] {
        let (found, out, err) = run(daemon(&arguments)).await;
        assert_eq!(found, code, "{out}{err}");
        assert!(err.contains(says), "{arguments:?}: {err}");
    }
}
