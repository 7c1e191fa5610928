//! A usage error of the command line's parser as a failure.
//!
//! What must hold: the sentence that says what is wrong becomes the message, the parser's tip the hint.
//!
//! It deliberately reads the rendered text, so that this crate needs no parser of command lines.

use super::Failure;

impl Failure {
    /// Makes a failure of the text that `clap` renders for a usage error; `program` names the tool in the hint.
    #[must_use]
    pub fn from_usage_text(text: &str, program: &str) -> Self {
        let mut paragraphs = text.split("\n\n").map(str::trim);
        let message = paragraphs.next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let mut hint = None;
        let mut usage = None;
        for paragraph in paragraphs {
            if let Some(tip) = paragraph.strip_prefix("tip: ") {
                hint = hint.or(Some(
                    tip.lines().next().unwrap_or_default().trim().to_owned(),
                ));
            } else if let Some(line) = paragraph.strip_prefix("Usage: ") {
                usage = usage.or(line.lines().next());
            }
        }
        let hint = hint.unwrap_or_else(|| match usage {
            Some(line) => {
                format!("The command line looks like this: `{line}`. `--help` says more.")
            }
            None => format!("`{program} --help` lists the commands."),
        });
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Self::usage(message).kind("usage").hint(hint)
    }
}
