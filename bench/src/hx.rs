//! `hx` against Atuin: import and search of a million commands; then what a sync of them costs.
//!
//! What must hold: both programs get the same generated history (1,000,000 zsh extended lines, at most 240,000 distinct, seed 1) and fresh
//! homes; requests and bytes are counted by a proxy, not by hx.
//! What it deliberately does not do: measure Atuin's sync, which needs its server.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::history::zsh_extended;
use testkit::{S3Process, ScriptedProxy};

use crate::run::{Measured, mb, measure, median, millis, require, secs, traffic};
use crate::table::Table;

const LINES: u64 = 1_000_000;
const DISTINCT: u64 = 240_000;
const RUNS: usize = 31;

/// Prints the measurements; returns how many bars were missed.
///
/// # Errors
/// If a program is missing or fails.
pub fn bench() -> Result<u32, String> {
    let root = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_path_buf()))
        .ok_or("where am I?")?;
    let hx = root.join("hx");
    let atuin = root.parent().unwrap_or(&root).join("peers/bin/atuin");
    for (program, remedy) in [
        (&hx, "cargo build --release -p hx"),
        (&atuin, "cargo install atuin --locked --root target/peers"),
    ] {
        if !program.exists() {
            return Err(format!("{} is missing: {remedy}", program.display()));
        }
    }
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let history = scratch.path().join("zsh_history");
    write_history(&history).map_err(|error| format!("{}: {error}", history.display()))?;
    let mut bench = Bench {
        hx,
        atuin,
        scratch: scratch.path().to_path_buf(),
        table: Table::default(),
    };
    println!(
        "{LINES} zsh extended lines, at most {DISTINCT} distinct, {} bytes\n",
        std::fs::metadata(&history).map_or(0, |m| m.len())
    );
    bench.table.head("hx", "atuin");
    bench.import(&history)?;
    bench.find()?;
    bench.sync()?;
    Ok(bench.table.missed())
}

fn write_history(path: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for line in zsh_extended(LINES, DISTINCT, 1) {
        writeln!(file, "{line}")?;
    }
    file.flush()
}

struct Bench {
    hx: PathBuf,
    atuin: PathBuf,
    scratch: PathBuf,
    table: Table,
}

impl Bench {
    fn home(&self, name: &str) -> Vec<(String, String)> {
        let home = self.scratch.join(name);
        let _ = std::fs::create_dir_all(&home);
        let home = home.display().to_string();
        vec![
            ("HOME".into(), home.clone()),
            ("PATH".into(), "/usr/bin:/bin".into()),
            (
                "HISTFILE".into(),
                self.scratch.join("zsh_history").display().to_string(),
            ),
            ("SHELL".into(), "/bin/zsh".into()),
            (
                "ATUIN_SESSION".into(),
                "0190a0000000700080000000000000aa".into(),
            ),
            ("HX_SYNC_PASSPHRASE".into(), "bench".into()),
        ]
    }

    fn import(&mut self, history: &Path) -> Result<(), String> {
        let theirs = measure(&self.atuin, &["import", "zsh"], &self.home("atuin"))?;
        let file = history.display().to_string();
        let ours = measure(&self.hx, &["import", "--file", &file], &self.home("hx"))?;
        require(&ours, "hx import")?;
        require(&theirs, "atuin import")?;
        let ratio = theirs.took.as_secs_f64() / ours.took.as_secs_f64();
        self.table.row(
            "import",
            secs(ours.took),
            &secs(theirs.took),
            format!("{ratio:.1}x"),
            ratio >= 5.0,
            ">= 5x faster",
        );
        self.table.row(
            "import, peak memory",
            mb(ours.peak_bytes),
            &mb(theirs.peak_bytes),
            String::new(),
            ours.peak_bytes < 200_000_000,
            "< 200 MB",
        );
        Ok(())
    }

    fn find(&mut self) -> Result<(), String> {
        for (word, label, factor) in [
            ("docker", "find, with hits", 2.0),
            ("zzqqxx", "find, without hits", 20.0),
        ] {
            let mut fastest: Option<(Duration, &str)> = None;
            for mode in ["prefix", "full-text", "fuzzy"] {
                let took = median(
                    &self.atuin,
                    &["search", "--search-mode", mode, "--limit", "20", word],
                    &self.home("atuin"),
                    RUNS,
                )?;
                if fastest.is_none_or(|(best, _)| took < best) {
                    fastest = Some((took, mode));
                }
            }
            let (theirs, mode) = fastest.ok_or("no search mode")?;
            let ours = median(&self.hx, &["find", word], &self.home("hx"), RUNS)?;
            let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
            let what = format!("{label} (atuin's fastest: {mode})");
            self.table.row(
                &what,
                millis(ours),
                &millis(theirs),
                format!("{ratio:.1}x"),
                ratio >= factor,
                &format!(">= {factor:.0}x faster"),
            );
        }
        Ok(())
    }

    fn hx(&self, arguments: &[&str], home: &str) -> Result<Measured, String> {
        let measured = measure(&self.hx, arguments, &self.home(home))?;
        require(&measured, &format!("hx {}", arguments.join(" ")))?;
        Ok(measured)
    }

    fn sync(&mut self) -> Result<(), String> {
        let server = S3Process::start();
        let proxy = ScriptedProxy::in_front_of(server.address());
        let url = proxy.store_url("bucket", "hx");
        self.push(&proxy, &url)?;
        self.pull(&proxy, &url)?;
        self.trifles(&proxy)
    }

    fn push(&mut self, proxy: &ScriptedProxy, url: &str) -> Result<(), String> {
        self.hx(&["sync", "init", "--store", url], "hx")?;
        proxy.forget_requests();
        let push = self.hx(&["sync", "push"], "hx")?;
        let (requests, up, _) = traffic(proxy);
        self.table.note(
            "push, requests",
            requests.to_string(),
            requests <= 60,
            "<= 60",
        );
        let per_event = up as f64 / LINES as f64;
        let shown = format!("{per_event:.2}");
        self.table.note(
            "push, bytes an event on the wire",
            shown,
            per_event <= 20.0,
            "<= 20",
        );
        let peak = push.peak_bytes;
        self.table.note(
            "push, peak memory",
            mb(peak),
            peak < 150_000_000,
            "< 150 MB",
        );
        self.table.note("push, time", secs(push.took), true, "");
        Ok(())
    }

    fn pull(&mut self, proxy: &ScriptedProxy, url: &str) -> Result<(), String> {
        self.hx(&["sync", "init", "--store", url], "hx-second")?;
        proxy.forget_requests();
        let pull = self.hx(&["sync", "pull"], "hx-second")?;
        let (requests, _, _) = traffic(proxy);
        self.table.note(
            "pull on a new device, requests",
            requests.to_string(),
            requests <= 60,
            "<= 60",
        );
        self.table
            .note("pull on a new device, time", secs(pull.took), true, "");
        self.table.note(
            "pull on a new device, peak memory",
            mb(pull.peak_bytes),
            true,
            "",
        );
        let share = first_segment_bytes(proxy);
        let shown = format!("{:.1} %", share * 100.0);
        self.table.note(
            "newest 16,384 searchable after, of all bytes",
            shown,
            share < 0.1,
            "< 10 %",
        );
        Ok(())
    }

    /// What the everyday syncs cost.
    fn trifles(&mut self, proxy: &ScriptedProxy) -> Result<(), String> {
        proxy.forget_requests();
        self.hx(&["sync", "pull"], "hx-second")?;
        let (requests, _, _) = traffic(proxy);
        self.table.note(
            "pull when nothing changed, requests",
            requests.to_string(),
            requests == 1,
            "= 1",
        );
        let one = self.scratch.join("one");
        std::fs::write(&one, ": 1790000000:0;echo one new command\n")
            .map_err(|error| error.to_string())?;
        self.hx(&["import", "--file", &one.display().to_string()], "hx")?;
        proxy.forget_requests();
        self.hx(&["sync", "push"], "hx")?;
        let (requests, _, _) = traffic(proxy);
        self.table.note(
            "push of one new command, requests",
            requests.to_string(),
            requests <= 3,
            "<= 3",
        );
        Ok(())
    }
}

/// The share of all bytes that had come when the first segment was complete.
fn first_segment_bytes(proxy: &ScriptedProxy) -> f64 {
    let seen = proxy.requests();
    let total: u64 = seen.iter().map(|request| request.bytes_down).sum();
    let end = seen
        .iter()
        .position(|request| request.target.contains("segments"))
        .map_or(seen.len(), |at| at + 1);
    let first: u64 = seen[..end].iter().map(|request| request.bytes_down).sum();
    first as f64 / total.max(1) as f64
}
