//! `bench bottles-cold`: 2,000 bottles, 4 GB, into an empty bucket, against `rclone copy` and `s5cmd`, which pull and push the same bytes.
//!
//! What must hold: all get the same bottles from the same upstream and put them on the same server; rounds are interleaved and who begins
//! changes; the bottles lie nowhere before, and in memory behind the server. Only peers whose bytes the server compares are judged: of what
//! rclone reads over HTTP and sends in one request it knows no hash, and whatever it is told sends no checksum and an unsigned body; sent in
//! parts, or by way of a folder, it says the MD5, as s5cmd does with its signed bodies. The straight way is shown and not judged.
//! What it deliberately does not do: let the peers prove what they pull, which they cannot: `homebrew-sync` does, and reads signed API files,
//! reads and stores manifests and publishes a generation besides.

use crate::flags::Flags;
use crate::run::{Measured, in_memory_folder, mb, measure, processor_time_of, require, secs};
use crate::table::Table;
use crate::upstream::Upstream;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use testkit::{S3Options, S3Process, s3};

const BUCKET: &str = "bench-bucket";
const BOTTLES_PER_GIB: usize = 500;
const AT_ONCE: [&str; 2] = ["8", "32"];
const PEAK_BYTES_MAX: u64 = 200_000_000;
const OWN_FILES_MAX: u64 = 16 << 20;

struct Plan {
    s5cmd: PathBuf,
    rclone: PathBuf,
    gib: usize,
    largest: usize,
    rounds: usize,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Plan, String> {
        let known = ["--gib", "--largest-mb", "--rounds", "--rclone", "--s5cmd"];
        let flags = Flags::parse(arguments, &known)?;
        let largest = flags.number("--largest-mb", usize::MAX, 1)?;
        Ok(Plan {
            s5cmd: flags.path("--s5cmd", "s5cmd"),
            rclone: flags.path("--rclone", "rclone"),
            gib: flags.number("--gib", 4, 1)?,
            largest: largest.saturating_mul(1_000_000),
            rounds: flags.number("--rounds", 2, 1)?,
        })
    }
}

/// Prints the measurements; returns how many bars were missed.
///
/// # Errors
/// If a program is missing or fails.
pub fn bench(arguments: &[String]) -> Result<u32, String> {
    let plan = Plan::parse(arguments)?;
    let say = |error: std::io::Error| error.to_string();
    let upstream = Upstream::start(plan.gib * BOTTLES_PER_GIB, plan.largest).map_err(say)?;
    println!(
        "{} bottles, {}\n",
        upstream.bottles.len(),
        mb(upstream.bytes())
    );
    let objects = in_memory_folder().map_err(say)?;
    let options = S3Options {
        root: Some(objects.path().to_owned()),
        buckets: vec![BUCKET.into()],
        ..S3Options::default()
    };
    let bench = Bench {
        upstream,
        server: S3Process::with(options).map_err(say)?,
        _objects: objects,
        scratch: tempfile::tempdir().map_err(say)?,
        plan,
    };
    let mut runs: Vec<(Program, Run)> = Vec::new();
    let mut programs = vec![Program::Ours];
    programs.extend(AT_ONCE.map(|n| Program::Rclone(Way::InParts, n)));
    programs.extend(AT_ONCE.map(|n| Program::Rclone(Way::ByFolder, n)));
    programs.extend(AT_ONCE.map(Program::S5cmd));
    programs.push(Program::Rclone(Way::Straight, AT_ONCE[0]));
    for round in 0..bench.plan.rounds {
        for turn in 0..programs.len() {
            let program = programs[(round + turn) % programs.len()];
            let run = bench.run(program)?;
            eprintln!(
                "  {}: {}, its processor time {}, the server's {}, peak {}",
                program.name(),
                secs(run.took),
                secs(run.cpu),
                secs(run.server),
                mb(run.peak)
            );
            runs.push((program, run));
        }
    }
    Ok(judge(&runs, bench.upstream.bytes()))
}

/// How rclone goes about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Straight from the upstream to the server, in one request: with no checksum.
    Straight,
    /// The same, everything in parts.
    InParts,
    /// By way of a folder in memory.
    ByFolder,
}

#[derive(Clone, Copy)]
enum Program {
    Ours,
    Rclone(Way, &'static str),
    S5cmd(&'static str),
}

impl Program {
    fn name(self) -> String {
        match self {
            Program::Ours => "homebrew-sync".to_owned(),
            Program::Rclone(Way::Straight, n) => format!("rclone, {n} transfers, unchecked"),
            Program::Rclone(Way::InParts, n) => format!("rclone, {n} transfers, in parts"),
            Program::Rclone(Way::ByFolder, n) => format!("rclone, {n} transfers, by a folder"),
            Program::S5cmd(workers) => format!("s5cmd, {workers} workers"),
        }
    }
}

#[derive(Clone, Copy)]
struct Run {
    took: Duration,
    cpu: Duration,
    server: Duration,
    peak: u64,
    /// The most that its own files took at a time; the peers' are not looked at.
    own_files: u64,
}

impl Run {
    /// This one, and another after it.
    fn and_then(self, second: Run) -> Run {
        Run {
            took: self.took + second.took,
            cpu: self.cpu + second.cpu,
            peak: self.peak.max(second.peak),
            ..self
        }
    }
}

struct Bench {
    plan: Plan,
    upstream: Upstream,
    server: S3Process,
    _objects: TempDir,
    scratch: TempDir,
}

impl Bench {
    fn run(&self, program: Program) -> Result<Run, String> {
        let before = processor_time_of(self.server.id());
        let mut run = match program {
            Program::Ours => self.ours(),
            Program::Rclone(way, transfers) => self.rclone(way, transfers),
            Program::S5cmd(workers) => self.s5cmd(workers),
        }?;
        run.server = processor_time_of(self.server.id()).saturating_sub(before);
        let stored = size_below(self.server.root());
        if stored < self.upstream.bytes() {
            return Err(format!("{} has stored {} only", program.name(), mb(stored)));
        }
        self.empty_bucket()?;
        Ok(run)
    }

    fn ours(&self) -> Result<Run, String> {
        let own = self.scratch.path().join("own");
        std::fs::create_dir_all(&own).map_err(|error| error.to_string())?;
        let key = self.scratch.path().join("key.pem");
        std::fs::write(&key, bottles::sample::PUBLIC_KEY).map_err(|error| error.to_string())?;
        let (root, url) = (self.upstream.root(), self.server.store_url(BUCKET, ""));
        let (api, key) = (format!("{root}/api"), key.display().to_string());
        let env = [("HOME", &own), ("TMPDIR", &own)];
        let env = env.map(|(name, path)| (name.to_owned(), path.display().to_string()));
        let arguments = [
            "sync",
            "--json",
            "--all",
            "--store",
            &url,
            "--api",
            &api,
            "--registry",
            &root,
            "--api-key",
            &key,
        ];
        let program = testkit::built_binary("bottles", "homebrew-sync");
        let watch = Watch::begin(&own);
        let measured = measure(&program, &arguments, &env)?;
        let own_files = watch.end();
        require(&measured, "homebrew-sync sync")?;
        let report: Value =
            serde_json::from_str(&measured.stdout).map_err(|error| format!("no JSON: {error}"))?;
        let expected = self.upstream.bottles.len() as u64;
        if report["fetched"].as_u64() != Some(expected) || report["published"].is_null() {
            return Err(format!("not everything was mirrored: {}", measured.stdout));
        }
        std::fs::remove_dir_all(&own).map_err(|error| error.to_string())?;
        Ok(run_of(&measured, own_files))
    }

    fn rclone(&self, way: Way, transfers: &str) -> Result<Run, String> {
        let to = format!("TO:{BUCKET}");
        if way != Way::ByFolder {
            return self.rclone_copy("FROM:", &to, way, transfers);
        }
        let between = in_memory_folder().map_err(|error| error.to_string())?;
        let folder = between.path().display().to_string();
        let pulled = self.rclone_copy("FROM:", &folder, way, transfers)?;
        let pushed = self.rclone_copy(&folder, &to, way, transfers)?;
        Ok(pulled.and_then(pushed))
    }

    fn rclone_copy(&self, from: &str, to: &str, way: Way, transfers: &str) -> Result<Run, String> {
        let list = self.scratch.path().join("list");
        let keys = self.upstream.bottles.iter();
        let keys: String = keys.map(|bottle| format!("{}\n", bottle.key)).collect();
        std::fs::write(&list, keys).map_err(|error| error.to_string())?;
        let env = self.rclone_env();
        let list = list.display().to_string();
        let mut arguments = vec![
            "copy",
            "--config",
            "",
            "--files-from-raw",
            &list,
            "--no-traverse",
            "--transfers",
            transfers,
            "--checkers",
            transfers,
        ];
        if way == Way::InParts {
            arguments.extend(["--s3-upload-cutoff", "0"]);
        }
        arguments.extend([from, to]);
        let measured = measure(&self.plan.rclone, &arguments, &env)?;
        require(&measured, "rclone")?;
        Ok(run_of(&measured, 0))
    }

    fn rclone_env(&self) -> Vec<(String, String)> {
        let pairs = [
            ("HOME", self.scratch.path().display().to_string()),
            ("RCLONE_CONFIG_TO_TYPE", "s3".to_owned()),
            ("RCLONE_CONFIG_TO_PROVIDER", "Other".to_owned()),
            ("RCLONE_CONFIG_TO_ENDPOINT", self.server.endpoint()),
            ("RCLONE_CONFIG_TO_ACCESS_KEY_ID", s3::ACCESS_KEY.to_owned()),
            (
                "RCLONE_CONFIG_TO_SECRET_ACCESS_KEY",
                s3::SECRET_KEY.to_owned(),
            ),
            ("RCLONE_CONFIG_TO_REGION", s3::REGION.to_owned()),
            ("RCLONE_CONFIG_TO_FORCE_PATH_STYLE", "true".to_owned()),
            ("RCLONE_CONFIG_TO_NO_CHECK_BUCKET", "true".to_owned()),
            ("RCLONE_CONFIG_FROM_TYPE", "http".to_owned()),
            (
                "RCLONE_CONFIG_FROM_URL",
                format!("{}/", self.upstream.root()),
            ),
        ];
        let env = pairs.map(|(name, value)| (name.to_owned(), value));
        env.into()
    }

    /// It reads buckets only, so the upstream is one to it, whose first folder is the bucket; and it goes by way of a folder, in memory.
    fn s5cmd(&self, workers: &str) -> Result<Run, String> {
        let between = in_memory_folder().map_err(|error| error.to_string())?;
        let lines = self.upstream.bottles.iter().enumerate();
        let lines = lines.map(|(number, bottle)| {
            let to = between.path().join(number.to_string());
            format!("cp s3://{} {}\n", bottle.key, to.display())
        });
        let list = self.scratch.path().join("commands");
        std::fs::write(&list, lines.collect::<String>()).map_err(|error| error.to_string())?;
        let mut env = s3::aws_env(&self.server.endpoint(), s3::ACCESS_KEY, s3::SECRET_KEY);
        env.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
        let (root, list) = (self.upstream.root(), list.display().to_string());
        let pull = [
            "--log",
            "error",
            "--no-sign-request",
            "--endpoint-url",
            &root,
            "--numworkers",
            workers,
            "run",
            &list,
        ];
        let pulled = measure(&self.plan.s5cmd, &pull, &env)?;
        require(&pulled, "s5cmd run")?;
        let (endpoint, from) = (
            self.server.endpoint(),
            format!("{}/", between.path().display()),
        );
        let to = format!("s3://{BUCKET}/");
        let push = [
            "--log",
            "error",
            "--endpoint-url",
            &endpoint,
            "--numworkers",
            workers,
            "cp",
            &from,
            &to,
        ];
        let pushed = measure(&self.plan.s5cmd, &push, &env)?;
        require(&pushed, "s5cmd cp")?;
        Ok(run_of(&pulled, 0).and_then(run_of(&pushed, 0)))
    }

    fn empty_bucket(&self) -> Result<(), String> {
        let bucket = self.server.root().join(BUCKET);
        let clear = || -> std::io::Result<()> {
            for entry in std::fs::read_dir(self.server.root())? {
                let path = entry?.path();
                match path.is_dir() {
                    true => std::fs::remove_dir_all(path)?,
                    false => std::fs::remove_file(path)?,
                }
            }
            std::fs::create_dir(&bucket)
        };
        clear().map_err(|error| format!("{}: {error}", bucket.display()))
    }
}

fn run_of(measured: &Measured, own_files: u64) -> Run {
    Run {
        took: measured.took,
        cpu: measured.cpu,
        server: Duration::ZERO,
        peak: measured.peak_bytes,
        own_files,
    }
}

/// The fastest round of each counts: whatever else the machine does only ever adds time.
fn judge(runs: &[(Program, Run)], bytes: u64) -> u32 {
    let mut table = Table::default();
    table.head("homebrew-sync", "the peer");
    let ours = || {
        let ours = runs.iter();
        ours.filter(|(program, _)| matches!(program, Program::Ours))
    };
    let is_unchecked = |program: &Program| matches!(program, Program::Rclone(Way::Straight, _));
    let best = |is_wanted: &dyn Fn(&Program) -> bool| {
        let wanted = runs.iter().filter(|(program, _)| is_wanted(program));
        wanted.min_by_key(|(_, run)| run.took)
    };
    let peak = ours().map(|(_, run)| run.peak).max().unwrap_or(0);
    let own_files = ours().map(|(_, run)| run.own_files).max();
    let is_judged = |program: &Program| !matches!(program, Program::Ours) && !is_unchecked(program);
    let (Some((_, ours)), Some((peer, theirs)), Some((straight, unchecked))) = (
        ours().min_by_key(|(_, run)| run.took),
        best(&is_judged),
        best(&is_unchecked),
    ) else {
        return table.missed();
    };
    let rate = |run: &Run| {
        let rate = bytes as f64 / 1e6 / run.took.as_secs_f64();
        format!("{rate:.0} MB/s")
    };
    let ratio = |ours: Duration, theirs: Duration| theirs.as_secs_f64() / ours.as_secs_f64();
    for (program, theirs, bar) in [(peer, theirs, ">= 0.9x"), (straight, unchecked, "")] {
        let found = ratio(ours.took, theirs.took);
        table.row(
            &format!("cold ({})", program.name()),
            rate(ours),
            &rate(theirs),
            format!("{found:.2}x"),
            bar.is_empty() || found >= 0.9,
            bar,
        );
    }
    for (what, ours, theirs) in [
        ("the same, processor time", ours.cpu, unchecked.cpu),
        (
            "the server's processor time for it",
            ours.server,
            unchecked.server,
        ),
    ] {
        let found = format!("{:.2}x", ratio(ours, theirs));
        table.row(what, secs(ours), &secs(theirs), found, true, "");
    }
    table.note("peak memory", mb(peak), peak < PEAK_BYTES_MAX, "< 200 MB");
    let own_files = own_files.unwrap_or(0);
    table.note(
        "its own files at most",
        format!("{} KB", own_files / 1000),
        own_files < OWN_FILES_MAX,
        "no bottles",
    );
    table.missed()
}

/// Looks again and again how large a folder is.
struct Watch {
    is_over: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Watch {
    fn begin(folder: &Path) -> Watch {
        let (is_over, most) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (folder, over, found) = (folder.to_owned(), is_over.clone(), most.clone());
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                found.fetch_max(size_below(&folder), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Watch {
            is_over,
            most,
            thread,
        }
    }

    fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        // It only looks.
        let _ = self.thread.join();
        self.most.load(Ordering::Relaxed)
    }
}

/// How many bytes the files below a folder have; what vanishes meanwhile counts nothing.
fn size_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size_below(&entry.path()),
        _ => entry.metadata().map_or(0, |found| found.len()),
    });
    sizes.sum()
}
