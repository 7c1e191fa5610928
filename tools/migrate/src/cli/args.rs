//! What may be typed: flags as the guide prints them, and the word `quickstart`.
//!
//! What must hold: one command line asks for one thing; clap refuses two of them together.
//!
//! What it deliberately does not do: fill in anything. What was not typed is `None`, so that [`crate::settings`] knows.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Move the files of a document application to S3 and back: verified, resumable, reversible.
///
/// Without a flag that asks for something else, it migrates everything that is still on this disk.
#[derive(Debug, Parser)]
#[command(
    name = "migrate_to_s3",
    version,
    args_conflicts_with_subcommands = true,
    after_help = super::exits::help(),
    max_term_width = 100
)]
pub struct CommandLine {
    /// A word in place of flags
    #[command(subcommand)]
    pub word: Option<Word>,
    /// What to do
    #[command(flatten)]
    pub action: ActionArgs,
    /// How to run
    #[command(flatten)]
    pub run: RunArgs,
    /// Where things are
    #[command(flatten)]
    pub place: PlaceArgs,
    /// What to print
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Words that stand in place of flags.
#[derive(Debug, Subcommand)]
pub enum Word {
    /// Try everything on a sample store of 1,000 documents, in a scratch directory
    Quickstart(QuickstartArgs),
}

/// Arguments of `quickstart`.
#[derive(Clone, Debug, Args)]
pub struct QuickstartArgs {
    /// How many documents the sample store has
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub documents: u32,
    /// Leave the scratch directory behind, to look into it
    #[arg(long)]
    pub keep: bool,
    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
    /// Print only results, warnings and errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// What is asked for. Without any of them: a migration.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What to do")]
pub struct ActionArgs {
    /// Only say what a migration (or with --delete-source a removal) would do: counts, bytes, requests, cost, time, exceptions
    #[arg(long, conflicts_with_all = ["audit_files", "verify_state", "rollback", "force_rollback", "rollback_status", "status", "test_storage"])]
    pub dry_run: bool,
    /// With --dry-run and --audit-files: do without the bucket, so that no S3 settings are needed
    #[arg(long)]
    pub no_s3: bool,
    /// Compare rows, files and objects, and list what does not fit; changes nothing
    #[arg(long, group = "what")]
    pub audit_files: bool,
    /// With --audit-files: compare lengths only, and read no file
    #[arg(long, requires = "audit_files")]
    pub no_hash: bool,
    /// With --audit-files: the default, for those who want to say so
    #[arg(
        long,
        hide = true,
        requires = "audit_files",
        conflicts_with = "no_hash"
    )]
    pub hash: bool,
    /// Compare a run's journal with the database and the bucket; changes neither
    #[arg(long, group = "what")]
    pub verify_state: bool,
    /// With --verify-state: check only this many documents, spread evenly over the run, and read their objects back
    #[arg(
        long,
        value_name = "N",
        requires = "verify_state",
        conflicts_with = "full",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub sample_size: Option<u64>,
    /// With --verify-state: read back and hash every object
    #[arg(long, requires = "verify_state")]
    pub full: bool,
    /// Undo a run: rows, files that are gone, and what it stored (but see --remove-copies); without FILE the newest run
    #[arg(long, value_name = "FILE", num_args = 0..=1, group = "what")]
    pub rollback: Option<Option<PathBuf>>,
    /// Undo the run of --state-file although its settings were others, its journal cannot be made sure of, or a later run has moved the same rows
    #[arg(long, group = "what")]
    pub force_rollback: bool,
    /// Say which runs could be undone, and how far a rollback got
    #[arg(long, group = "what")]
    pub rollback_status: bool,
    /// Say what is local, what is in S3, and how the newest run stands
    #[arg(long, group = "what")]
    pub status: bool,
    /// Try the application's bucket, below .syncline/ in it: put, get, list, delete, multipart, checksums, reading as the application does
    #[arg(long, group = "what")]
    pub test_storage: bool,
    /// Remove what a run has copied (local files, or the old bucket's objects), each after its copy was re-read and compared
    #[arg(long, group = "what")]
    pub delete_source: bool,
    /// With --delete-source: only what was migrated at least this long ago [default: 7d]
    #[arg(long, value_name = "DURATION", requires = "delete_source")]
    pub older_than: Option<String>,
    /// With --delete-source after s3-to-s3: the application reads the other bucket already, so the objects of this one may go
    #[arg(long, requires = "delete_source")]
    pub application_moved: bool,
    /// With --rollback after s3-to-s3: no application reads the other bucket (any more), so the copies in it may go; without it they stay
    #[arg(long, conflicts_with_all = ["delete_source", "verify_state", "audit_files", "rollback_status", "status", "test_storage"])]
    pub remove_copies: bool,
    /// This database is the one that the named run was over, though it or the machine was moved, or restored from a dump, or the journal came from the bucket; and no copy of it is at work: then objects may go
    #[arg(long, conflicts_with_all = ["audit_files", "rollback_status", "status", "test_storage"])]
    pub same_database: bool,
    /// With --rollback and --delete-source: none of the run's files is in the upload directory, and that is not because its disk is not mounted
    #[arg(long, conflicts_with_all = ["verify_state", "audit_files", "rollback_status", "status", "test_storage"])]
    pub files_gone: bool,
    /// Not offered: local files are removed by a later step of its own
    #[arg(long, hide = true)]
    pub delete_local: bool,
    /// The state file or journal of a run, for --verify-state, --rollback, --force-rollback and --delete-source
    #[arg(long, value_name = "FILE", requires = "what")]
    pub state_file: Option<PathBuf>,
    /// Where the files are and where they go
    #[arg(long, value_enum, default_value_t = DirectionArg::LocalToS3)]
    pub direction: DirectionArg,
    /// The store they go to, for s3-to-s3 and s3-to-local, such as "s3://bucket?region=us-west-2" or folder:/path
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
}

/// Directions of a migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DirectionArg {
    /// From the disk to the bucket
    #[default]
    LocalToS3,
    /// From the bucket back to the disk
    S3ToLocal,
    /// From the bucket to another
    S3ToS3,
}

/// How a run behaves.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "How to run")]
pub struct RunArgs {
    /// Undo the run if a copy turns out to differ from its file, or after more than --max-failures; go on with an unfinished one unasked
    #[arg(long)]
    pub enable_rollback: bool,
    /// Go on with the run of this state file or journal
    #[arg(long, value_name = "FILE", conflicts_with = "fresh_start")]
    pub resume_from: Option<PathBuf>,
    /// Go on with the unfinished run without asking
    #[arg(long, conflicts_with = "fresh_start")]
    pub resume: bool,
    /// Begin a new run; the journals of earlier ones are kept
    #[arg(long)]
    pub fresh_start: bool,
    /// How many documents are switched in one transaction [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch_size: Option<u32>,
    /// How many files are copied at once [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub parallel_uploads: Option<u32>,
    /// Send files from this size on in parts [default: 50MB]
    #[arg(long, value_name = "SIZE")]
    pub multipart_threshold: Option<String>,
    /// Stop after this many documents; a migration or its dry run only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only the documents of this user; a migration or its dry run only
    #[arg(long, value_name = "UUID")]
    pub user_id: Option<String>,
    /// Send at most this much a second, such as 20MB
    #[arg(long, value_name = "SIZE")]
    pub bandwidth: Option<String>,
    /// Stop after more failures than this; missing and truncated files do not count
    #[arg(long, value_name = "N")]
    pub max_failures: Option<u64>,
    /// How often a request that failed is sent again, and how often the run waits for a store or database that is away [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub max_retries: Option<u32>,
    /// How a copy is proved [default: checksum]
    #[arg(long, value_enum, value_name = "HOW")]
    pub verify: Option<ProofArg>,
    /// Write the report to this file, as JSON; its directory must be there. Into a device, a pipe or /dev/stdout it is written straight
    #[arg(long, value_name = "FILE", conflicts_with_all = ["status", "rollback_status", "test_storage"])]
    pub report: Option<PathBuf>,
}

/// How a copy is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProofArg {
    /// The server checks a SHA-256 checksum; where it does not, the object is read back
    Checksum,
    /// Every object is read back and hashed
    Readback,
    /// Only the size is compared
    Size,
}

/// Where things are. What is not given here comes from the application's own variables.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Where things are")]
pub struct PlaceArgs {
    /// The database [default: DATABASE_URL]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// The directory of the application's files [default: UPLOAD_PATH]
    #[arg(long, value_name = "DIR")]
    pub upload_path: Option<PathBuf>,
    /// The application's bucket as a store URL, in place of S3_BUCKET_NAME and its companions
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Where state files are kept [default: MIGRATION_STATE_DIR, else /tmp]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where a path in the database lies on this machine, such as /app/uploads=/srv/readur/uploads
    #[arg(long, value_name = "FROM=TO")]
    pub path_map: Vec<String>,
    /// Which symbolic links to follow
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = SymlinksArg::Inside)]
    pub follow_symlinks: SymlinksArg,
    /// A description of another application's tables
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// The storage class of new objects, such as STANDARD_IA
    #[arg(long, value_name = "CLASS")]
    pub storage_class: Option<String>,
    /// The server-side encryption of new objects, AES256 or aws:kms
    #[arg(long, value_name = "KIND")]
    pub sse: Option<String>,
    /// The key for --sse aws:kms
    #[arg(long, value_name = "KEY", requires = "sse")]
    pub sse_kms_key_id: Option<String>,
    /// Send no checksum headers, for stores that refuse them; copies are then read back
    #[arg(long)]
    pub no_checksum_headers: bool,
}

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SymlinksArg {
    /// None
    None,
    /// Those that stay inside the upload directory
    #[default]
    Inside,
    /// All, as the application itself does when it reads
    All,
}

/// What is printed.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
    /// Print only results, warnings and errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Show every setting with its origin, and each step
    #[arg(long, short)]
    pub verbose: bool,
    /// Print a line of progress every few seconds, also where there is no terminal
    #[arg(long)]
    pub progress: bool,
    /// When to use colour
    #[arg(long, value_enum, default_value_t = ColorArg::Auto)]
    pub color: ColorArg,
    /// Answer every question with yes
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Never ask
    #[arg(long)]
    pub no_input: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ColorArg {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}
