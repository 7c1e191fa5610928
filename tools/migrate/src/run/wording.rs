//! The remedies of a store's errors in the words of the person's own settings: who set `S3_…` variables is told of those.
//!
//! What must hold: a remedy is replaced by the kind of the error, never by its text; what was typed as a store URL keeps the words
//! for store URLs; the command that goes on stays below the remedy.
//!
//! What it deliberately does not do: change message, causes or exit code.

use console::{Failure, Origin};

use crate::cli::args::DirectionArg;
use crate::settings::Settings;

/// Whose words are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// The bucket came out of the application's variables, its keys too.
    Variables,
    /// The bucket did, and its keys out of the AWS credential chain.
    VariablesAndChain,
    /// A store URL was typed, or there are two stores.
    Url,
}

impl Wording {
    /// Finds out where the bucket's settings come from.
    #[must_use]
    pub fn of(settings: &Settings) -> Wording {
        let is_typed = settings
            .bucket
            .as_ref()
            .is_none_or(|bucket| matches!(bucket.origin, Origin::Argument(_)));
        if is_typed || settings.direction == DirectionArg::S3ToS3 {
            return Wording::Url;
        }
        let has = |name: &str| settings.environment.get(name).is_some();
        match has("S3_ACCESS_KEY_ID") && has("S3_SECRET_ACCESS_KEY") {
            true => Wording::Variables,
            false => Wording::VariablesAndChain,
        }
    }

    /// Puts a failure's remedy into those words.
    #[must_use]
    pub fn apply(self, failure: Failure) -> Failure {
        let Some(remedy) = failure.kind_name().and_then(|kind| self.remedy(kind)) else {
            return failure;
        };
        let next = failure.hint_text().and_then(|hint| {
            let (_, next) = hint.split_once('\n')?;
            Some(next.to_owned())
        });
        failure.hint(match next {
            Some(next) => format!("{remedy}\n{next}"),
            None => remedy.to_owned(),
        })
    }

    fn remedy(self, kind: &str) -> Option<&'static str> {
        if kind == "not-found" {
            // The store's own speaks of another tool's files.
            return Some(
                "it was deleted, or has not arrived yet: run the command again; if it stays missing, --audit-files says whose it was",
            );
        }
        if self == Wording::Url && kind != "timeout" {
            return None;
        }
        Some(match kind {
            "credentials" if self == Wording::Variables => {
                "check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, of which the application uses the same"
            }
            "credentials" => {
                "set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY as for the application, or check what the AWS credential chain finds \
                 (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a role)"
            }
            "no-bucket" => {
                "create the bucket, or correct S3_BUCKET_NAME (and S3_ENDPOINT_URL, if the store is not AWS)"
            }
            "wrong-region" => "set S3_REGION to the region of the bucket",
            "connection" => {
                "check S3_ENDPOINT_URL, that the service runs, and that no firewall or proxy is in the way; then run the command again"
            }
            "timeout" => {
                "check the network and any proxy; on a slow line let the run wait longer and send less at once: --max-retries 20 --parallel-uploads 4"
            }
            "dns" => {
                "check the spelling of S3_ENDPOINT_URL (or S3_REGION), and that this machine is online"
            }
            _ => return None,
        })
    }
}
