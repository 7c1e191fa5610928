//! The commands that are printed for a person to paste.
//!
//! What must hold: each means the same run over the same places as the command that printed it: direction, target, and every flag that
//! says where things are, quoted for a shell. A secret is never printed.
//!
//! What it deliberately does not do: repeat how a run behaves, such as `--batch-size`. A run goes on without it.

use clap::ValueEnum;
use std::borrow::Cow;
use std::path::Path;

use super::session::Session;
use crate::cli::args::SymlinksArg;
use crate::state::{Flags, Parameters};

/// Writes a word so that a shell reads it as one.
#[must_use]
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")).into(),
    }
}

/// Writes a path so that a shell reads it as one word.
#[must_use]
pub fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy()).into_owned()
}

impl Session {
    /// Writes the command that does something to a run of these parameters; `what` is written as it is.
    #[must_use]
    pub fn command(&self, what: &str, of: &Parameters, with: Flags) -> String {
        format!("migrate_to_s3{what}{}{}", of.flags(with), self.typed())
    }

    /// Returns the flags that were typed and say where things are, each with a space before it.
    #[must_use]
    pub fn typed(&self) -> String {
        let place = &self.line.place;
        let shown = |path: &Option<std::path::PathBuf>| {
            path.as_ref()
                .map(|path| path.to_string_lossy().into_owned())
        };
        let bucket = self
            .settings
            .bucket
            .as_ref()
            .filter(|_| place.store.is_some());
        let links = (place.follow_symlinks != SymlinksArg::default())
            .then(|| place.follow_symlinks.to_possible_value())
            .flatten();
        // A password in it would be shown.
        let database = place.database_url.clone();
        let database = database.filter(|url| !has_password(url));
        let pairs = [
            ("--database-url", database),
            ("--upload-path", shown(&place.upload_path)),
            (
                "--store",
                bucket.map(|bucket| bucket.value.to_config_string()),
            ),
            ("--state-dir", shown(&place.state_dir)),
            (
                "--follow-symlinks",
                links.map(|links| links.get_name().to_owned()),
            ),
            ("--mapping", shown(&place.mapping)),
            ("--storage-class", place.storage_class.clone()),
            ("--sse", place.sse.clone()),
            ("--sse-kms-key-id", place.sse_kms_key_id.clone()),
        ];
        let maps = place.path_map.iter().cloned();
        let maps = maps.map(|map| ("--path-map", Some(map)));
        let mut typed = String::new();
        for (flag, value) in pairs.into_iter().chain(maps) {
            if let Some(value) = value {
                typed.push_str(&format!(" {flag} {}", quoted(&value)));
            }
        }
        if place.no_checksum_headers {
            typed.push_str(" --no-checksum-headers");
        }
        typed
    }
}

/// Tells whether a password may be in the URL, or in the words `password=…` that stand for one. The driver takes everything up to an `@` for user and
/// password, also what no URL may have there. What is neither is a file's name.
fn has_password(url: &str) -> bool {
    let user = url
        .split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':')) || url.to_ascii_lowercase().contains("password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_what_is_meant() {
        let cases = [
            (
                "/tmp/migration_state_20241201_143022.json",
                "/tmp/migration_state_20241201_143022.json",
            ),
            ("/tmp/my state", "'/tmp/my state'"),
            ("s3://b?region=x&endpoint=y", "'s3://b?region=x&endpoint=y'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("", "''"),
        ];
        for (word, expected) in cases {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        assert!(has_password("postgres://me:secret@host/db"));
        assert!(has_password("postgres://host/db?user=me&password=secret"));
        for secret in ["pa/ss", "pa?ss", "pa#ss", "pa@ss", "p%", "pa ss"] {
            assert!(has_password(&format!("postgres://me:{secret}@host/db")));
        }
        assert!(has_password("host=h user=me password=secret"));
        assert!(!has_password("postgres://host:5432/db"));
        assert!(!has_password("postgres://me@host/db"));
        assert!(!has_password("sqlite:/var/lib/a.db"));
    }
}
