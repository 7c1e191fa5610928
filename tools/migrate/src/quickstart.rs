//! `migrate_to_s3 quickstart`: everything once, for real, on a sample store in a scratch directory.
//!
//! What must hold: every step runs this very program with the flags that a person would type; the run that is killed is killed
//! by SIGKILL, in the middle of its work; at the end every byte, time and row is compared with the start.
//!
//! What it deliberately does not do: touch anything outside its scratch directory, or read the settings of the person.

mod fingerprint;
mod sample;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use console::{Exit, Failure, FailureExt, Table, Ui, human};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use crate::cli::args::QuickstartArgs;
use fingerprint::Fingerprint;

/// How long the run that is to be killed may take to get half-way.
const HALFWAY_LIMIT: Duration = Duration::from_secs(120);

/// What the killed run may send a second, so that it is surely still at work half-way.
const SLOWED: &str = "12MB";

#[derive(Serialize)]
struct StepReport {
    step: &'static str,
    detail: String,
    took_ms: f64,
}

/// Runs `migrate_to_s3 quickstart`.
///
/// # Errors
/// Of the step that failed.
pub fn run(args: &QuickstartArgs, ui: &Ui) -> Result<Exit, Failure> {
    let scratch = tempfile::Builder::new()
        .prefix("migrate-quickstart-")
        .tempdir()
        .or_fail(Exit::Failed, "a scratch directory could not be made")?;
    let path = scratch.path().to_owned();
    let _gone_at_the_end = match args.keep {
        true => {
            ui.status(format!("The scratch directory is kept: {}", path.display()));
            let _ = scratch.keep();
            None
        }
        false => Some(scratch),
    };
    let mut tour = Tour::new(ui, &path)?;
    let outcome = tour.walk(args.documents);
    if ui.is_json() {
        ui.json(&tour.steps);
    }
    outcome?;
    tour.say_goodbye();
    Ok(Exit::Ok)
}

struct Tour<'t> {
    ui: &'t Ui,
    program: PathBuf,
    scratch: &'t Path,
    steps: Vec<StepReport>,
}

/// The sample store at one moment.
struct Moment {
    files: Fingerprint,
    rows: Fingerprint,
}

impl<'t> Tour<'t> {
    fn new(ui: &'t Ui, scratch: &'t Path) -> Result<Self, Failure> {
        let program =
            std::env::current_exe().or_fail(Exit::Failed, "the program could not find itself")?;
        Ok(Self {
            ui,
            program,
            scratch,
            steps: vec![],
        })
    }

    fn walk(&mut self, documents: u32) -> Result<(), Failure> {
        let before = self.make_sample(documents)?;
        self.dry_run()?;
        self.migrate_and_kill(documents)?;
        self.resume()?;
        let objects = self.objects()?;
        self.verify()?;
        self.delete_sources(&before)?;
        self.roll_back()?;
        self.compare(&before, &objects)
    }

    fn make_sample(&mut self, documents: u32) -> Result<Moment, Failure> {
        let begun = Instant::now();
        let sample = sample::make(self.scratch, documents)?;
        let bucket = self.scratch.join("bucket");
        std::fs::create_dir(&bucket).map_err(|error| Failure::io("make", &bucket, &error))?;
        let detail = format!(
            "{}, {} of {}, tables in SQLite",
            human::count(documents.into(), "document"),
            human::count(sample.files, "file"),
            human::bytes(sample.bytes)
        );
        self.step("sample", detail, begun);
        self.moment()
    }

    fn dry_run(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let output = self.finish(&["--dry-run", "--json"])?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)
            .or_fail(Exit::Failed, "the dry run gave no JSON")?;
        let number = |name: &str| report[name].as_u64().unwrap_or(0);
        let detail = format!(
            "{}, {}, {}; nothing touched",
            human::count(number("documents"), "document"),
            human::count(number("objects"), "object"),
            human::bytes(number("bytes"))
        );
        self.step("dry run", detail, begun);
        Ok(())
    }

    fn migrate_and_kill(&mut self, documents: u32) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut child = self.spawn(&["--batch-size", "20", "--bandwidth", SLOWED])?;
        let switched = self.wait_until_halfway(&mut child, u64::from(documents) / 2);
        // Child::kill is SIGKILL: the process gets no chance to tidy up.
        let killed = child.kill().and_then(|()| child.wait());
        let switched = switched?;
        killed.or_fail(Exit::Failed, "the run could not be killed")?;
        let detail = format!(
            "killed (SIGKILL) when {} rows were switched",
            human::number(switched)
        );
        self.step("migrate", detail, begun);
        Ok(())
    }

    /// Looks at the database, as any other program could.
    fn wait_until_halfway(&self, child: &mut Child, half: u64) -> Result<u64, Failure> {
        let begun = Instant::now();
        loop {
            let switched = self.switched().unwrap_or(0);
            if switched >= half {
                return Ok(switched);
            }
            let ended = child
                .try_wait()
                .or_fail(Exit::Failed, "the run was lost sight of")?;
            if ended.is_some() || begun.elapsed() > HALFWAY_LIMIT {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("the run ended after {switched} rows, before it could be killed half-way"),
                )
                .hint("run `migrate_to_s3 quickstart --keep` and look at the log in the scratch directory"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn resume(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        self.finish(&["--resume"])?;
        let detail = format!(
            "{} rows are in the store now",
            human::number(self.switched()?)
        );
        self.step("resume", detail, begun);
        Ok(())
    }

    fn objects(&self) -> Result<Fingerprint, Failure> {
        Fingerprint::of_tree(&self.scratch.join("bucket"))
    }

    fn verify(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        self.finish(&["--verify-state", "--full"])?;
        self.step("verify", "every object read back and hashed".into(), begun);
        Ok(())
    }

    fn delete_sources(&mut self, before: &Moment) -> Result<(), Failure> {
        let begun = Instant::now();
        let latest = self.scratch.join("state/migration_state_LATEST.json");
        let latest = latest.display().to_string();
        self.finish(&[
            "--delete-source",
            "--state-file",
            &latest,
            "--older-than",
            "0s",
        ])?;
        let left = self.moment()?.files.len();
        let removed = before.files.len() - left;
        let detail = format!(
            "{} local files removed, {left} left",
            human::number(removed as u64)
        );
        self.step("delete source", detail, begun);
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        self.finish(&["--rollback"])?;
        let detail = "rows restored, files downloaded and checked first".into();
        self.step("roll back", detail, begun);
        Ok(())
    }

    fn compare(&mut self, before: &Moment, objects: &Fingerprint) -> Result<(), Failure> {
        let begun = Instant::now();
        let after = self.moment()?;
        let differing = before
            .files
            .difference(&after.files)
            .or_else(|| before.rows.difference(&after.rows))
            .or_else(|| self.objects().ok()?.difference(&Fingerprint::default()));
        if let Some(name) = differing {
            return Err(Failure::new(
                Exit::Failed,
                format!("{name} is not as it was before the migration"),
            )
            .hint("This is a bug. Please report it with the output of `migrate_to_s3 quickstart --json`."));
        }
        let detail = format!(
            "{} and {} are as before, byte for byte; of {} none is left",
            human::count(after.files.len() as u64, "file"),
            human::count(after.rows.len() as u64, "row"),
            human::count(objects.len() as u64, "object"),
        );
        self.step("compare", detail, begun);
        Ok(())
    }

    fn moment(&self) -> Result<Moment, Failure> {
        Ok(Moment {
            files: Fingerprint::of_tree(&self.scratch.join("uploads"))?,
            rows: Fingerprint::of_tables(&self.scratch.join("readur.db"))?,
        })
    }

    fn switched(&self) -> Result<u64, Failure> {
        let path = self.scratch.join("readur.db");
        let doing = "the sample database could not be read";
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let sql = Connection::open_with_flags(path, flags).or_fail(Exit::Failed, doing)?;
        sql.query_row(
            "SELECT count(*) FROM documents WHERE file_path LIKE 's3://%'",
            [],
            |row| row.get::<_, i64>(0),
        )
        .map(i64::unsigned_abs)
        .or_fail(Exit::Failed, doing)
    }

    /// This program, with the sample's settings and nobody else's.
    fn command(&self, arguments: &[&str]) -> Command {
        let path = |name: &str| self.scratch.join(name).display().to_string();
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("DATABASE_URL", format!("sqlite:{}", path("readur.db")))
            .env("UPLOAD_PATH", path("uploads"))
            .env("MIGRATION_STATE_DIR", path("state"))
            .current_dir(self.scratch)
            .stdin(Stdio::null())
            .args(["--store", &format!("folder:{}", path("bucket"))])
            .args(arguments);
        command
    }

    fn spawn(&self, arguments: &[&str]) -> Result<Child, Failure> {
        let path = self.scratch.join("migrate.log");
        let log =
            std::fs::File::create(&path).map_err(|error| Failure::io("write", &path, &error))?;
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(log);
        command
            .spawn()
            .or_fail(Exit::Failed, "the program could not start itself")
    }

    fn finish(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let output = self
            .command(arguments)
            .output()
            .or_fail(Exit::Failed, "the program could not start itself")?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let line = format!(
            "migrate_to_s3 {} failed ({})",
            arguments.join(" "),
            output.status
        );
        Err(Failure::new(Exit::Failed, line).cause(said.trim()))
    }

    fn step(&mut self, step: &'static str, detail: String, begun: Instant) {
        let took = begun.elapsed();
        if !self.ui.is_json() {
            let mut table = Table::plain();
            table.row([
                format!("{step:<14}"),
                format!("{:>9}", human::duration(took)),
                detail.clone(),
            ]);
            self.ui.out(table.render().trim_end());
        }
        self.steps.push(StepReport {
            step,
            detail,
            took_ms: took.as_secs_f64() * 1000.0,
        });
    }

    fn say_goodbye(&self) {
        if self.ui.is_json() {
            return;
        }
        self.ui.out(
            "\nAll of it worked. What to type next, with the application's own variables or .env:",
        );
        self.ui
            .out("  migrate_to_s3 --test-storage               try the bucket");
        self.ui
            .out("  migrate_to_s3 --dry-run                    see what a migration would do");
        self.ui
            .out("  migrate_to_s3 --enable-rollback            migrate");
        self.ui
            .out("  migrate_to_s3 --rollback                   and back");
    }
}
