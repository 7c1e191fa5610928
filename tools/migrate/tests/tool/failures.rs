//! What goes wrong around a migration, provoked for real: what a person is told, and that nothing is lost.
//!
//! What must hold for each: the exit code of the table, a message with its cause, a hint that helps, and a way to go on that works.

use std::process::{Child, Output};
use std::time::{Duration, Instant};

use testkit::{Action, Gate, Postgres, Rule, ScriptedProxy};

use crate::world::{BUCKET, Ended, Site};

/// Waits until something is true, and fails after half a minute.
pub fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{what} did not come about"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A site behind a proxy.
pub fn behind_a_proxy(documents: usize) -> (Site, ScriptedProxy) {
    let mut site = Site::new(documents);
    let proxy = ScriptedProxy::in_front_of(site.s3.address());
    site.through(proxy.endpoint());
    (site, proxy)
}

/// Starts a migration whose uploads of documents wait at a gate, and waits until they are planned.
fn held(site: &Site, proxy: &ScriptedProxy, arguments: &[&str]) -> (Child, Gate) {
    let gate = Gate::closed();
    proxy.add(
        Rule::new(Action::Hold(gate.clone()))
            .method("PUT")
            .target("/documents/"),
    );
    let mut command = site.command(arguments);
    // Its words go into a file, so that they can be read while it is held.
    let words = std::fs::File::create(words_of(site)).expect("makes a file");
    command.stdout(std::process::Stdio::piped()).stderr(words);
    let child = command.spawn().expect("the program starts");
    until("a plan in the journal", || {
        let journals = site.journals();
        journals.iter().any(|path| {
            std::fs::read_to_string(path).is_ok_and(|text| text.contains("{\"planned\""))
        })
    });
    (child, gate)
}

fn words_of(site: &Site) -> std::path::PathBuf {
    site.folder().join("held.log")
}

fn ended(site: &Site, child: Child) -> Ended {
    let mut output: Output = child.wait_with_output().expect("the program ends");
    output.stderr = std::fs::read(words_of(site)).expect("reads");
    Ended::from(output, &["(held)"])
}

#[test]
fn no_database() {
    let site = Site::new(1);
    let mut command = site.command(&[]);
    command.env(
        "DATABASE_URL",
        "postgres://readur:secret-word@127.0.0.1:1/readur",
    );
    let ended = Ended::of(command, &[]).assert_code(14).assert_says(&[
        "the connection failed",
        "127.0.0.1",
        "hint:",
        "DATABASE_URL",
    ]);
    assert!(!ended.all().contains("secret-word"), "{}", ended.all());
}

#[test]
fn a_wrong_password() {
    let site = Site::new(1);
    let url = site.fleet.database.url();
    let (before, after) = url.split_once('@').expect("a URL with a password");
    let (user, _) = before.rsplit_once(':').expect("a user and a password");
    let mut command = site.command(&[]);
    command.env("DATABASE_URL", format!("{user}:secret-word@{after}"));
    let ended = Ended::of(command, &[])
        .assert_code(13)
        .assert_says(&["refused the login", "hint:"]);
    assert!(!ended.all().contains("secret-word"), "{}", ended.all());
}

#[test]
fn a_database_of_something_else() {
    let site = Site::new(1);
    let mut command = site.command(&[]);
    command.env("DATABASE_URL", Postgres::shared().database().url());
    Ended::of(command, &[])
        .assert_code(4)
        .assert_says(&["documents", "hint:", "--mapping"]);
}

#[test]
fn no_bucket_is_configured() {
    let site = Site::new(1);
    let mut command = site.command(&[]);
    command.env_remove("S3_BUCKET_NAME");
    Ended::of(command, &[])
        .assert_code(4)
        .assert_says(&["S3_BUCKET_NAME", "hint:"]);
}

#[test]
fn the_bucket_does_not_exist() {
    let site = Site::new(2);
    let before = site.moment();
    let mut command = site.command(&[]);
    command.env("S3_BUCKET_NAME", "not-there");
    Ended::of(command, &[])
        .assert_code(10)
        .assert_says(&["not-there", "hint:"]);
    before.assert_same(&site.moment(), "after the failure");
    assert!(
        site.journals().is_empty(),
        "no run was begun that would have to be resumed"
    );
    site.run(&[]).assert_code(0);
}

#[test]
fn a_wrong_key() {
    let site = Site::new(2);
    let mut command = site.command(&[]);
    command.env("S3_SECRET_ACCESS_KEY", "another-secret");
    let ended = Ended::of(command, &[])
        .assert_code(13)
        .assert_says(&["hint:", "S3_ACCESS_KEY_ID"]);
    assert!(!ended.all().contains("another-secret"), "{}", ended.all());
    assert!(
        !ended.all().contains("AWS_"),
        "the application's variables are in use: {}",
        ended.all()
    );
}

#[test]
fn writing_is_denied() {
    let (site, proxy) = behind_a_proxy(4);
    let before = site.moment();
    proxy.add(Rule::s3_error(403, "AccessDenied", "Access Denied").method("PUT"));
    site.run(&["--enable-rollback"])
        .assert_code(13)
        .assert_says(&["hint:", "s3:PutObject"]);
    proxy.clear();
    before
        .tables
        .assert_same(&site.moment().tables, "no row was switched");
    site.run(&["--resume"]).assert_code(0);
    assert_eq!(site.switched(), 4);
}

#[test]
fn a_store_that_asks_for_less_is_waited_for() {
    let (site, proxy) = behind_a_proxy(6);
    proxy.add(
        Rule::slow_down()
            .method("PUT")
            .target("/documents/")
            .times(4),
    );
    site.run(&[]).assert_code(0);
    assert_eq!(site.switched(), 6);
}

#[test]
fn a_store_that_asks_for_less_for_good_stops_the_run_resumably() {
    let (site, proxy) = behind_a_proxy(6);
    let before = site.moment();
    proxy.add(Rule::slow_down().method("PUT").target("/documents/"));
    site.run(&["--enable-rollback", "--max-retries", "1"])
        .assert_code(14)
        .assert_says(&["throttl", "--resume-from"]);
    before
        .tables
        .assert_same(&site.moment().tables, "no row was switched");
    proxy.clear();
    site.run(&["--resume"]).assert_code(0);
    assert_eq!(site.switched(), 6);
}

#[test]
fn lost_answers_and_cut_connections_are_survived() {
    let (site, proxy) = behind_a_proxy(6);
    proxy.add(
        Rule::new(Action::DropAfter)
            .method("PUT")
            .target("/documents/")
            .times(2),
    );
    proxy.add(
        Rule::new(Action::DropBefore)
            .method("PUT")
            .target("/thumbnails/")
            .times(1),
    );
    site.run(&[]).assert_code(0);
    site.run(&["--verify-state", "--full"]).assert_code(0);
}

#[test]
fn the_database_goes_away_in_the_middle() {
    let mut postgres = Postgres::start();
    let (site, proxy) = {
        let mut site = Site::over(&postgres, 6);
        let proxy = ScriptedProxy::in_front_of(site.s3.address());
        site.through(proxy.endpoint());
        (site, proxy)
    };
    let before = site.moment();
    let (child, gate) = held(&site, &proxy, &["--enable-rollback", "--max-retries", "0"]);
    postgres.stop();
    gate.open();
    ended(&site, child)
        .assert_code(14)
        .assert_says(&["hint:", "--resume-from"]);
    postgres.start_again();
    before.tables.assert_same(
        &site.moment().tables,
        "nothing was undone, nothing was switched",
    );
    site.run(&["--resume"]).assert_code(0);
    assert_eq!(site.switched(), 6);
}

#[test]
fn a_second_runner_is_told_who_is_at_it() {
    let (site, proxy) = behind_a_proxy(5);
    let (child, gate) = held(&site, &proxy, &[]);
    let pid = child.id().to_string();
    site.run(&["--fresh-start"])
        .assert_code(11)
        .assert_says(&["another migration is running", &pid]);
    site.run(&["--status"]).assert_code(0);
    gate.open();
    ended(&site, child).assert_code(0);
    assert_eq!(site.switched(), 5);
}

#[test]
fn a_signal_finishes_what_is_in_flight_and_says_how_to_go_on() {
    for signal in ["-TERM", "-INT"] {
        let (site, proxy) = behind_a_proxy(40);
        let arguments = ["--batch-size", "2", "--parallel-uploads", "1"];
        let (child, gate) = held(&site, &proxy, &arguments);
        let sent = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
        until("an answer to the signal", || {
            std::fs::read_to_string(words_of(&site))
                .expect("reads")
                .contains("Stopping")
        });
        gate.open();
        ended(&site, child)
            .assert_code(130)
            .assert_says(&["Stopping", "--resume-from"]);
        let switched = site.switched();
        assert!(switched < 40, "{signal} stopped the run after {switched}");
        site.run(&["--resume"]).assert_code(0);
        assert_eq!(site.switched(), 40, "{signal}");
    }
}

#[test]
fn a_signal_is_heard_before_anything_is_begun() {
    let site = Site::new(2);
    site.run(&[]).assert_code(0);
    let before = site.moment();
    // A database, or a store, that never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let at = silent.local_addr().expect("an address");
    let latest = site.latest();
    let removal = crate::world::removal(&latest);
    for arguments in [
        &[][..],
        &["--dry-run"],
        &["--rollback"],
        &["--verify-state"],
        &["--status"],
        &removal,
        &["--test-storage"],
    ] {
        for signal in ["-TERM", "-INT"] {
            let mut command = site.command(arguments);
            command
                .env("DATABASE_URL", format!("postgres://me@{at}/readur"))
                .env("S3_ENDPOINT_URL", format!("http://{at}"))
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            let child = command.spawn().expect("starts");
            let _held = silent.accept().expect("is asked");
            let sent = std::process::Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
            assert!(sent.expect("kill runs").success());
            let output = child.wait_with_output().expect("ends");
            Ended::from(output, arguments)
                .assert_code(130)
                .assert_says(&["the command was interrupted", "hint:"]);
        }
    }
    before.assert_same(&site.moment(), "nothing was begun");
}

#[test]
fn a_row_that_changes_while_it_is_moved_is_left_alone() {
    let (site, proxy) = behind_a_proxy(4);
    let (child, gate) = held(&site, &proxy, &["--json"]);
    let changed = &site.fleet.documents[0].id;
    let gone = &site.fleet.documents[1].id;
    site.sql(&format!(
        "UPDATE documents SET file_path = '/elsewhere/x.pdf' WHERE id = '{changed}'"
    ));
    site.sql(&format!("DELETE FROM documents WHERE id = '{gone}'"));
    gate.open();
    let report = ended(&site, child).assert_code(3).json();
    assert_eq!(report["this_time"]["changed"], 1, "{report:#}");
    assert_eq!(report["this_time"]["gone"], 1, "{report:#}");
    let path = format!("SELECT file_path FROM documents WHERE id = '{changed}'");
    assert_eq!(site.sql(&path), "/elsewhere/x.pdf");
    let objects = site.moment().bucket;
    assert!(
        !objects
            .names()
            .any(|key| key.contains(gone) && key.starts_with("documents/")),
        "its object is gone again"
    );
}

#[test]
fn what_arrives_meanwhile_is_caught_up_with() {
    let (site, proxy) = behind_a_proxy(4);
    let (child, gate) = held(&site, &proxy, &[]);
    let (path, file) = (
        site.fleet.uploads.join("documents/new.txt"),
        b"a new document",
    );
    std::fs::write(&path, file).expect("writes");
    site.sql(&format!(
        "INSERT INTO documents (id, filename, original_filename, file_path, file_size, mime_type, user_id) \
         VALUES ('00000000-0000-4000-8000-000000000001', 'new.txt', 'new.txt', '{}', {}, 'text/plain', '{}')",
        path.display(),
        file.len(),
        site.fleet.users[0]
    ));
    gate.open();
    ended(&site, child).assert_code(0);
    assert_eq!(site.switched(), 5, "the new one too");
}

#[test]
fn the_disk_of_the_state_files_is_full() {
    let site = Site::new(30);
    let before = site.moment();
    let program = site.command(&[]).get_program().to_owned();
    let mut command = site.command(&[]);
    // The limit on the size of files stands in for the full disk, because it needs no rights.
    let line = format!("ulimit -f 16; exec {}", program.display());
    let envs: Vec<_> = command
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
        .collect();
    // Whoever started the tests may ignore the signal.
    let mut shell = std::process::Command::new("env");
    shell.env_clear().current_dir(site.folder()).args([
        "--default-signal=XFSZ",
        "bash",
        "-c",
        &line,
    ]);
    for (name, value) in envs {
        shell.env(name, value.expect("a value"));
    }
    command = shell;
    Ended::of(command, &["(limited)"])
        .assert_code(17)
        .assert_says(&["hint:"]);
    site.run(&["--resume"]).assert_code(0);
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn the_state_directory_cannot_be_made() {
    let site = Site::new(1);
    let blocked = site.folder().join("file");
    std::fs::write(&blocked, "").expect("writes");
    let blocked = blocked.join("state").display().to_string();
    site.run(&["--state-dir", &blocked])
        .assert_code(4)
        .assert_says(&["state files", "--state-dir"]);
}

#[test]
fn the_state_directory_may_not_be_written() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let site = Site::new(1);
    let before = site.moment();
    let allow = |path: &std::path::Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("sets the mode");
    };
    allow(site.folder(), 0o755);
    allow(&site.state(), 0o555);
    let mut command = site.command(&[]);
    // Whoever may do everything becomes somebody who may not.
    if site.folder().metadata().expect("is there").uid() == 0 {
        command.uid(65534).gid(65534);
    }
    Ended::of(command, &[])
        .assert_code(13)
        .assert_says(&["state", "hint:", "--state-dir"]);
    before.assert_same(&site.moment(), "nothing was begun");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let site = Site::new(1);
    for (arguments, words) in [
        (
            &["--delete-local", "--enable-rollback"][..],
            "--delete-source",
        ),
        (&["--delete-source"], "--state-file"),
        (&["--resume", "--fresh-start"], "cannot be used with"),
        (&["--rollback", "--dry-run"], "cannot be used with"),
        (&["--direction", "s3-to-s3"], "--target"),
        (&["--target", "folder:/x"], "--direction"),
        (&["--multipart-threshold", "1KB"], "5 MiB"),
        (&["--older-than", "7d"], "--delete-source"),
    ] {
        site.run(arguments).assert_code(2).assert_says(&[words]);
    }
    assert!(site.moment().bucket.is_empty(), "{BUCKET} is as it was");
}

#[test]
fn remedies_name_the_settings_that_are_in_use() {
    let site = Site::new(1);
    for (name, value, remedy) in [
        ("S3_BUCKET_NAME", "not-there", "S3_BUCKET_NAME"),
        ("S3_ENDPOINT_URL", "http://127.0.0.1:1", "S3_ENDPOINT_URL"),
    ] {
        let mut command = site.command(&["--max-retries", "0"]);
        command.env(name, value);
        let ended = Ended::of(command, &[name]).assert_says(&["hint:", remedy]);
        assert!(!ended.all().contains("store URL"), "{}", ended.all());
    }
    for what in [&["--test-storage"][..], &[]] {
        let mut command = site.command(what);
        command.env("S3_SECRET_ACCESS_KEY", "another-secret");
        let remedy = "S3_SECRET_ACCESS_KEY, of which the application uses the same";
        let ended = Ended::of(command, what).assert_says(&[remedy]);
        assert!(!ended.all().contains("AWS_"), "{}", ended.all());
    }
    // Who typed a store URL is told of that.
    let url = site.s3.store_url("not-there", "");
    site.run(&["--store", &url])
        .assert_code(10)
        .assert_says(&["store URL"]);
}

#[test]
fn with_json_a_wrong_command_line_is_a_document_too() {
    let site = Site::new(1);
    for arguments in [
        &["--json", "--nonsense"][..],
        &["--resume", "--fresh-start", "--json"],
        &["--json", "--user-id", "tom"],
    ] {
        let error = site.run(arguments).assert_code(2).json();
        assert_eq!(error["error"]["exit_code"], 2, "{error:#}");
        assert!(error["error"]["message"].is_string(), "{error:#}");
    }
    site.run(&["--json", "--help"]).assert_code(0).json();
}
