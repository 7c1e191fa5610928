//! Runs that could be taken for each other: those of one moment, and one that a copied machine goes on with. And stores whose word does not hold.
//!
//! What must hold: each run has a copy of its journal that is its own; a copy that was set aside is asked like any other; who has a run believed by
//! force against its copy takes no object; what a store says is gone is gone only when it is not listed any more.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use testkit::proxy::http::Message;
use testkit::readur::Snapshot;
use testkit::{Action, Rule, ScriptedProxy};

use crate::world::{BUCKET, Ended, Site};

/// Production, and a staging with the same documents and files that works over production's bucket.
fn two(documents: usize) -> (Site, Site) {
    let production = Site::new(documents);
    let mut staging = Site::new(documents);
    staging.through(production.s3.endpoint());
    (production, staging)
}

fn objects(site: &Site) -> Snapshot {
    let all = Snapshot::bucket(site.s3.root(), BUCKET);
    all.without(|name| name.starts_with(".syncline/"))
}

/// The names of runs of which the bucket keeps a copy.
fn copies(site: &Site) -> Vec<String> {
    let copies = site.s3.root().join(BUCKET).join(".syncline/migrations");
    let names = fs::read_dir(copies).expect("lists").map(|run| {
        let name = run.expect("a run").file_name();
        name.to_string_lossy().into_owned()
    });
    names.collect()
}

/// Runs both at once; both must end well.
fn at_once(one: &Site, other: &Site, arguments: &[&str]) {
    let children = [one, other].map(|site| {
        let mut command = site.command(arguments);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().expect("starts")
    });
    for child in children {
        let output = child.wait_with_output().expect("ends");
        Ended::from(output, arguments).assert_code(0);
    }
}

#[test]
fn two_databases_that_begin_at_once_have_a_copy_each() {
    let (production, staging) = two(5);
    at_once(&production, &staging, &[]);
    assert_eq!(copies(&production).len(), 2, "{:?}", copies(&production));
    for site in [&production, &staging] {
        site.run(&["--verify-state", "--full"]).assert_code(0);
    }
    production
        .delete_source(&production.latest(), &[])
        .assert_code(0);
    // Whichever of them made an object, production names it.
    staging.run(&["--rollback"]);
    assert_eq!(staging.switched(), 0);
    production.run(&["--verify-state", "--full"]).assert_code(0);
}

#[test]
fn two_databases_may_begin_at_once_in_one_state_directory() {
    let (production, staging) = two(3);
    let shared = production.state().display().to_string();
    at_once(&production, &staging, &["--state-dir", &shared]);
    assert_eq!(production.journals().len(), 2);
    for site in [&production, &staging] {
        site.run(&["--rollback", "--state-dir", &shared]);
        assert_eq!(site.switched(), 0);
    }
}

#[test]
fn a_copy_that_was_set_aside_keeps_what_its_run_needs() {
    let (production, staging) = two(5);
    staging.run(&[]).assert_code(0);
    let staged = copies(&production).remove(0);
    production.run(&[]).assert_code(0);
    production
        .delete_source(&production.latest(), &[])
        .assert_code(0);
    // As versions before this one did when two runs had come to one name.
    let copy = copies(&production).into_iter().find(|run| *run != staged);
    let syncline = production.s3.root().join(BUCKET).join(".syncline");
    let lost = syncline
        .join("migrations")
        .join(copy.expect("production's"));
    let aside = syncline.join(format!("migrations-set-aside/{staged}-1"));
    fs::create_dir(syncline.join("migrations-set-aside")).expect("makes");
    fs::rename(lost, &aside).expect("moves");
    let before = objects(&production);
    for _ in 0..2 {
        staging.run(&["--rollback"]).assert_code(3).assert_says(&[
            "object kept",
            "needs it and is not undone",
            &format!("migrations-set-aside/{staged}-1"),
        ]);
    }
    before.assert_same(&objects(&production), "the objects");
    // One that nobody can read is no better known.
    let piece = aside.join("0000000000000000");
    let whole = fs::read(&piece).expect("reads");
    fs::write(&piece, b"no journal\n").expect("writes");
    staging
        .run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["nobody can say"]);
    fs::write(&piece, whole).expect("writes");
    fs::remove_dir_all(&aside).expect("removes");
    staging.run(&["--rollback"]).assert_code(0);
    assert_eq!(objects(&production).names().count(), 0);
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("copies")),
        }
    }
}

#[test]
fn who_forces_a_run_that_another_machine_went_on_with_takes_no_object() {
    let site = Site::new(5);
    site.run(&[]).assert_code(0);
    let (state, uploads) = (site.state(), site.fleet.uploads.clone());
    let kept = site.folder().join("kept");
    copy(&state, &kept.join("state"));
    copy(&uploads, &kept.join("uploads"));
    site.delete_source(&site.latest(), &[]).assert_code(0);
    // From here on this is the copy of the machine: database, files and state directory as they were before production went on.
    for (name, place) in [("state", &state), ("uploads", &uploads)] {
        fs::remove_dir_all(place).expect("removes");
        copy(&kept.join(name), place);
    }
    let (before, tree) = (objects(&site), Snapshot::tree(&uploads));
    let summary = site.journals()[0].with_extension("json");
    let summary = summary.display().to_string();
    site.run(&["--rollback"])
        .assert_code(16)
        .assert_says(&["--force-rollback"]);
    site.run(&["--force-rollback", "--state-file", &summary])
        .assert_code(3)
        .assert_says(&[
            "5 documents stays in",
            "somebody else may be at work",
            "--same-database",
        ]);
    assert_eq!(site.switched(), 0, "the rows come back all the same");
    tree.assert_same(&Snapshot::tree(&uploads), "the files");
    // Nor does it go later, before a person has said so.
    site.run(&["--rollback"]).assert_code(3);
    before.assert_same(&objects(&site), "the objects");
    let copied = copies(&site);
    site.run(&["--rollback", &summary, "--same-database"])
        .assert_code(0);
    assert_eq!(objects(&site).names().count(), 0);
    assert_eq!(copies(&site), copied);
    site.run(&["--rollback"]).assert_code(0);
}

#[test]
fn who_forces_a_run_with_another_bucket_leaves_what_is_in_its_own_and_is_told() {
    let site = Site::new(4);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    site.s3.create_bucket("other");
    let stored = objects(&site);
    let latest = site.latest();
    let forced = ["--force-rollback", "--state-file", &latest];
    for _ in 0..2 {
        let mut command = site.command(&forced);
        command.env("S3_BUCKET_NAME", "other");
        Ended::of(command, &forced).assert_code(3).assert_says(&[
            "4 documents stays in s3://docs",
            "was not looked at",
            "--rollback",
        ]);
        stored.assert_same(&objects(&site), "the objects");
    }
    assert_eq!(site.switched(), 0);
    site.run(&["--rollback"]).assert_code(0);
    let mut after = site.moment();
    after.bucket = objects(&site);
    before.assert_same(&after, "after the rollback");
}

#[test]
fn a_rollback_says_what_it_takes_from_which_bucket() {
    let site = Site::new(3);
    site.run(&[]).assert_code(0);
    site.run(&["--rollback"]).assert_code(0).assert_says(&[
        "of 3 documents are removed from s3://docs",
        "a copy of another one",
    ]);
}

/// Rolls back over a store that says what is not so, and then over one that does not.
fn rolled_back_over(rule: Rule, says: &str) {
    let mut site = Site::new(6);
    let before = site.moment();
    let proxy = ScriptedProxy::in_front_of(site.s3.address());
    site.through(proxy.endpoint());
    site.run(&[]).assert_code(0);
    proxy.add(rule);
    site.run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["object kept", says]);
    assert_eq!(site.switched(), 0);
    proxy.clear();
    site.run(&["--status"])
        .assert_code(0)
        .assert_says(&["partly rolled back"]);
    site.run(&["--rollback"]).assert_code(0);
    let mut after = site.moment();
    after.bucket = objects(&site);
    before.assert_same(&after, "after the rollback");
}

#[test]
fn an_object_that_is_said_not_to_be_there_and_is_listed_is_not_gone() {
    let rule = Rule::new(Action::Respond(Message::answer(404, "application/xml", "")));
    let rule = rule.method("HEAD").target("/documents/").times(3);
    rolled_back_over(rule, "is not there, and lists it");
}

#[test]
fn an_object_that_is_said_to_be_deleted_and_is_listed_is_not_gone() {
    let said = "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Deleted><Key>it</Key></Deleted></DeleteResult>";
    let answer = Message::answer(200, "application/xml", said);
    let rule = Rule::new(Action::Respond(answer));
    rolled_back_over(
        rule.method("POST").target("delete"),
        "deleted the object, and still lists it",
    );
}
