//! What may be typed.
//!
//! It deliberately fills nothing in: what was not typed is `None`, and `mirror` looks into the environment.

pub mod notices;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// No file of a bundle is made smaller than that by its size alone.
const PART_MIN: u64 = 1 << 20;

/// Mirror Homebrew's bottles into a bucket or a folder, and serve them to brew without internet.
#[derive(Debug, Parser)]
#[command(name = "homebrew-sync", version, after_help = console::exit::help_table(), max_term_width = 100)]
pub struct CommandLine {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// Where things are
    #[command(flatten)]
    pub place: PlaceArgs,
    /// What to print
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the mirror up to date: fetch what is new, and publish it as a generation
    Sync(SyncArgs),
    /// Say what the mirror holds, how the last runs ended, and when the next one is due
    Status,
    /// Run `sync` by a schedule, until it is ended
    #[command(mut_arg("dry_run", |arg| arg.help("Only say when the next five runs are due")), mut_arg("replace", |arg| arg.hide(true)), mut_arg("rebuild_hash", |arg| arg.hide(true)), mut_arg("accept_shrinking", |arg| arg.hide(true)))]
    Daemon(DaemonArgs),
    /// List the last runs, also those that failed or found nothing new
    Runs(RunsArgs),
    /// List the generations
    Generations,
    /// Say what changed from one generation to another
    Diff(DiffArgs),
    /// Go back to an earlier generation, at once
    Rollback(RollbackArgs),
    /// Remove what no kept generation needs
    Prune(PruneArgs),
    /// Read what is stored, and the files that earlier generations need besides bottles, and compare it with its digests
    Scrub(ScrubArgs),
    /// Serve the mirror to brew clients over HTTP
    Serve(ServeArgs),
    /// List what clients asked for and did not get
    Misses,
    /// Print what to set in a client's environment
    ClientEnv(ClientEnvArgs),
    /// Carry the mirror across an air gap, in signed files
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Look at everything that a run needs, and write a report without secrets
    #[command(mut_args(only_places))]
    Diagnose(SyncArgs),
    /// Explain what clients asked for and did not get, and what to do about it
    Doctor(DoctorArgs),
    /// Try what a mirror does with its store, and name the permission that is missing
    TestPermissions,
    /// Send a notice to everybody who gets notices, and say what came back
    TestNotification(notices::NoticeArgs),
    /// Serve a small sample upstream on loopback, to try a mirror on; it is signed with a key of its own, which no real client trusts
    SampleUpstream(SampleUpstreamArgs),
    /// Try everything on a small sample upstream, in a scratch directory
    Quickstart(QuickstartArgs),
}

/// Where things are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Where things are")]
pub struct PlaceArgs {
    /// The mirror: s3://BUCKET/PREFIX?region=..., or a folder [env: HOMEBREW_SYNC_STORE]
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// Where journals and notes of this machine lie [env: HOMEBREW_SYNC_STATE_DIR] [default: ~/.local/state/homebrew-sync]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// What to print.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What to print")]
pub struct OutputArgs {
    /// Print JSON for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only results, warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Answer every question with yes
    #[arg(long, short, global = true)]
    pub yes: bool,
}

/// Arguments of `sync`.
#[derive(Clone, Debug, Default, Args)]
pub struct SyncArgs {
    /// A formula, with all that it needs; may be given several times. The mirror remembers it for later runs
    #[arg(long, value_name = "NAME")]
    pub formula: Vec<String>,
    /// The formulae of a Brewfile
    #[arg(long, value_name = "FILE")]
    pub brewfile: Option<PathBuf>,
    /// Every formula
    #[arg(long)]
    pub all: bool,
    /// A platform, as Homebrew tags it (arm64_sequoia, x86_64_linux); may be given several times [default: the newest three of macOS on ARM, and Linux; newer ones join them later]
    #[arg(long, value_name = "TAG")]
    pub platform: Vec<String>,
    /// A version of portable-ruby that clients pin (Library/Homebrew/vendor/portable-ruby-version)
    #[arg(long, value_name = "VERSION")]
    pub portable_ruby: Vec<String>,
    /// Take what is named here in place of what the mirror remembers
    #[arg(long)]
    pub replace: bool,
    /// Pass over a formula, or an API file: the mirror keeps what it has of it. Of a formula that has changed clients can install nothing then, since the API names what is new, and a warning says so; may be given several times
    #[arg(long, value_name = "NAME")]
    pub skip: Vec<String>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Publish although something failed: of formulae that failed the mirror keeps what it has; clients cannot install what the API names of them instead, and a warning says so
    #[arg(long)]
    pub publish_incomplete: bool,
    /// Believe an upstream that has far less than the mirror: no bottle for a platform, or over a tenth fewer. Without it such a run publishes nothing
    #[arg(long)]
    pub accept_shrinking: bool,
    /// Look at what really lies in the store, and fetch what is gone, cut or, of the API's files, damaged
    #[arg(long)]
    pub check: bool,
    /// Give bottles names in the flat layout besides, below flat/, for HOMEBREW_BOTTLE_DOMAIN; in a folder only. The mirror remembers it
    #[arg(long, value_name = "LAYOUT", value_parser = ["flat"])]
    pub layout: Option<String>,
    /// Another tool's bottles_hash.json (a file, s3://BUCKET/KEY.json?region=..., https): days of bottles that the mirror has too are taken over [env: HOMEBREW_SYNC_EXTERNAL_HASH]
    #[arg(long, value_name = "URL")]
    pub external_hash: Option<String>,
    /// Make bottles_hash.json anew from what lies in the store, after a look at sizes, and at digests where the store keeps them; nothing is fetched
    #[arg(long, conflicts_with_all = ["dry_run", "check", "formula", "brewfile", "all"])]
    pub rebuild_hash: bool,
    /// So many bottles at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// The root of the API [env: HOMEBREW_SYNC_API] [default: formulae.brew.sh/api, over TLS]
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// The registry that bottles come from [env: HOMEBREW_SYNC_REGISTRY] [default: ghcr.io, over TLS]
    #[arg(long, value_name = "URL")]
    pub registry: Option<String>,
    /// The client's public key, to check the API's signature with [env: HOMEBREW_SYNC_API_KEY] [default: that of a brew on this machine]
    #[arg(long, value_name = "FILE")]
    pub api_key: Option<PathBuf>,
    /// Who is told
    #[command(flatten)]
    pub notices: notices::NoticeArgs,
}

/// Arguments of `daemon`.
#[derive(Clone, Debug, Args)]
pub struct DaemonArgs {
    /// When: "cron(0 3 ? * SUN *)" or "rate(1 day)" as AWS has them, or "0 3 * * 0" as cron has it [env: HOMEBREW_SYNC_SCHEDULE]
    #[arg(long, value_name = "WHEN")]
    pub schedule: Option<String>,
    /// The time zone of the schedule, such as Europe/Berlin, or `local` [env: HOMEBREW_SYNC_TIME_ZONE] [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Begin up to so much later, by chance: not all mirrors should ask at the same moment
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub jitter: Duration,
    /// Run once at the start, too
    #[arg(long)]
    pub now: bool,
    /// What each run does
    #[command(flatten)]
    pub sync: SyncArgs,
}

/// Arguments of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Explain what clients miss
    #[arg(long, required = true)]
    pub client: bool,
    /// What a client says of itself: the output of `brew config` or `env`; `-` reads it from standard input
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients reach the mirror, to compare the client's variables with
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A path that a client asked for; may be given several times [default: those that `serve` has written down]
    #[arg(long, value_name = "PATH")]
    pub path: Vec<String>,
}

/// Arguments of `runs`.
#[derive(Clone, Debug, Args)]
pub struct RunsArgs {
    /// So many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub last: u16,
}

/// Arguments of `diff`.
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The earlier generation, by its number, or its whole name where two have the same number
    pub from: String,
    /// The later one [default: the current one]
    pub to: Option<String>,
}

/// Arguments of `rollback`.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// The generation, by its number, or its whole name where two have the same number [default: the one before the current one]
    pub to: Option<String>,
}

/// Arguments of `prune`.
#[derive(Clone, Debug, Args)]
pub struct PruneArgs {
    /// So many generations stay
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// What was current or stored within this time stays
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    pub grace: Duration,
    /// Give up a generation whose record is damaged, by its number, or its whole name where two have the same number; may be given several times. While such a one is kept nothing can be removed, since nobody knows what it needs
    #[arg(long, value_name = "GEN")]
    pub drop: Vec<String>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `scrub`.
#[derive(Clone, Debug, Args)]
pub struct ScrubArgs {
    /// Read only so many percent of the bottles, another part each day
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub sample: u8,
}

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// How often a new generation is looked for
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub refresh: Duration,
    /// Write a line for each request to the end of a file, in the combined form of web servers; `-` is standard output [env: HOMEBREW_SYNC_ACCESS_LOG]
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
}

/// Arguments of `client-env`.
#[derive(Clone, Debug, Args)]
pub struct ClientEnvArgs {
    /// Where clients reach the mirror
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// The client's version, as `brew --version` says it
    #[arg(long, value_name = "VERSION", default_value = "6.0.18")]
    pub client: String,
}

/// What can be done with bundles.
#[derive(Clone, Debug, Subcommand)]
pub enum BundleCommand {
    /// Make a key that signs bundles; its public half goes to FILE.pub
    Keygen {
        /// Where the private key goes
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write what the far side lacks into files
    Export(BundleExportArgs),
    /// Take a bundle in, and make its generation the current one
    Import(BundleImportArgs),
}

/// Arguments of `bundle export`.
#[derive(Clone, Debug, Args)]
pub struct BundleExportArgs {
    /// The generation that the far side has, by its number, or its whole name where two have the same number; without it everything is carried
    #[arg(long, value_name = "GEN")]
    pub since: Option<String>,
    /// The directory that the bundle is written into
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The largest file, at least 1 MiB
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = part_size)]
    pub split: u64,
    /// The private key that signs
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Write over another bundle that lies in the directory
    #[arg(long)]
    pub replace: bool,
}

/// Arguments of `bundle import`.
#[derive(Clone, Debug, Args)]
pub struct BundleImportArgs {
    /// The bundle's directory
    pub dir: PathBuf,
    /// A public key whose bundles are taken; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    pub trust: Vec<PathBuf>,
    /// Take in a generation that this side has had and gone back from with `rollback`; of the one that is current, read every bottle and replace what is damaged
    #[arg(long)]
    pub again: bool,
    /// Take in what another mirror made than the one that this side was carried from until now
    #[arg(long)]
    pub other_mirror: bool,
    /// Only check that it is whole, signed and fits
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `sample-upstream`.
#[derive(Clone, Debug, Args)]
pub struct SampleUpstreamArgs {
    /// Write the public key that the sample is signed with into a file
    #[arg(long, value_name = "FILE")]
    pub write_key: Option<PathBuf>,
    /// Serve what it is a week later: some formulae are newer
    #[arg(long)]
    pub a_week_later: bool,
}

/// Arguments of `quickstart`.
#[derive(Clone, Debug, Args)]
pub struct QuickstartArgs {
    /// Leave the scratch directory behind, to look into it
    #[arg(long)]
    pub keep: bool,
}

/// Hides what a run does, and leaves where things are.
fn only_places(arg: clap::Arg) -> clap::Arg {
    const PLACES: [&str; 3] = ["api", "registry", "api_key"];
    let is_notice = arg.get_help_heading().is_some();
    match PLACES.contains(&arg.get_id().as_str()) || is_notice {
        true => arg,
        false => arg.hide(true),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    console::parse::duration(text).map_err(|error| error.to_string())
}

fn part_size(text: &str) -> Result<u64, String> {
    let size = console::parse::size(text).map_err(|error| error.to_string())?;
    match size < PART_MIN {
        true => Err("smaller than 1MiB: a bundle would be a heap of files that nobody can carry; no medium needs that".to_owned()),
        false => Ok(size),
    }
}
