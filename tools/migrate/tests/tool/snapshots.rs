//! A copy of the database's very files, as the snapshot of a volume gives it, over production's bucket; and a state directory that is gone.
//!
//! What must hold: the copy has production's name and numbers, so a journal that came from the bucket, or a run at another address, brings rows and
//! files back, and takes no object away before a person has said that this database is the run's.

use std::fs;

use testkit::Postgres;
use testkit::readur::Snapshot;

use crate::world::{BUCKET, Ended, Site};

/// Production, and a copy of its cluster with files and a state directory of its own.
struct Copied {
    production: Site,
    cluster: Postgres,
    _postgres: Postgres,
}

impl Copied {
    /// Copies production after it has migrated.
    fn after_migration(documents: usize) -> Copied {
        let mut postgres = Postgres::start();
        let production = Site::over(&postgres, documents);
        production.run(&["--enable-rollback"]).assert_code(0);
        let cluster = postgres.snapshot().expect("copies");
        let copied = Copied {
            production,
            cluster,
            _postgres: postgres,
        };
        fs::create_dir(copied.state()).expect("makes");
        fs::create_dir(copied.uploads()).expect("makes");
        copied
    }

    fn state(&self) -> std::path::PathBuf {
        self.production.folder().join("state-of-the-copy")
    }

    fn uploads(&self) -> std::path::PathBuf {
        self.production.folder().join("uploads-of-the-copy")
    }

    /// Runs the program on the copy's machine, which has the same paths.
    fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = self.production.command(arguments);
        let name = self.production.fleet.database.name();
        command
            .env("DATABASE_URL", self.cluster.admin(name).url())
            .env("MIGRATION_STATE_DIR", self.state());
        self.change_machines();
        let ended = Ended::of(command, arguments);
        self.change_machines();
        ended
    }

    /// Puts the files of the other one in the place of those that are there.
    fn change_machines(&self) {
        let (here, there) = (&self.production.fleet.uploads, self.uploads());
        let between = there.with_extension("between");
        for (from, to) in [(here, &between), (&there, here), (&between, &there)] {
            fs::rename(from, to).expect("renames");
        }
    }

    fn switched(&self) -> String {
        let count = "SELECT count(*) FROM documents WHERE file_path LIKE 's3://%'";
        let name = self.production.fleet.database.name();
        self.cluster.admin(name).sql(count).trim().to_owned()
    }
}

fn objects(site: &Site) -> Snapshot {
    let all = Snapshot::bucket(site.s3.root(), BUCKET);
    all.without(|name| name.starts_with(".syncline/"))
}

fn name_of(journal: &std::path::Path) -> String {
    let name = journal.file_name().expect("a name").to_string_lossy();
    name.replace(".journal", ".json")
}

#[test]
fn a_copy_of_the_databases_files_takes_no_object_that_production_needs() {
    let both = Copied::after_migration(5);
    let production = &both.production;
    production
        .delete_source(&production.latest(), &[])
        .assert_code(0);
    let before = objects(production);
    let run = name_of(&production.journals()[0]);
    both.run(&["--rollback"]).assert_code(10).assert_says(&[
        "there is no run",
        "removes no object",
        "--rollback ",
    ]);
    assert_eq!(both.switched(), "5", "nothing is taken up by itself");
    // It has none of the files.
    both.run(&["--rollback", &run])
        .assert_code(4)
        .assert_says(&["--files-gone"]);
    both.run(&["--rollback", &run, "--files-gone"])
        .assert_code(3)
        .assert_says(&["stays in", "another address", "--same-database"]);
    assert_eq!(both.switched(), "0", "rows and files come back");
    assert!(Snapshot::tree(&both.uploads()).len() >= 5);
    objects(production).assert_same(&before, "every object is there");
    both.run(&["--resume-from", &run]).assert_code(15);
    both.run(&[
        "--delete-source",
        "--state-file",
        &run,
        "--older-than",
        "0s",
    ])
    .assert_code(15)
    .assert_says(&["did not begin in this state directory"]);
    // Production goes on as if nothing had been.
    production.run(&["--verify-state", "--full"]).assert_code(0);
    production.run(&["--rollback"]).assert_code(0);
    assert_eq!(objects(production).names().count(), 0);
}

#[test]
fn a_copy_that_has_migrated_itself_is_not_led_to_productions_run() {
    let both = Copied::after_migration(4);
    let production = &both.production;
    let before = objects(production);
    let run = name_of(&production.journals()[0]);
    // What was not in the bucket when the copy was made.
    let name = production.fleet.database.name();
    let id = &production.fleet.documents[0].id;
    let file = format!("{}/documents/new.pdf", both.uploads().display());
    fs::create_dir_all(both.uploads().join("documents")).expect("makes");
    fs::write(&file, b"new").expect("writes");
    let shown = format!("{}/documents/new.pdf", production.fleet.shown);
    both.cluster.admin(name).sql(&format!(
        "UPDATE documents SET file_path = '{shown}', file_size = 3, file_hash = NULL, created_at = '2001-02-03' WHERE id = '{id}'"
    ));
    both.run(&[]).assert_code(0);
    let undone = both.run(&["--rollback"]).assert_code(0);
    assert!(!undone.all().contains(&run), "{}", undone.all());
    let again = both.run(&["--rollback"]);
    assert!(!again.all().contains(&run), "{}", again.all());
    objects(production).assert_same(&before, "every object is there");
    assert_eq!(both.switched(), "3");
}

#[test]
fn a_word_that_the_bucket_contradicts_is_not_taken() {
    let both = Copied::after_migration(4);
    let run = name_of(&both.production.journals()[0]);
    both.run(&["--rollback", &run, "--files-gone"])
        .assert_code(3);
    // Production went on with the run, so it is at work.
    let production = &both.production;
    production
        .delete_source(&production.latest(), &[])
        .assert_code(0);
    both.run(&["--rollback", &run, "--same-database"])
        .assert_code(16);
    assert!(objects(production).names().count() >= 4);
}

#[test]
fn with_the_state_directory_gone_rows_and_files_come_back_and_objects_wait_for_a_word() {
    let site = Site::new(5);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let run = name_of(&site.journals()[0]);
    site.delete_source(&site.latest(), &[]).assert_code(0);
    let stored = objects(&site);
    fs::remove_dir_all(site.state()).expect("removes");
    site.run(&["--rollback"]).assert_code(3).assert_says(&[
        "from the bucket",
        "stays in",
        "did not begin in this state directory",
    ]);
    objects(&site).assert_same(&stored, "every object is there");
    let mut after = site.moment();
    before.tree.assert_same(&after.tree, "the files");
    before.tables.assert_same(&after.tables, "the rows");
    site.run(&["--rollback", "--same-database"])
        .assert_code(2)
        .assert_says(&["needs the name of the run"]);
    site.run(&["--rollback", &run, "--same-database"])
        .assert_code(0)
        .assert_says(&["Noted"]);
    after.bucket = objects(&site);
    before.assert_same(&after, "at the end");
}

#[test]
fn a_database_that_was_restored_from_a_dump_is_named_once_and_undone() {
    let site = Site::new(4);
    let before = site.moment();
    site.run(&["--limit", "2"]).assert_code(0);
    site.run(&[]).assert_code(0);
    let latest = site.latest();
    site.delete_source(&latest, &[]).assert_code(0);
    // The same rows under the same name, with another number.
    let name = site.fleet.database.name();
    let admin = Postgres::shared().admin("postgres");
    admin.sql(&format!("ALTER DATABASE {name} RENAME TO {name}_old"));
    admin.sql(&format!(
        "CREATE DATABASE {name} TEMPLATE {name}_old OWNER readur"
    ));
    let runs: Vec<String> = site
        .journals()
        .iter()
        .map(|journal| journal.with_extension("json").display().to_string())
        .collect();
    for (arguments, next) in [
        (&["--verify-state"][..], "--verify-state --state-file "),
        (&["--rollback"], "--rollback "),
        (
            &crate::world::removal(&latest),
            "--delete-source --state-file ",
        ),
    ] {
        let next = format!("{next}{} --same-database", runs[1]);
        site.run(arguments)
            .assert_code(15)
            .assert_says(&["#N is the number", &next]);
    }
    // Without the word nothing is taken from whom it may belong to, and nothing leads in a circle.
    let forced = site
        .run(&["--force-rollback", "--state-file", &runs[1]])
        .assert_code(3);
    assert!(!forced.out.contains("--force-rollback"), "{}", forced.all());
    let undo = format!("--rollback {} --same-database", runs[1]);
    forced.assert_says(&["stays in", &undo]);
    let owned = |run: &str| {
        let arguments = ["--verify-state", "--state-file", run, "--same-database"];
        site.run(&arguments).assert_says(&["Noted"]);
    };
    owned(&runs[0]);
    site.run(&["--rollback", &runs[1], "--same-database"])
        .assert_code(0)
        .assert_says(&["Noted"]);
    site.run(&["--rollback"]).assert_code(0);
    let mut after = site.moment();
    after.bucket = objects(&site);
    before.assert_same(&after, "at the end");
}

#[test]
fn a_database_that_moved_is_named_once_and_undone() {
    let mut postgres = Postgres::start();
    let site = Site::over(&postgres, 4);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let moved = postgres.snapshot().expect("copies");
    postgres.stop();
    let url = moved.admin(site.fleet.database.name()).url();
    let run = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.env("DATABASE_URL", &url);
        Ended::of(command, arguments)
    };
    let latest = site.latest();
    run(&["--rollback"])
        .assert_code(3)
        .assert_says(&["another address", "--same-database"]);
    run(&["--rollback", &latest, "--same-database"])
        .assert_code(0)
        .assert_says(&["Noted"]);
    assert_eq!(objects(&site).names().count(), 0);
    before
        .tree
        .assert_same(&Snapshot::tree(&site.fleet.uploads), "the files");
}
