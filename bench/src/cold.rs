//! `bench bottles-cold`: 2,000 bottles, 4 GB, into an empty bucket, against `rclone copy` and `s5cmd`, which pull and push the same bytes.
//!
//! What must hold: all get the same bottles from the same upstream and put them on the same server; rounds are interleaved and who begins
//! changes; the bottles lie nowhere before, and in memory behind the server.
//! What it deliberately does not do: let the peers prove what they pull, which they cannot: `homebrew-sync` does, and reads signed API files,
//! reads and stores manifests and publishes a generation besides.

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
        let mut plan = Plan {
            s5cmd: "s5cmd".into(),
            rclone: "rclone".into(),
            gib: 4,
            largest: usize::MAX,
            rounds: 2,
        };
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            let number = || {
                let number = value.parse::<usize>().ok().filter(|number| *number > 0);
                number.ok_or_else(|| format!("{name}: `{value}` is no number above 0"))
            };
            match name.as_str() {
                "--s5cmd" => plan.s5cmd = value.into(),
                "--rclone" => plan.rclone = value.into(),
                "--gib" => plan.gib = number()?,
                "--largest-mb" => plan.largest = number()?.saturating_mul(1_000_000),
                "--rounds" => plan.rounds = number()?,
                _ => {
                    return Err(format!(
                        "{name} is unknown: --gib, --largest-mb, --rounds, --rclone, --s5cmd"
                    ));
                }
            }
        }
        Ok(plan)
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
    let mut runs: Vec<(String, Run)> = Vec::new();
    let mut programs = vec![Program::Ours];
    programs.extend(AT_ONCE.map(Program::Rclone));
    programs.extend(AT_ONCE.map(Program::S5cmd));
    for round in 0..bench.plan.rounds {
        for turn in 0..programs.len() {
            let program = programs[(round + turn) % programs.len()];
            let run = bench.run(program)?;
            let name = program.name();
            eprintln!(
                "  {name}: {}, its processor time {}, the server's {}, peak {}",
                secs(run.took),
                secs(run.cpu),
                secs(run.server),
                mb(run.peak)
            );
            runs.push((name, run));
        }
    }
    Ok(judge(&runs, bench.upstream.bytes()))
}

#[derive(Clone, Copy)]
enum Program {
    Ours,
    Rclone(&'static str),
    S5cmd(&'static str),
}

impl Program {
    fn name(self) -> String {
        match self {
            Program::Ours => "homebrew-sync".to_owned(),
            Program::Rclone(transfers) => format!("rclone, {transfers} transfers"),
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
            Program::Rclone(transfers) => self.rclone(transfers),
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

    fn rclone(&self, transfers: &str) -> Result<Run, String> {
        let list = self.scratch.path().join("list");
        let keys = self.upstream.bottles.iter();
        let keys: String = keys.map(|bottle| format!("{}\n", bottle.key)).collect();
        std::fs::write(&list, keys).map_err(|error| error.to_string())?;
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
            // The only checksums that it has for what it streams.
            (
                "RCLONE_CONFIG_TO_USE_DATA_INTEGRITY_PROTECTIONS",
                "true".to_owned(),
            ),
            ("RCLONE_CONFIG_FROM_TYPE", "http".to_owned()),
            (
                "RCLONE_CONFIG_FROM_URL",
                format!("{}/", self.upstream.root()),
            ),
        ];
        let env = pairs.map(|(name, value)| (name.to_owned(), value));
        let (list, to) = (list.display().to_string(), format!("TO:{BUCKET}"));
        let arguments = [
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
            "FROM:",
            &to,
        ];
        let measured = measure(&self.plan.rclone, &arguments, &env)?;
        require(&measured, "rclone")?;
        Ok(run_of(&measured, 0))
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
        let (first, second) = (run_of(&pulled, 0), run_of(&pushed, 0));
        Ok(Run {
            took: first.took + second.took,
            cpu: first.cpu + second.cpu,
            peak: first.peak.max(second.peak),
            ..first
        })
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
fn judge(runs: &[(String, Run)], bytes: u64) -> u32 {
    let mut table = Table::default();
    table.head("homebrew-sync", "the best peer");
    let is_ours = |name: &str| name == "homebrew-sync";
    let ours = runs.iter().filter(|(name, _)| is_ours(name));
    let theirs = runs.iter().filter(|(name, _)| !is_ours(name));
    let peak = ours.clone().map(|(_, run)| run.peak).max().unwrap_or(0);
    let own_files = ours.clone().map(|(_, run)| run.own_files).max();
    let took = |(_, run): &&(String, Run)| run.took;
    let (Some((_, ours)), Some((name, theirs))) = (ours.min_by_key(took), theirs.min_by_key(took))
    else {
        return table.missed();
    };
    let rate = |run: &Run| {
        let rate = bytes as f64 / 1e6 / run.took.as_secs_f64();
        format!("{rate:.0} MB/s")
    };
    let ratio = |ours: Duration, theirs: Duration| theirs.as_secs_f64() / ours.as_secs_f64();
    let found = ratio(ours.took, theirs.took);
    table.row(
        &format!("cold ({name})"),
        rate(ours),
        &rate(theirs),
        format!("{found:.2}x"),
        found >= 0.9,
        ">= 0.9x",
    );
    for (what, ours, theirs) in [
        ("the same, processor time", ours.cpu, theirs.cpu),
        (
            "the server's processor time for it",
            ours.server,
            theirs.server,
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
