//! Finds the lines of ours in a guide, so that none can be missing from the data.
//!
//! Only the shell's fenced blocks and the code in checklists are read. A command that goes on over
//! several lines, by a backslash, an open quote or an `if`, is one line here. The guides lie beside
//! the checkout only where the project is developed; elsewhere the check has nothing to read.

use super::data::{Guide, Tool};
use crate::run::{self, Outcome};
use std::collections::BTreeMap;
use std::fs;

/// Compares the data with the guides beside the checkout; returns what is missing or superfluous.
pub(crate) fn differences(guides: &[Guide]) -> Outcome<Option<Vec<String>>> {
    let Some(folder) = run::root()
        .parent()
        .map(|parent| parent.join("shared").join("guides"))
    else {
        return Ok(None);
    };
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut all = Vec::new();
    for guide in guides {
        let path = folder.join(format!("{}.md", guide.guide));
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        all.extend(compare(guide, &text));
    }
    Ok(Some(all))
}

fn compare(guide: &Guide, text: &str) -> Vec<String> {
    // How often the guide prints a line, less how often the data has it.
    let mut balance: BTreeMap<String, i64> = BTreeMap::new();
    for line in ours(guide.tool, text) {
        *balance.entry(line).or_default() += 1;
    }
    for line in guide
        .blocks
        .iter()
        .flat_map(|block| &block.lines)
        .filter(|line| line.is_printed())
    {
        *balance.entry(line.run.trim_end().to_owned()).or_default() -= 1;
    }
    let name = &guide.guide;
    balance
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .map(|(line, count)| match count {
            1.. => format!("{name}: the data lacks {count} of: {line}"),
            _ => format!("{name}: the guide does not print: {line}"),
        })
        .collect()
}

/// The lines of a guide that one of our tools must make work, as printed and in order.
pub(crate) fn ours(tool: Tool, text: &str) -> Vec<String> {
    statements(text)
        .into_iter()
        .filter(|statement| is_ours(tool, statement))
        .collect()
}

fn is_ours(tool: Tool, statement: &str) -> bool {
    let starts = |words: &[&str]| words.iter().any(|word| statement.starts_with(word));
    match tool {
        Tool::Hx => {
            starts(&[
                "hx ",
                "HX_",
                "export HX_",
                "export AWS_",
                "export SSL_CERT_FILE",
                "export HTTP",
            ]) || starts(&["export NO_PROXY"])
        }
        Tool::Memory => {
            statement.contains("memory_sync.sh")
                || starts(&["export SYNC_", "export REMOTE_MEMORY_", "export TAG_"])
        }
        Tool::Migrate => {
            // All of this guide's commands: those that are not ours to make work say so in the data.
            true
        }
        Tool::Bottles => {
            let aws =
                statement.contains("aws ") || starts(&["docker ", "homebrew-sync", "terraform "]);
            aws && (statement.contains("homebrew") || starts(&["terraform "]))
        }
    }
}

/// All commands of the shell's blocks, and the code in checklists.
fn statements(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<(usize, String)> = None;
    let mut other_fence = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        match (&mut block, trimmed.strip_prefix("```")) {
            (Some(_), Some(_)) => found.extend(
                block
                    .take()
                    .map(|(_, inside)| split(&inside))
                    .unwrap_or_default(),
            ),
            (Some((margin, inside)), None) => {
                inside.push_str(line.get((*margin).min(indent)..).unwrap_or(""));
                inside.push('\n');
            }
            (None, Some(_)) if other_fence => other_fence = false,
            (None, Some("bash" | "sh")) => block = Some((indent, String::new())),
            (None, Some(_)) => other_fence = true,
            (None, None) if !other_fence && trimmed.starts_with("- ") => {
                found.extend(inline_code(trimmed))
            }
            (None, None) => {}
        }
    }
    found
}

fn inline_code(line: &str) -> Vec<String> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Splits a block into commands; comments and empty lines go.
fn split(block: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut open = String::new();
    for line in block.lines() {
        if open.is_empty() && (line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        if !open.is_empty() {
            open.push('\n');
        }
        open.push_str(line.trim_end());
        if is_complete(&open) {
            statements.push(std::mem::take(&mut open));
        }
    }
    if !open.is_empty() {
        statements.push(open);
    }
    statements
}

fn is_complete(statement: &str) -> bool {
    if statement.ends_with('\\') {
        return false;
    }
    let has = |word: &str| statement.lines().any(|line| line.trim() == word);
    if statement.starts_with("if ") && !has("fi") {
        return false;
    }
    quotes_are_closed(statement)
}

/// Whether every quote of the shell is closed; a comment's apostrophe does not count.
fn quotes_are_closed(statement: &str) -> bool {
    let mut quote = None;
    let mut before = ' ';
    let mut chars = statement.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => {
                // The rest of the line is a comment.
                for skipped in chars.by_ref() {
                    if skipped == '\n' {
                        break;
                    }
                }
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None | Some('"'), '\\') => drop(chars.next()),
            _ => {}
        }
        before = c;
    }
    quote.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Title\n```bash\n# a comment\nhx sync push\nls\nhx export \\\n  --file x\n```\n\
                        ```json\n{\"hx \": 1}\n```\n1. list\n   ```bash\n   hx sync pull   # it's a comment\n   ```\n\
                        - Version (`hx --version`)\n- prose `ls`\n";

    #[test]
    fn lines_of_ours_are_found_as_printed() {
        let expected = [
            "hx sync push",
            "hx export \\\n  --file x",
            "hx sync pull   # it's a comment",
            "hx --version",
        ];
        assert_eq!(ours(Tool::Hx, TEXT), expected);
    }

    #[test]
    fn a_quote_and_an_if_go_on_over_lines() {
        let block = "psql -c \\\n  \"DELETE\n   x;\"\nif ! a; then\n  b\nfi\nc 'x\ny'\n";
        assert_eq!(
            split(block),
            [
                "psql -c \\\n  \"DELETE\n   x;\"",
                "if ! a; then\n  b\nfi",
                "c 'x\ny'"
            ]
        );
    }

    #[test]
    fn a_missing_and_a_superfluous_line_are_named() {
        let data = "guide = \"g\"\ntool = \"hx\"\n[[block]]\nsection = \"s\"\n[[block.line]]\nrun = \"hx sync push\"\n\
                    [[block.line]]\nrun = \"hx invented\"\n";
        let guide: Guide = toml::from_str(data).expect("data");
        let found = compare(&guide, TEXT);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(
            found
                .iter()
                .any(|line| line.contains("does not print: hx invented"))
        );
        assert!(
            found
                .iter()
                .any(|line| line.contains("lacks 1 of: hx --version"))
        );
    }
}
