//! Changes one value of a configuration file that belongs to a person.
//!
//! What must hold: every other key keeps its value, and comments, order and layout stay wherever the change can be made
//! in one line. The result is read again before it is returned: an edit by lines that went wrong is never written.
//!
//! It deliberately does not touch the disk, and does not mend a file that is not valid.

use std::fmt;
use std::path::Path;

use serde_norway::{Mapping, Value};

use crate::config_file::ConfigFile;

/// Says why the file could not be changed.
#[derive(Debug)]
pub struct EditError(String);

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EditError {}

/// Returns the text of a YAML file with the text `value` at the key path (`sync.store`).
///
/// If the file has a form in which the value cannot be changed by lines (a flow mapping, a value over several lines), it
/// is written anew, without its comments.
///
/// # Errors
/// If the text is not a valid configuration file.
pub fn set_key(text: &str, key: &str, value: &str) -> Result<String, EditError> {
    let before = parse(text)?;
    let edited = edit_lines(text, key, value);
    if parse(&edited).is_ok_and(|after| is_the_wanted_change(&before, &after, key, value)) {
        return Ok(edited);
    }
    let rewritten = rewrite(text, key, value)?;
    if is_the_wanted_change(&before, &parse(&rewritten)?, key, value) {
        return Ok(rewritten);
    }
    Err(EditError(format!(
        "`{key}` cannot be set beside what the file holds"
    )))
}

fn parse(text: &str) -> Result<ConfigFile, EditError> {
    ConfigFile::parse(Path::new("configuration"), text).map_err(|problem| EditError(problem.what))
}

fn is_the_wanted_change(before: &ConfigFile, after: &ConfigFile, key: &str, value: &str) -> bool {
    // An empty group (`sync:`) stops being a key of its own once it has one below it.
    let is_parent = |other: &str| {
        key.strip_prefix(other)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let others = |file: &ConfigFile| -> Vec<_> {
        let keys = file
            .keys()
            .filter(|other| *other != key && !(is_parent(other) && file.get(other).is_none()));
        keys.map(|other| (other.to_string(), file.scalar(other).cloned()))
            .collect()
    };
    after.get(key) == Some(value) && others(before) == others(after)
}

fn edit_lines(text: &str, key: &str, value: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    let mut block = Block {
        start: 0,
        end: lines.len(),
        indent: 0,
    };
    let mut names = key.split('.').peekable();
    while let Some(name) = names.next() {
        let found = block.find(&lines, name);
        match (found, names.peek()) {
            (Some(line), None) => lines[line] = replaced_value(&lines[line], name, value),
            (Some(line), Some(_)) => {
                block = block.below(&lines, line);
                continue;
            }
            (None, _) => {
                let rest: Vec<&str> = std::iter::once(name).chain(names.by_ref()).collect();
                insert(&mut lines, &block, &rest, value);
            }
        }
        break;
    }
    lines.join("\n") + "\n"
}

/// The lines of one mapping and the indent of its keys.
struct Block {
    start: usize,
    end: usize,
    indent: usize,
}

impl Block {
    fn find(&self, lines: &[String], name: &str) -> Option<usize> {
        (self.start..self.end).find(|index| {
            let line = &lines[*index];
            indent_of(line) == Some(self.indent)
                && line
                    .trim_start()
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.trim_start().starts_with(':'))
        })
    }

    /// Returns the block of the keys below the key in this line.
    fn below(&self, lines: &[String], line: usize) -> Block {
        let start = line + 1;
        let deeper =
            |index: &usize| indent_of(&lines[*index]).is_none_or(|indent| indent > self.indent);
        let reach = (start..self.end)
            .take_while(deeper)
            .filter(|index| indent_of(&lines[*index]).is_some())
            .last();
        let end = reach.map_or(start, |last| last + 1);
        let indent = (start..end)
            .find_map(|index| indent_of(&lines[index]))
            .unwrap_or(self.indent + 2);
        Block { start, end, indent }
    }
}

/// Returns the indent of a line that holds something; blank lines and comments have none.
fn indent_of(line: &str) -> Option<usize> {
    let content = line.trim_start();
    (!content.is_empty() && !content.starts_with('#')).then(|| line.len() - content.len())
}

fn insert(lines: &mut Vec<String>, block: &Block, names: &[&str], value: &str) {
    let at = if block.start == 0 {
        lines.len()
    } else {
        block.start
    };
    let n_names = names.len();
    for (depth, name) in names.iter().enumerate() {
        let indent = " ".repeat(block.indent + 2 * depth);
        let content = if depth + 1 == n_names {
            format!(" {}", quoted(value))
        } else {
            String::new()
        };
        lines.insert(at + depth, format!("{indent}{name}:{content}"));
    }
}

fn replaced_value(line: &str, name: &str, value: &str) -> String {
    let indent = &line[..line.len() - line.trim_start().len()];
    let old = line
        .trim_start()
        .strip_prefix(name)
        .unwrap_or_default()
        .trim_start()
        .trim_start_matches(':');
    // A `#` behind a blank begins a comment, unless it stands within quotes; the check afterwards catches the rest.
    let comment_from = if old.trim_start().starts_with(['"', '\'']) {
        old.rfind(['"', '\'']).map_or(0, |end| end + 1)
    } else {
        0
    };
    let comment_at = old[comment_from..]
        .find(" #")
        .map(|at| old[..comment_from + at].trim_end().len());
    let comment = comment_at.map(|at| &old[at..]);
    format!(
        "{indent}{name}: {}{}",
        quoted(value),
        comment.unwrap_or_default()
    )
}

/// Every JSON string is a YAML string.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

fn rewrite(text: &str, key: &str, value: &str) -> Result<String, EditError> {
    let error = |error: serde_norway::Error| EditError(error.to_string());
    let mut tree: Value = serde_norway::from_str(text).map_err(error)?;
    let mut node = &mut tree;
    for name in key.split('.') {
        if !node.is_mapping() {
            *node = Value::Mapping(Mapping::new());
        }
        let Value::Mapping(entries) = node else {
            return Err(EditError("not a mapping".to_string()));
        };
        node = entries.entry(Value::from(name)).or_insert(Value::Null);
    }
    *node = Value::from(value);
    serde_norway::to_string(&tree).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "s3://b/p?region=eu#1";

    fn check(before: &str, after: &str) {
        assert_eq!(set_key(before, "sync.store", URL).expect("edits"), after);
    }

    #[test]
    fn a_value_is_replaced_in_its_line() {
        check(
            "# mine\nsync:\n    timeout: 5s # short\n    store: folder:/x   # the old one\n\nlog_level: debug\n",
            "# mine\nsync:\n    timeout: 5s # short\n    store: \"s3://b/p?region=eu#1\"   # the old one\n\nlog_level: debug\n",
        );
        check(
            "sync:\n  store: \"a # b\" # c\n",
            "sync:\n  store: \"s3://b/p?region=eu#1\" # c\n",
        );
    }

    #[test]
    fn a_missing_key_is_added_to_its_group() {
        check("", "sync:\n  store: \"s3://b/p?region=eu#1\"\n");
        check(
            "log_level: info",
            "log_level: info\nsync:\n  store: \"s3://b/p?region=eu#1\"\n",
        );
        check(
            "sync:\n   # about\n   timeout: 5s\nhost: a\n",
            "sync:\n   store: \"s3://b/p?region=eu#1\"\n   # about\n   timeout: 5s\nhost: a\n",
        );
        check(
            "sync:\nhost: a\n",
            "sync:\n  store: \"s3://b/p?region=eu#1\"\nhost: a\n",
        );
    }

    #[test]
    fn a_key_of_another_group_is_left_alone() {
        check(
            "other:\n  store: x\nsync:\n  deep:\n    store: y\n",
            "other:\n  store: x\nsync:\n  store: \"s3://b/p?region=eu#1\"\n  deep:\n    store: y\n",
        );
    }

    #[test]
    fn other_forms_are_written_anew_with_every_value() {
        for text in [
            "sync: {timeout: 5s, store: a}\nhost: h\n",
            "sync:\n  timeout: 5s\n  store: >-\n    a\n    b\nhost: h\n",
            "{\"sync\": {\"timeout\": \"5s\"}, \"host\": \"h\"}",
        ] {
            let after = parse(&set_key(text, "sync.store", URL).expect("edits")).expect("valid");
            assert_eq!(
                (
                    after.get("sync.store"),
                    after.get("sync.timeout"),
                    after.get("host")
                ),
                (Some(URL), Some("5s"), Some("h"))
            );
        }
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        for text in ["sync: [", "- a\n", "sync: 5\n"] {
            assert!(set_key(text, "sync.store", URL).is_err(), "{text}");
        }
    }

    #[test]
    fn windows_line_ends_and_documents_survive() {
        let after = set_key(
            "---\r\nsync:\r\n  store: a\r\n  timeout: 5s\r\n",
            "sync.store",
            URL,
        )
        .expect("edits");
        let after = parse(&after).expect("valid");
        assert_eq!(
            (after.get("sync.store"), after.get("sync.timeout")),
            (Some(URL), Some("5s"))
        );
    }
}
