//! The settings chapter of the book, made from the table.
//!
//! What must hold: `docs/settings.md` is what [`settings_chapter`] returns; a test compares them.
//!
//! It deliberately holds no knowledge of its own: to change the chapter, change the table.

use console::Exit;
use console::spec::Spec;

use super::SETTINGS;

/// Renders `docs/settings.md`.
#[must_use]
pub fn settings_chapter() -> String {
    let mut text = String::from(INTRODUCTION);
    let (with_key, without_key): (Vec<&Spec>, Vec<&Spec>) =
        SETTINGS.iter().partition(|spec| spec.key.is_some());
    text.push_str(
        "| key | variable | default | takes | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for spec in with_key {
        text.push_str(&format!(
            "| `{}` | `{}` | {} | {} | {} |\n",
            spec.name(),
            spec.env,
            default(spec),
            cell(&spec.kind.to_string()),
            cell(spec.doc)
        ));
    }
    text.push_str(
        "\n## From the environment only\n\n| variable | takes | meaning |\n| --- | --- | --- |\n",
    );
    for spec in without_key {
        text.push_str(&format!(
            "| `{}` | {} | {} |\n",
            spec.env,
            cell(&spec.kind.to_string()),
            cell(spec.doc)
        ));
    }
    text.push_str(FOREIGN);
    text.push_str("\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n");
    for exit in Exit::ALL {
        text.push_str(&format!("| {} | {} |\n", exit.code(), exit.meaning()));
    }
    text
}

fn default(spec: &Spec) -> String {
    spec.default
        .map_or("not set".to_string(), |default| format!("`{default}`"))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const INTRODUCTION: &str = "\
<!-- Made from the table in tools/hx/src/settings/table.rs. To change it: change the table, then run the tests of hx with UPDATE_DOCS=1. -->

# Settings of hx

A setting can stand in four places. A flag on the command line wins over the environment, the environment over the
configuration file, the file over the default. `hx config show` prints every value with its place; `hx config validate`
names what is wrong, and the name that was probably meant.

The configuration file is `~/.config/hx/config.yaml`. A dot in a key is a level of the file:

```yaml
sync:
  store: \"s3://my-bucket/hx-sync?region=us-west-2\"
  timeout: 60s
  concurrent_uploads: 8
log_level: info
```

Durations are written `500ms`, `30s`, `30m`, `2h` or `1h30m`; a plain number is seconds. Sizes are written `128MB`
(128,000,000 bytes) or `128MiB` (134,217,728 bytes); a plain number is bytes. Switches take `true`, `false`, `yes`, `no`,
`on`, `off`, `1` and `0`.

## In the file or the environment

";

const FOREIGN: &str = "
The store also reads what other tools for S3 read: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
`AWS_PROFILE`, `AWS_REGION`, `AWS_DEFAULT_REGION`, `AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ENDPOINT_URL`,
`AWS_ENDPOINT_URL_S3`, `AWS_CA_BUNDLE`, `AWS_DISABLE_SSL`, `SSL_CERT_FILE`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
`hx config show` lists those that are set, secrets masked.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chapter_in_the_book_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
        let expected = settings_chapter();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &expected).expect("writes docs/settings.md");
        }
        let written = std::fs::read_to_string(&path).expect("docs/settings.md is there");
        assert!(
            written == expected,
            "docs/settings.md is out of date: run this test with UPDATE_DOCS=1"
        );
    }

    #[test]
    fn every_setting_is_in_it() {
        let chapter = settings_chapter();
        for spec in SETTINGS {
            assert!(chapter.contains(&format!("`{}`", spec.env)), "{}", spec.env);
        }
    }
}
