//! `hx quickstart`: everything once, for real, on the person's own history.
//!
//! What must hold: it imports, encrypts, pushes, joins as a second device, pulls and compares with the very functions that the commands
//! use; without `--keep` nothing outside a scratch directory is touched.
//!
//! What it deliberately does not do: keep a vault whose passphrase nobody chose: with `--keep` only the import is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use console::spec::Flags;
use console::{Env, Exit, Failure, Table, Ui, human};
use serde::Serialize;
use store::{StoreUrl, Usage};
use vault::{PullMode, PushMode};

use super::context::{Context, Reach};
use super::sync::{cost, join, pull, push};
use crate::history::export::{ExportFilter, ExportFormat, export_file};
use crate::history::find::FindQuery;
use crate::history::import::{ImportOptions, find_history_files, import_bytes, import_file};
use crate::history::{History, HistoryErrorKind};
use crate::settings::Paths;
use crate::sync::{Link, Watcher, history_failure};

/// A history of a few days' work, for machines that have none.
const SAMPLE: &[u8] = include_bytes!("../../sample/history.zsh");

/// Arguments of `hx quickstart`.
#[derive(Debug, Args)]
pub struct QuickstartArgs {
    /// Import this file instead of the histories found on this machine
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Keep the import: write it into your own hx database
    #[arg(long)]
    keep: bool,
}

#[derive(Serialize)]
struct StepReport {
    step: &'static str,
    detail: String,
    records: u64,
    took_ms: f64,
    bytes: u64,
    requests: u64,
}

/// Runs `hx quickstart`.
///
/// # Errors
/// Of the step that failed.
pub fn run(args: &QuickstartArgs, ui: &Ui, env: &Env) -> Result<Exit, Failure> {
    let scratch = tempfile::Builder::new()
        .prefix("hx-quickstart-")
        .tempdir()
        .map_err(|error| {
            Failure::wrap(
                Exit::Failed,
                "a scratch directory could not be made",
                &error,
            )
        })?;
    let mut tour = Tour::new(args, ui, env, scratch.path())?;
    let outcome = tour.walk();
    if ui.is_json() {
        ui.json(&tour.steps);
    }
    outcome?;
    tour.say_goodbye(args.keep);
    Ok(Exit::Ok)
}

struct Tour<'t> {
    ui: &'t Ui,
    first: Context,
    second: Context,
    store: StoreUrl,
    files: Vec<PathBuf>,
    scratch: &'t Path,
    steps: Vec<StepReport>,
}

impl<'t> Tour<'t> {
    fn new(
        args: &QuickstartArgs,
        ui: &'t Ui,
        env: &Env,
        scratch: &'t Path,
    ) -> Result<Self, Failure> {
        // The passphrase of a vault that lives for seconds; the real one is asked for by `hx sync init`.
        let env = env
            .clone()
            .with(
                "HX_CONFIG",
                scratch.join("config.yaml").display().to_string(),
            )
            .with("HX_SYNC_PASSPHRASE", "quickstart");
        let files = match &args.file {
            Some(file) => vec![file.clone()],
            None => find_history_files(
                |name| env.get(name),
                Path::new(env.get("HOME").unwrap_or("/nonexistent")),
            ),
        };
        let base = Context::new(ui.clone(), env.clone(), &Flags::new(), Reach::Store)?;
        let first = if args.keep {
            Paths::resolve(&env)?
        } else {
            Paths::under(&scratch.join("first"))
        };
        Ok(Self {
            ui,
            first: base.elsewhere(first),
            second: base.elsewhere(Paths::under(&scratch.join("second"))),
            store: StoreUrl::from_folder(scratch.join("store")),
            files,
            scratch,
            steps: vec![],
        })
    }

    fn walk(&mut self) -> Result<(), Failure> {
        let mut history = self.first.history()?;
        self.import(&mut history)?;
        let mut synced = self.synced_copy(history)?;
        self.create_and_push(&mut synced)?;
        let mut other = self.second.history()?;
        self.join_and_pull(&mut other)?;
        self.compare(&synced, &other)?;
        self.search(&other)
    }

    fn import(&mut self, history: &mut History) -> Result<(), Failure> {
        let options = ImportOptions {
            shell: None,
            host: Arc::from(self.first.settings.host_name()),
            dry_run: false,
            progress: Default::default(),
        };
        let mut imported = 0;
        for file in std::mem::take(&mut self.files) {
            let begun = Instant::now();
            match import_file(history, &file, &options) {
                Ok(report) => {
                    imported += report.added + report.known;
                    let bytes = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
                    let detail = format!(
                        "{} ({}; {} skipped)",
                        file.display(),
                        report.format,
                        human::number(report.skipped_count())
                    );
                    self.step("import", detail, report.added, begun.elapsed(), bytes, 0);
                }
                Err(error) if error.kind() == HistoryErrorKind::Refused => self.ui.warn(format!(
                    "{}: {}",
                    file.display(),
                    history_failure(&error).causes().join(": ")
                )),
                Err(error) => return Err(history_failure(&error)),
            }
        }
        if imported == 0 {
            let begun = Instant::now();
            let report = import_bytes(history, "history.zsh", SAMPLE, &options)
                .map_err(|error| history_failure(&error))?;
            self.step(
                "import",
                "the sample that comes with hx (no shell history was found)".into(),
                report.added,
                begun.elapsed(),
                SAMPLE.len() as u64,
                0,
            );
        }
        Ok(())
    }

    /// With `--keep` the person's own database must not take part in the throw-away vault: a copy does.
    fn synced_copy(&mut self, history: History) -> Result<History, Failure> {
        if history.path().starts_with(self.scratch) {
            return Ok(history);
        }
        let export = self.scratch.join("kept.json");
        export_file(
            &history,
            &export,
            ExportFormat::Json,
            &ExportFilter::default(),
            0,
            &|_| Ok(()),
        )
        .map_err(|error| history_failure(&error))?;
        self.first = self
            .first
            .elsewhere(Paths::under(&self.scratch.join("first")));
        let mut copy = self.first.history()?;
        let options = ImportOptions {
            shell: None,
            host: Arc::from(""),
            dry_run: false,
            progress: Default::default(),
        };
        import_file(&mut copy, &export, &options).map_err(|error| history_failure(&error))?;
        Ok(copy)
    }

    fn create_and_push(&mut self, history: &mut History) -> Result<(), Failure> {
        let begun = Instant::now();
        let joined = self
            .first
            .block_on(join(&self.first, history, &self.store, None))?;
        let vault = joined.membership.vault.to_string();
        self.step(
            "create vault",
            format!("{}, encrypted, in a folder", &vault[..8]),
            0,
            begun.elapsed(),
            0,
            0,
        );
        let begun = Instant::now();
        let context = &self.first;
        let (report, sync) = context.block_on(async {
            let link = Link::open(
                history,
                &context.settings,
                &context.paths,
                &context.environment(),
            )
            .await?;
            push(&link, history, Watcher::silent(), PushMode::Pending).await
        })?;
        let per_record = report.bytes as f64 / report.records.max(1) as f64;
        self.sync_step(
            "push",
            format!(
                "{}, {per_record:.1} bytes a command",
                human::count(report.segments, "segment")
            ),
            report.records,
            begun.elapsed(),
            sync.usage,
        );
        Ok(())
    }

    fn join_and_pull(&mut self, history: &mut History) -> Result<(), Failure> {
        let begun = Instant::now();
        self.second
            .block_on(join(&self.second, history, &self.store, None))?;
        self.step(
            "join",
            "a second device, with the passphrase alone".into(),
            0,
            begun.elapsed(),
            0,
            0,
        );
        let begun = Instant::now();
        let context = &self.second;
        let (report, sync) = context.block_on(async {
            let link = Link::open(
                history,
                &context.settings,
                &context.paths,
                &context.environment(),
            )
            .await?;
            pull(&link, history, Watcher::silent(), PullMode::New).await
        })?;
        self.sync_step(
            "pull",
            "newest first".into(),
            report.added,
            begun.elapsed(),
            sync.usage,
        );
        Ok(())
    }

    fn compare(&mut self, first: &History, second: &History) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut digests = vec![];
        for (name, history) in [("first.json", first), ("second.json", second)] {
            let path = self.scratch.join(name);
            export_file(
                history,
                &path,
                ExportFormat::Json,
                &ExportFilter::default(),
                0,
                &|_| Ok(()),
            )
            .map_err(|error| history_failure(&error))?;
            let file =
                std::fs::File::open(&path).map_err(|error| Failure::io("read", &path, &error))?;
            let mut hasher = blake3::Hasher::new();
            hasher
                .update_reader(file)
                .map_err(|error| Failure::io("read", &path, &error))?;
            digests.push((hasher.finalize(), path));
        }
        if digests[0].0 != digests[1].0 {
            return Err(
                Failure::new(Exit::Failed, "the two devices differ after the sync").hint(
                    "This is a bug in hx. Please report it with the output of `hx sync diagnose`.",
                ),
            );
        }
        let counts = second.counts().map_err(|error| history_failure(&error))?;
        let bytes = std::fs::metadata(&digests[1].1).map_or(0, |metadata| metadata.len());
        self.step(
            "compare",
            "both devices export the same, byte for byte".into(),
            counts.events,
            begun.elapsed(),
            bytes,
            0,
        );
        Ok(())
    }

    fn search(&mut self, history: &History) -> Result<(), Failure> {
        let newest = history
            .find(&FindQuery::new("", 1))
            .map_err(|error| history_failure(&error))?;
        let Some(word) = newest.first().and_then(|hit| {
            hit.event
                .command
                .split_whitespace()
                .next()
                .map(str::to_owned)
        }) else {
            return Ok(());
        };
        let begun = Instant::now();
        let found = history
            .find(&FindQuery::new(word.as_str(), 20))
            .map_err(|error| history_failure(&error))?;
        let example = found
            .first()
            .map(|hit| {
                hit.event
                    .command
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(40)
                    .collect::<String>()
            })
            .unwrap_or_default();
        self.step(
            "find",
            format!("\"{word}\" on the second device: {example}"),
            found.len() as u64,
            begun.elapsed(),
            0,
            0,
        );
        Ok(())
    }

    fn sync_step(
        &mut self,
        step: &'static str,
        detail: String,
        records: u64,
        took: Duration,
        usage: Usage,
    ) {
        let _ = cost(usage);
        self.step(
            step,
            detail,
            records,
            took,
            usage.bytes_up + usage.bytes_down,
            usage.requests(),
        );
    }

    fn step(
        &mut self,
        step: &'static str,
        detail: String,
        records: u64,
        took: Duration,
        bytes: u64,
        requests: u64,
    ) {
        if !self.ui.is_json() {
            let mut table = Table::plain();
            let optional = |n: u64, text: String| if n > 0 { text } else { String::new() };
            table.row([
                format!("{step:<13}"),
                format!("{:>10}", optional(records, human::number(records))),
                format!("{:>9}", human::duration(took)),
                format!("{:>9}", optional(bytes, human::bytes(bytes))),
                format!(
                    "{:>12}",
                    optional(requests, human::count(requests, "request"))
                ),
                detail.clone(),
            ]);
            self.ui.out(table.render().trim_end());
        }
        self.steps.push(StepReport {
            step,
            detail,
            records,
            took_ms: took.as_secs_f64() * 1000.0,
            bytes,
            requests,
        });
    }

    fn say_goodbye(&self, kept: bool) {
        if self.ui.is_json() {
            return;
        }
        self.ui
            .out("\nAll of it worked. The scratch directory is gone again.");
        self.ui.out("What to type next:");
        if !kept {
            self.ui.out(
                "  hx import                                  import your shell histories for good",
            );
        }
        self.ui
            .out("  hx find WORD                               find a command");
        self.ui
            .out("  hx sync init --store folder:~/Sync/hx      sync through a folder, or");
        self.ui
            .out("  hx sync init --store \"s3://bucket/hx?region=us-west-2\"");
        self.ui
            .out("  hx sync                                    pull, then push");
    }
}
