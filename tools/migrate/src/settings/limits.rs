//! Limits of a run: batches, parallelism, sizes, failures.
//!
//! What must hold: the defaults suit a small server: little memory, a few connections.
//!
//! What it deliberately does not do: enforce them; the engine does.

use std::time::Duration;

use console::{Failure, parse};

use crate::cli::args::{PlaceArgs, ProofArg, RunArgs};

/// Documents switched in one transaction.
const BATCH: u32 = 500;

/// Files copied at once.
const PARALLEL: u32 = 32;

/// From this size on a file is sent in parts.
const MULTIPART_THRESHOLD: u64 = 50_000_000;

/// The smallest part that S3 takes, and so the smallest useful threshold.
const MULTIPART_THRESHOLD_MIN: u64 = 5 * 1024 * 1024;

/// How often what failed is tried again.
const MAX_RETRIES: u32 = 5;

/// How a run behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Documents switched in one transaction.
    pub batch: usize,
    /// Files copied at once.
    pub parallel: usize,
    /// From this many bytes on a file is sent in parts.
    pub multipart_threshold: u64,
    /// Stop after this many documents.
    pub limit: Option<u64>,
    /// Bytes a second.
    pub bandwidth: Option<u64>,
    /// Stop after this many failures.
    pub max_failures: Option<u64>,
    /// How often a request is sent again, and how often the run waits.
    pub max_retries: u32,
    /// How a copy is proved.
    pub proof: ProofArg,
    /// Whether checksum headers are sent.
    pub checksum_headers: bool,
    /// The storage class of new objects.
    pub storage_class: Option<String>,
    /// The server-side encryption of new objects, and its key.
    pub sse: Option<(String, Option<String>)>,
}

impl RunLimits {
    pub(super) fn resolve(run: &RunArgs, place: &PlaceArgs) -> Result<Self, Failure> {
        let threshold = size("--multipart-threshold", run.multipart_threshold.as_deref())?;
        if let Some(given) = threshold
            && given < MULTIPART_THRESHOLD_MIN
        {
            return Err(Failure::usage(
                "--multipart-threshold is below 5 MiB, the smallest part that S3 takes",
            )
            .hint("write --multipart-threshold 50MB"));
        }
        let bandwidth = size("--bandwidth", run.bandwidth.as_deref())?;
        if bandwidth == Some(0) {
            return Err(Failure::usage("--bandwidth 0 would never end")
                .hint("leave it out for no limit, or write --bandwidth 20MB"));
        }
        Ok(Self {
            batch: run.batch_size.unwrap_or(BATCH) as usize,
            parallel: run.parallel_uploads.unwrap_or(PARALLEL) as usize,
            multipart_threshold: threshold.unwrap_or(MULTIPART_THRESHOLD),
            limit: run.limit,
            bandwidth,
            max_failures: run.max_failures,
            max_retries: run.max_retries.unwrap_or(MAX_RETRIES),
            proof: run.verify.unwrap_or(ProofArg::Checksum),
            checksum_headers: !place.no_checksum_headers,
            storage_class: place.storage_class.clone(),
            sse: place
                .sse
                .clone()
                .map(|kind| (kind, place.sse_kms_key_id.clone())),
        })
    }
}

/// Reads the grace period of `--older-than`.
///
/// # Errors
/// If it is not a duration.
pub fn older_than(typed: Option<&str>) -> Result<Duration, Failure> {
    parse::duration(typed.unwrap_or("7d")).map_err(|error| {
        Failure::usage(format!("--older-than: {}", error.what)).hint("write --older-than 7d")
    })
}

fn size(flag: &str, typed: Option<&str>) -> Result<Option<u64>, Failure> {
    typed
        .map(|text| {
            parse::size(text).map_err(|error| {
                Failure::usage(format!("{flag}: {}", error.what))
                    .hint(format!("write {flag} {}", error.example))
            })
        })
        .transpose()
}
