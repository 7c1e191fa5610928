//! `migrate_to_s3` against `s5cmd cp`: a whole Readur to a bucket, with proof and database, against the bare copy of the same files.
//!
//! What must hold: both move the same files to the same server on loopback; rounds are interleaved and the order of programs
//! rotates; every migration is checked in the database, and rolled back before the next.
//! What it deliberately does not do: measure Readur's own tool, which cannot be built from names alone; its 61 s against s5cmd's 22 s on one
//! machine are the base for the bar of a third.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use testkit::readur::{Fleet, FleetOptions, Sizes, Snapshot, already_moved, install};
use testkit::{
    Database, MemoryS3, Postgres, PostgresOptions, S3Options, S3Process, ScriptedProxy, s3,
};

use crate::flags::Flags;
use crate::run::{
    Measured, in_memory_folder, mb, measure, processor_time_of, require, secs, traffic,
};
use crate::table::Table;

const WORKERS: [&str; 3] = ["16", "32", "64"];
const BUCKET: &str = "bench-bucket";
const PEAK_BYTES_MAX: u64 = 128_000_000;
/// What Readur's own tool needed for the fleet, in units of s5cmd's time.
const READURS_OWN_RATIO: f64 = 61.0 / 22.0;

/// What is measured, and how much of it.
struct Plan {
    s5cmd: PathBuf,
    documents: usize,
    rounds: usize,
    rows: usize,
    large_bytes: u64,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Plan, String> {
        let known = [
            "--documents",
            "--rounds",
            "--rows",
            "--large-gib",
            "--s5cmd",
        ];
        let flags = Flags::parse(arguments, &known)?;
        Ok(Plan {
            s5cmd: flags.path("--s5cmd", "s5cmd"),
            documents: flags.number("--documents", 10_000, 0)?,
            rounds: flags.number("--rounds", 3, 1)?,
            rows: flags.number("--rows", 100_000, 0)?,
            large_bytes: (flags.number("--large-gib", 2, 0)? as u64) << 30,
        })
    }
}

/// Prints the measurements; returns how many bars were missed.
///
/// # Errors
/// If a program is missing or fails.
pub fn bench(arguments: &[String]) -> Result<u32, String> {
    let plan = Plan::parse(arguments)?;
    let mut bench = Bench::prepare(plan)?;
    bench.table.head("migrate_to_s3", "s5cmd cp");
    bench.fleet()?;
    bench.nothing_to_do()?;
    bench.large_file()?;
    Ok(bench.table.missed())
}

struct Bench {
    plan: Plan,
    program: PathBuf,
    scratch: TempDir,
    postgres: Postgres,
    server: S3Process,
    _objects: TempDir,
    table: Table,
}

/// One run: from start to end, of the processors, and what it cost the S3 server of them.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Run {
    took: Duration,
    cpu: Duration,
    server: Duration,
}

/// What the rounds gave.
#[derive(Default)]
struct Times {
    theirs: BTreeMap<&'static str, Vec<Run>>,
    ours: Vec<Run>,
    back: Vec<Run>,
    peak: u64,
}

impl Bench {
    fn prepare(plan: Plan) -> Result<Bench, String> {
        let here = std::env::current_exe().map_err(|error| error.to_string())?;
        let program = here.with_file_name("migrate_to_s3");
        if !program.exists() {
            return Err(format!(
                "{} is missing: cargo build --release -p migrate",
                program.display()
            ));
        }
        let scratch = tempfile::Builder::new().prefix("syncline-bench-").tempdir();
        let scratch = scratch.map_err(|error| error.to_string())?;
        let options = PostgresOptions {
            fsync: true,
            settings: vec![
                (
                    "shared_preload_libraries".into(),
                    "pg_stat_statements".into(),
                ),
                ("pg_stat_statements.track_utility".into(), "on".into()),
            ],
        };
        let objects = in_memory_folder().map_err(|error| error.to_string())?;
        let server = S3Options {
            root: Some(objects.path().to_owned()),
            buckets: vec![BUCKET.into()],
            ..S3Options::default()
        };
        Ok(Bench {
            plan,
            program,
            scratch,
            postgres: Postgres::with(options).map_err(|error| error.to_string())?,
            server: S3Process::with(server).map_err(|error| error.to_string())?,
            _objects: objects,
            table: Table::default(),
        })
    }

    /// The whole fleet, round by round.
    fn fleet(&mut self) -> Result<(), String> {
        let database = self.postgres.named_database("fleet");
        install(&database);
        let folder = self.scratch.path().join("fleet");
        let options = FleetOptions {
            documents: self.plan.documents,
            users: 5,
            sizes: Sizes::Realistic,
            ..FleetOptions::default()
        };
        let fleet = Fleet::build(&database, &folder, &options);
        println!(
            "{} documents, {} files, {}\n",
            fleet.documents.len(),
            fleet.files().len(),
            mb(size_of(&fleet))
        );
        let admin = self.postgres.admin("fleet");
        admin.sql("CREATE EXTENSION pg_stat_statements");
        // As a database that has been in use for a while: statistics are known, visibility maps are there.
        database.sql("ANALYZE");
        admin.sql("SELECT pg_stat_reset(); SELECT pg_stat_statements_reset();");
        let start = Snapshot::tables(&database);
        let mut times = Times::default();
        for round in 0..self.plan.rounds {
            self.round(round, &fleet, &mut times)?;
            let after = Snapshot::tables(&database);
            if !start.differences(&after).is_empty() {
                return Err("after the rollback the tables are not as they were".into());
            }
        }
        self.judge_fleet(&times);
        self.judge_database(&admin)
    }

    /// Each program once; who begins changes from round to round.
    fn round(&self, round: usize, fleet: &Fleet, times: &mut Times) -> Result<(), String> {
        for turn in 0..=WORKERS.len() {
            let number = (round + turn) % (WORKERS.len() + 1);
            match WORKERS.get(number) {
                Some(workers) => {
                    let took = self.copy_with_s5cmd(workers, &fleet.uploads)?;
                    times.theirs.entry(workers).or_default().push(took);
                    self.empty_bucket()?;
                }
                None => self.there_and_back(fleet, times)?,
            }
        }
        Ok(())
    }

    fn copy_with_s5cmd(&self, workers: &str, uploads: &Path) -> Result<Run, String> {
        let mut env = s3::aws_env(&self.server.endpoint(), s3::ACCESS_KEY, s3::SECRET_KEY);
        env.push(("PATH".into(), "/usr/bin:/bin".into()));
        env.push(("S3_ENDPOINT_URL".into(), self.server.endpoint()));
        let from = format!("{}/", uploads.display());
        let to = format!("s3://{BUCKET}/");
        let arguments = ["--log", "error", "--numworkers", workers, "cp", &from, &to];
        let (run, _) = self.watched(|| {
            let measured = measure(&self.plan.s5cmd, &arguments, &env)?;
            require(&measured, "s5cmd")?;
            Ok(measured)
        })?;
        eprintln!("  s5cmd, {workers} workers: {}", describe(&run));
        Ok(run)
    }

    fn there_and_back(&self, fleet: &Fleet, times: &mut Times) -> Result<(), String> {
        let state = self.scratch.path().join("state");
        std::fs::create_dir_all(&state).map_err(|error| error.to_string())?;
        let env = self.env(&fleet.database, &fleet.uploads, &self.server.endpoint());
        let (there, peak) = self.watched(|| self.migrate(&["--fresh-start"], &env))?;
        eprintln!("    {}", describe(&there));
        let left = fleet
            .database
            .sql("SELECT count(*) FROM documents WHERE file_path NOT LIKE 's3://%'");
        if left.trim() != "0" {
            return Err(format!("{} documents were not migrated", left.trim()));
        }
        let (back, peak_back) = self.watched(|| self.migrate(&["--rollback", "--yes"], &env))?;
        times.peak = times.peak.max(peak).max(peak_back);
        times.ours.push(there);
        times.back.push(back);
        self.empty_bucket()
    }

    /// Runs a program and takes down what it cost the server; also returns its peak of memory.
    fn watched(
        &self,
        program: impl FnOnce() -> Result<Measured, String>,
    ) -> Result<(Run, u64), String> {
        let before = processor_time_of(self.server.id());
        let measured = program()?;
        let run = Run {
            took: measured.took,
            cpu: measured.cpu,
            server: processor_time_of(self.server.id()).saturating_sub(before),
        };
        Ok((run, measured.peak_bytes))
    }

    fn migrate(&self, arguments: &[&str], env: &[(String, String)]) -> Result<Measured, String> {
        let mut all = vec!["--no-input", "--json"];
        all.extend(arguments);
        let measured = measure(&self.program, &all, env)?;
        require(&measured, &format!("migrate_to_s3 {}", arguments.join(" ")))?;
        eprintln!(
            "  migrate_to_s3 {}: {}",
            arguments.join(" "),
            secs(measured.took)
        );
        Ok(measured)
    }

    fn env(&self, database: &Database, uploads: &Path, endpoint: &str) -> Vec<(String, String)> {
        let state = self.scratch.path().join("state");
        let pairs = [
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("HOME", self.scratch.path().display().to_string()),
            ("DATABASE_URL", database.url()),
            ("UPLOAD_PATH", uploads.display().to_string()),
            ("MIGRATION_STATE_DIR", state.display().to_string()),
            ("S3_ENABLED", "true".into()),
            ("S3_BUCKET_NAME", BUCKET.into()),
            ("S3_ACCESS_KEY_ID", s3::ACCESS_KEY.into()),
            ("S3_SECRET_ACCESS_KEY", s3::SECRET_KEY.into()),
            ("S3_REGION", s3::REGION.into()),
            ("S3_ENDPOINT_URL", endpoint.to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Removes every object, and what the server keeps beside it.
    fn empty_bucket(&self) -> Result<(), String> {
        let root = self.server.root();
        let clear = || -> std::io::Result<()> {
            for entry in std::fs::read_dir(root)? {
                let path = entry?.path();
                if path.is_dir() {
                    std::fs::remove_dir_all(path)?;
                } else {
                    std::fs::remove_file(path)?;
                }
            }
            std::fs::create_dir(root.join(BUCKET))
        };
        clear().map_err(|error| format!("{}: {error}", root.display()))
    }

    /// The fastest round of each counts: whatever else the machine does only ever adds time.
    fn judge_fleet(&mut self, times: &Times) {
        for (workers, runs) in &times.theirs {
            println!("  s5cmd with {workers} workers: {}", list(runs));
        }
        println!("  migrate_to_s3: {}", list(&times.ours));
        println!("  its rollback: {}\n", list(&times.back));
        let theirs = times
            .theirs
            .iter()
            .map(|(workers, runs)| (fastest(runs), workers));
        let Some((theirs, workers)) = theirs.min() else {
            return;
        };
        let (ours, back) = (fastest(&times.ours), fastest(&times.back));
        let ratio = theirs.took.as_secs_f64() / ours.took.as_secs_f64();
        self.table.row(
            &format!("full migration with proof and database (s5cmd: {workers})"),
            secs(ours.took),
            &secs(theirs.took),
            format!("{ratio:.2}x"),
            ratio >= 1.0,
            "not slower",
        );
        self.table.row(
            "the same, processor time",
            secs(ours.cpu),
            &secs(theirs.cpu),
            format!("{:.2}x", theirs.cpu.as_secs_f64() / ours.cpu.as_secs_f64()),
            true,
            "",
        );
        self.table.row(
            "the server's processor time for it",
            secs(ours.server),
            &secs(theirs.server),
            format!(
                "{:.2}x",
                theirs.server.as_secs_f64() / ours.server.as_secs_f64()
            ),
            true,
            "",
        );
        self.table.note(
            "the same, in units of the time of Readur's own tool",
            format!("{:.1}x", ratio * READURS_OWN_RATIO),
            ratio * READURS_OWN_RATIO >= 3.0,
            ">= 3x faster",
        );
        let holds = times.peak < PEAK_BYTES_MAX;
        self.table.note(
            "peak memory, there and back",
            mb(times.peak),
            holds,
            "< 128 MB",
        );
        let holds = back.took <= ours.took;
        self.table.note(
            "rollback of all",
            secs(back.took),
            holds,
            "not slower than there",
        );
    }

    /// What the server says that the changes of rows cost it.
    fn judge_database(&mut self, admin: &Database) -> Result<(), String> {
        let shares = admin.sql(
            "SELECT coalesce(100.0 * sum(n_tup_hot_upd) / nullif(sum(n_tup_upd), 0), 0) FROM pg_stat_user_tables",
        );
        let rate = admin.sql(
            "SELECT coalesce(sum(rows) / nullif(sum(total_exec_time) / 1000, 0), 0) FROM pg_stat_statements \
             WHERE query ~* '\\mupdate\\M.*\\mset\\M' OR query ~* '^commit'",
        );
        let number = |text: &str| {
            text.trim()
                .parse::<f64>()
                .map_err(|_| format!("`{text}` is no number"))
        };
        let (hot, rate) = (number(&shares)?, number(&rate)?);
        let shown = format!("{hot:.0} %");
        self.table
            .note("heap-only updates of rows", shown, hot > 50.0, "> 50 %");
        let shown = format!("{rate:.0}");
        self.table.note(
            "rows switched a second of the database's time",
            shown,
            rate >= 2000.0,
            ">= 2000",
        );
        Ok(())
    }

    /// Everything is in the bucket already.
    fn nothing_to_do(&mut self) -> Result<(), String> {
        let database = self.postgres.named_database("moved");
        install(&database);
        // The real server would spend minutes on listing so many.
        let server = MemoryS3::start();
        already_moved(&database, self.plan.rows, 1, |key, bytes| {
            server.insert(key, bytes);
        });
        database.sql("ANALYZE");
        let uploads = self.scratch.path().join("nothing");
        std::fs::create_dir_all(uploads.join("documents")).map_err(|error| error.to_string())?;
        let proxy = ScriptedProxy::in_front_of(server.address());
        let endpoint = format!("http://{}", proxy.address());
        let mut env = self.env(&database, &uploads, &endpoint);
        env.push(("S3_BUCKET_NAME".into(), "bucket".into()));
        let measured = self.migrate(&["--fresh-start"], &env)?;
        let (requests, _, _) = traffic(&proxy);
        let what = |what: &str| format!("nothing to do, {} rows, {what}", self.plan.rows);
        let (time, asked) = (what("time"), what("requests"));
        let most = self.plan.rows / 1000 + 20;
        self.table.note(
            &time,
            secs(measured.took),
            measured.took.as_secs() < 10,
            "< 10 s",
        );
        let bar = format!("<= {most}");
        self.table
            .note(&asked, requests.to_string(), requests <= most, &bar);
        Ok(())
    }

    /// Memory must not grow with a file; the file is sparse, so that only the server's disk has to hold it.
    fn large_file(&mut self) -> Result<(), String> {
        self.empty_bucket()?;
        let database = self.postgres.named_database("large");
        install(&database);
        let folder = self.scratch.path().join("large");
        let options = FleetOptions {
            documents: 1,
            ..FleetOptions::default()
        };
        let fleet = Fleet::build(&database, &folder, &options);
        let file = &fleet.documents[0].file;
        let grow = || {
            std::fs::OpenOptions::new()
                .write(true)
                .open(file)?
                .set_len(self.plan.large_bytes)
        };
        grow().map_err(|error| format!("{}: {error}", file.display()))?;
        database.sql(&format!(
            "UPDATE documents SET file_hash = NULL, file_size = {}",
            self.plan.large_bytes
        ));
        let env = self.env(&database, &fleet.uploads, &self.server.endpoint());
        let measured = self.migrate(&["--fresh-start"], &env)?;
        let what = format!("a file of {} GiB, peak memory", self.plan.large_bytes >> 30);
        let holds = measured.peak_bytes < PEAK_BYTES_MAX;
        self.table
            .note(&what, mb(measured.peak_bytes), holds, "< 128 MB");
        self.table
            .note("the same, time", secs(measured.took), true, "");
        self.empty_bucket()
    }
}

fn size_of(fleet: &Fleet) -> u64 {
    let files = fleet.files();
    let sizes = files.iter().filter_map(|file| file.metadata().ok());
    sizes.map(|metadata| metadata.len()).sum()
}

fn fastest(runs: &[Run]) -> Run {
    let none = Run {
        took: Duration::MAX,
        cpu: Duration::MAX,
        server: Duration::MAX,
    };
    runs.iter().min().copied().unwrap_or(none)
}

fn describe(run: &Run) -> String {
    format!(
        "{}, its processor time {}, the server's {}",
        secs(run.took),
        secs(run.cpu),
        secs(run.server)
    )
}

fn list(runs: &[Run]) -> String {
    let shown = runs.iter().map(|run| secs(run.took));
    shown.collect::<Vec<_>>().join(", ")
}
