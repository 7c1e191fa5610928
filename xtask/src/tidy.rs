//! `cargo xtask tidy`: rules for the tree that no compiler checks.
//!
//! Every source file says what it is for; functions and files stay short; nothing is left open;
//! nothing names this machine or a registry's host; every crate is on the map. Exceptions stand in
//! one list with a reason each. The rules also run as a test of this crate.

use crate::run::{self, Outcome};
use std::fs;
use std::path::Path;

/// Lines a function may have.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines that nine functions in ten may have.
const FUNCTION_LINES_P90: usize = 40;
/// Lines a file may have, tests included.
const FILE_LINES_MAX: usize = 600;

/// Files that may break a rule, with the reason.
const EXCEPTIONS: [(&str, Rule, &str); 2] = [
    (
        "xtask/src/tidy.rs",
        Rule::Word,
        "names the words it forbids",
    ),
    (
        "Cargo.lock",
        Rule::Word,
        "cargo writes the registry's name into it",
    ),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rule {
    Word,
    Header,
    Length,
    Environment,
    Map,
}

/// A breach of a rule in a file.
#[derive(Debug)]
struct Breach {
    file: String,
    rule: Rule,
    what: String,
}

/// Checks every file that git tracks or would track.
pub(crate) fn run() -> Outcome {
    let breaches = check_tree()?;
    if breaches.is_empty() {
        println!("tidy: headers, lengths, words and the map are as they should be");
        return Ok(());
    }
    let lines: Vec<String> = breaches
        .iter()
        .map(|breach| format!("  {}: {}", breach.file, breach.what))
        .collect();
    Err(format!(
        "{} breaches of the rules for the tree:\n{}",
        lines.len(),
        lines.join("\n")
    ))
}

fn check_tree() -> Outcome<Vec<Breach>> {
    let root = run::root();
    let mut git = std::process::Command::new("git");
    git.current_dir(&root)
        .args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let mut breaches = Vec::new();
    let mut lengths = Vec::new();
    for file in run::output(&mut git)?.lines() {
        // A removed file is listed until its removal is committed; a binary file has no text.
        let Ok(text) = fs::read_to_string(root.join(file)) else {
            continue;
        };
        breaches.extend(check_words(file, &text));
        if file.ends_with(".rs") {
            breaches.extend(check_source(file, &text, &mut lengths));
        }
    }
    breaches.extend(check_distribution(lengths));
    breaches.extend(check_map(&root));
    breaches.retain(|breach| !is_excepted(breach));
    Ok(breaches)
}

fn is_excepted(breach: &Breach) -> bool {
    EXCEPTIONS
        .iter()
        .any(|(file, rule, _)| breach.file == *file && breach.rule == *rule)
}

fn breach(file: &str, rule: Rule, what: impl Into<String>) -> Breach {
    Breach {
        file: file.to_owned(),
        rule,
        what: what.into(),
    }
}

/// Words that must not appear in any file, in pieces where they would be found in this one.
const WORDS: [(&str, &str); 12] = [
    (concat!("todo", "!("), "is left open"),
    (concat!("unimplemented", "!("), "is left open"),
    (concat!("#[", "ignore"), "switches a test off"),
    ("crates.io", "names a registry"),
    ("pypi.org", "names a registry"),
    ("pythonhosted.org", "names a registry"),
    ("registry.npmjs", "names a registry"),
    ("deb.debian.org", "names a registry"),
    (concat!("/work", "/main"), "is a path of one machine"),
    (concat!("/work", "/shared"), "is a path of one machine"),
    (concat!("/work", "/steering"), "is a path of one machine"),
    (concat!("/root", "/."), "is a path of one machine"),
];

fn check_words(file: &str, text: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (word, why) in WORDS {
            if line.contains(word) {
                breaches.push(breach(
                    file,
                    Rule::Word,
                    format!("line {}: `{word}` {why}", number + 1),
                ));
            }
        }
    }
    breaches
}

fn check_source(file: &str, text: &str, lengths: &mut Vec<usize>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if !text.starts_with("//!") {
        breaches.push(breach(
            file,
            Rule::Header,
            "does not begin by saying what it is for (`//!`)",
        ));
    }
    let count = text.lines().count();
    if count > FILE_LINES_MAX {
        breaches.push(breach(
            file,
            Rule::Length,
            format!("has {count} lines, more than {FILE_LINES_MAX}"),
        ));
    }
    for (name, lines) in functions(text) {
        lengths.push(lines);
        if lines > FUNCTION_LINES_MAX {
            let what = format!("function {name} has {lines} lines, more than {FUNCTION_LINES_MAX}");
            breaches.push(breach(file, Rule::Length, what));
        }
    }
    breaches.extend(check_environment(file, text));
    breaches
}

/// Library crates get what they need as arguments; only `console` may read the environment.
fn check_environment(file: &str, text: &str) -> Option<Breach> {
    let library = ["crates/store/src", "crates/vault/src"]
        .iter()
        .any(|dir| file.starts_with(dir))
        || (file.starts_with("crates/console/src") && !file.ends_with("/env.rs"));
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let reads = !file.ends_with("tests.rs") && code.contains("env::var");
    (library && reads).then(|| {
        breach(
            file,
            Rule::Environment,
            "reads the environment; only console's env.rs does",
        )
    })
}

fn check_distribution(mut lengths: Vec<usize>) -> Option<Breach> {
    lengths.sort_unstable();
    let p90 = lengths.get(lengths.len() * 9 / 10).copied().unwrap_or(0);
    let what = format!(
        "a tenth of all functions have {p90} lines or more; the limit is {FUNCTION_LINES_P90}"
    );
    (p90 > FUNCTION_LINES_P90).then(|| breach("the tree", Rule::Length, what))
}

/// Names and lengths of the functions of a file that rustfmt has formatted.
///
/// A function ends at the first closing brace that is indented as its first line is.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.ends_with('}') {
            found.push((name, 1));
            continue;
        }
        let closing = format!("{indent}}}");
        let declared = format!("{indent})");
        let end = lines[start + 1..].iter().position(|next| {
            **next == closing
                || (next.starts_with(&declared) && next.ends_with(';'))
                || line.ends_with(';')
        });
        if let Some(end) = end {
            found.push((name, end + 2));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut rest = line.trim_start();
    for word in [
        "pub(crate) ",
        "pub(super) ",
        "pub(in",
        "pub ",
        "const ",
        "async ",
        "unsafe ",
        "extern \"C\" ",
    ] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(rest[..end].to_owned())
}

/// Every package of ours is named in the architecture's map.
fn check_map(root: &Path) -> Vec<Breach> {
    let Ok(map) = fs::read_to_string(root.join("ARCHITECTURE.md")) else {
        return vec![breach("ARCHITECTURE.md", Rule::Map, "is missing")];
    };
    let mut breaches = Vec::new();
    for parent in ["crates", "tools"] {
        let entries = fs::read_dir(root.join(parent))
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries.filter(|entry| entry.path().join("Cargo.toml").exists()) {
            let path = format!("{parent}/{}", entry.file_name().to_string_lossy());
            if !map.contains(&path) {
                breaches.push(breach(
                    "ARCHITECTURE.md",
                    Rule::Map,
                    format!("does not name {path}"),
                ));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let breaches = check_tree().expect("git lists the files");
        let lines: Vec<String> = breaches
            .iter()
            .map(|breach| format!("{}: {}", breach.file, breach.what))
            .collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }

    #[test]
    fn a_function_is_measured_from_its_first_line_to_its_brace() {
        let text = "fn one() {}\n\npub(crate) async fn two(\n    a: u8,\n) -> u8 {\n    if a > 1 {\n    }\n    a\n}\n\
                    trait T {\n    fn three();\n    fn four(\n        &self,\n    ) -> u8;\n}\n";
        let found = functions(text);
        assert_eq!(found[0], ("one".to_owned(), 1));
        assert_eq!(found[1], ("two".to_owned(), 7));
        assert!(found.iter().all(|(_, lines)| *lines < 8), "{found:?}");
    }

    #[test]
    fn long_functions_and_files_are_breaches() {
        let long = format!(
            "//! Header.\nfn long() {{\n{}}}\n",
            "    x();\n".repeat(FUNCTION_LINES_MAX)
        );
        let mut lengths = Vec::new();
        assert_eq!(check_source("a.rs", &long, &mut lengths).len(), 1);
        assert_eq!(lengths, [FUNCTION_LINES_MAX + 2]);
        let big = format!("//! Header.\n{}", "// line\n".repeat(FILE_LINES_MAX));
        assert_eq!(check_source("a.rs", &big, &mut lengths).len(), 1);
        assert!(check_distribution(vec![41; 10]).is_some());
        assert!(check_distribution(vec![40; 10]).is_none());
    }

    #[test]
    fn a_missing_header_and_a_banned_word_are_breaches() {
        assert_eq!(
            check_source("a.rs", "fn f() {}\n", &mut Vec::new()).len(),
            1
        );
        assert_eq!(
            check_words("a.md", &format!("see {}main/x", "/work/")).len(),
            1
        );
        assert!(check_words("a.md", "all is well").is_empty());
    }

    #[test]
    fn only_the_console_reads_the_environment() {
        let reading = "//! H.\nfn f() { std::env::var(\"X\"); }\n";
        assert!(check_environment("crates/vault/src/a.rs", reading).is_some());
        assert!(check_environment("crates/console/src/env.rs", reading).is_none());
        assert!(check_environment("tools/hx/src/main.rs", reading).is_none());
    }
}
