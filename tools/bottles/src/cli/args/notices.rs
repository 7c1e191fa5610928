//! What may be typed about notices. Secrets are never typed: whoever lists processes would read them.

use crate::notices::NoticeKind;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Who is told of runs.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Who is told of it")]
pub struct NoticeArgs {
    /// The file that has the address of a Slack webhook, bare or as JSON with webhook_url [env: HOMEBREW_SYNC_SLACK_WEBHOOK (the address), ..._FILE, or ..._COMMAND that prints it]
    #[arg(long, value_name = "FILE")]
    pub slack_webhook_file: Option<PathBuf>,
    /// The file that has the address of a webhook that takes JSON [env: HOMEBREW_SYNC_WEBHOOK, ..._FILE, ..._COMMAND]
    #[arg(long, value_name = "FILE")]
    pub webhook_file: Option<PathBuf>,
    /// The file that has the key that the webhook's bodies are signed with, by HMAC-SHA256 [env: HOMEBREW_SYNC_WEBHOOK_KEY, ..._FILE, ..._COMMAND]
    #[arg(long, value_name = "FILE")]
    pub webhook_key_file: Option<PathBuf>,
    /// The file that has smtps://USER:PASSWORD@HOST, or smtp:// for STARTTLS [env: HOMEBREW_SYNC_SMTP, ..._FILE, ..._COMMAND]
    #[arg(long, value_name = "FILE")]
    pub smtp_file: Option<PathBuf>,
    /// Who gets mail; may be given several times [env: HOMEBREW_SYNC_MAIL_TO, commas between them]
    #[arg(long, value_name = "ADDRESS")]
    pub mail_to: Vec<String>,
    /// Whom mail comes from [env: HOMEBREW_SYNC_MAIL_FROM] [default: the first who gets it]
    #[arg(long, value_name = "ADDRESS")]
    pub mail_from: Option<String>,
    /// Which notices, with commas between them: start, progress, success, failure, warning [env: HOMEBREW_SYNC_NOTIFY] [default: all; mail has no start and no progress]
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub notify: Vec<NoticeKind>,
    /// How often a run says how far it is [env: HOMEBREW_SYNC_PROGRESS_EVERY] [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = super::duration)]
    pub progress_every: Option<Duration>,
}
