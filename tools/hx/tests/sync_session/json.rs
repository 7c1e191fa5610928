//! `--json`: one document on stdout, from every command, however it ends.
//!
//! What must hold: no command is left out: the list below is held against the definition of the command line.
//!
//! It deliberately looks at the form only; the values are for the tests of each command.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::call::Run;
use crate::world::{NEW_PASSPHRASE, World};

/// A command line and the exit code it ends with, in an order in which each has what it needs.
const LINES: &[(&str, i32)] = &[
    ("import", 1),
    ("import --file first-history", 0),
    ("import --file nothing", 1),
    ("import myfile", 2),
    ("find cargo", 0),
    ("find nothing-like-this", 1),
    ("find cargo --limit 0", 2),
    ("export --file out.csv", 0),
    ("export --file -", 0),
    ("export --file - --format csv", 2),
    ("export --file - --format jsonl", 2),
    ("export --file no/such/out.json", 1),
    ("status", 0),
    ("status --verbose --storage", 0),
    ("pin nothing", 2),
    ("pin --list", 0),
    ("forget --match alpine --dry-run", 0),
    ("forget --match alpine", 2),
    ("forget --match nothing-like-this", 1),
    ("config show", 0),
    ("config validate", 0),
    ("crypto test", 0),
    ("init zsh", 0),
    ("completions fish", 0),
    ("man", 0),
    ("sync", 0),
    ("sync push", 0),
    ("sync push --full", 0),
    ("sync push --force", 0),
    ("sync pull", 0),
    ("sync pull --full", 0),
    ("sync status", 0),
    ("sync status --verbose --timing --last-sync", 0),
    ("sync verify", 0),
    ("sync verify --manifest", 0),
    ("sync repair --manifest", 0),
    ("sync diagnose", 0),
    ("sync test-connection", 0),
    ("sync test-permissions", 0),
    ("sync devices", 0),
    ("sync devices remove desktop", 2),
    ("sync devices remove nobody --yes", 2),
    ("sync devices remove desktop --yes", 0),
    ("sync key show", 0),
    ("sync key add-passphrase", 0),
    ("sync key rotate", 2),
    ("sync key rotate --yes", 2),
    ("sync init --store folder:~/vault", 0),
    ("sync init --store memory:", 2),
    ("sync init --store nonsense://", 2),
    ("sync reset --local-only", 0),
    ("sync reset", 0),
    ("quickstart", 0),
    ("--help", 0),
    ("sync --help", 0),
    ("--version", 0),
    ("", 2),
    ("bogus", 2),
    ("sync bogus", 2),
    ("sync push --force --full", 2),
];

/// Standard output as the one document that it must be.
#[track_caller]
fn document(run: &Run) -> Value {
    let document: Value = serde_json::from_str(&run.out)
        .unwrap_or_else(|error| panic!("not one JSON document ({error})\n{run}"));
    if let Some(error) = document.get("error") {
        assert_eq!(
            error["exit_code"].as_i64(),
            run.code.map(i64::from),
            "{run}"
        );
        for key in ["kind", "message", "hint"] {
            let text = error[key].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "`{key}` is empty\n{run}");
        }
        assert!(error["causes"].is_array(), "{run}");
    }
    document
}

#[test]
fn every_command_prints_one_document() {
    let world = World::on_folder();
    let laptop = world.laptop();
    for (line, code) in LINES {
        let run = laptop
            .hx(line)
            .arg("--json")
            .at_home(&world)
            .env("HX_SYNC_PASSPHRASE", NEW_PASSPHRASE)
            .run();
        assert_eq!(run.code, Some(*code), "{run}");
        let document = document(&run);
        // Nothing found is an answer. Everything else that does not succeed says why.
        let may_be_silent = *code == 0 || (*code == 1 && !run.err.contains("error"));
        assert!(may_be_silent || document.get("error").is_some(), "{run}");
        assert!(!run.err.contains("error: "), "{run}");
    }
}

#[test]
fn the_list_has_every_command() {
    fn leaves(command: &clap::Command, before: &str, into: &mut BTreeSet<String>) {
        let names = command
            .get_subcommands()
            .filter(|one| one.get_name() != "help");
        let mut is_leaf = true;
        for one in names {
            is_leaf = false;
            leaves(one, &format!("{before} {}", one.get_name()), into);
        }
        if is_leaf {
            into.insert(before.trim().to_owned());
        }
    }
    let mut commands = BTreeSet::new();
    leaves(&hx::cli::command(), "", &mut commands);
    assert!(commands.len() > 20);
    for command in commands {
        let walked = LINES.iter().any(|(line, _)| line.starts_with(&command));
        assert!(walked, "`hx {command}` is not among the lines above");
    }
}

#[test]
fn a_report_and_its_failure_are_one_document() {
    let world = World::on_folder();
    let (laptop, desktop) = (world.laptop(), world.desktop());
    desktop.types("soon missing");
    desktop.hx("sync push").run().ok();
    // A segment that its manifest names has not come, as in a folder that some program syncs.
    let newest = world
        .objects("objects/segments")
        .into_iter()
        .max_by_key(|path| {
            std::fs::metadata(path)
                .and_then(|data| data.modified())
                .ok()
        });
    std::fs::remove_file(newest.expect("a segment")).expect("removed");

    let run = laptop.hx("sync pull --json").run();
    assert_eq!(run.code, Some(3), "{run}");
    let pulled = document(&run);
    assert_eq!(pulled["error"]["kind"], "not-found", "{run}");
    assert!(
        pulled["problems"].is_array() && pulled["usage"].is_object(),
        "{run}"
    );

    let run = laptop.hx("sync --json").run();
    assert_eq!(run.code, Some(3), "{run}");
    let both = document(&run);
    assert!(both["push"]["usage"].is_object(), "{run}");
    assert_eq!(both["pull"]["error"]["exit_code"], 3, "{run}");
    assert_eq!(both["error"]["exit_code"], 3, "{run}");

    // Here the question is whether everything is there.
    let run = laptop.hx("sync verify --json").run();
    assert_eq!(run.code, Some(16), "{run}");
    assert!(document(&run)["problems"].is_array(), "{run}");
    laptop.hx("sync verify").run().fails(16);
}

#[test]
fn the_vault_is_named_once() {
    let world = World::on_folder();
    let run = world.laptop().hx("sync status --json --offline").run().ok();
    assert_eq!(run.out.matches("\"vault\"").count(), 1, "{run}");
}

#[test]
fn an_unset_vault_is_said_in_json_too() {
    let world = World::without_bucket();
    let tablet = world.device("tablet");
    let run = tablet.hx("sync status --json").run().ok();
    assert_eq!(document(&run)["store"], Value::Null);
    let run = tablet.hx("sync reset --json").run().ok();
    assert_eq!(document(&run)["reset"], false);
    for line in ["sync --json", "sync push --json", "sync devices --json"] {
        let run = tablet.hx(line).run();
        assert_ne!(run.code, Some(0), "{run}");
        assert!(document(&run).get("error").is_some(), "{run}");
    }
}
