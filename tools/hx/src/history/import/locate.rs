//! Where shells keep their histories.
//!
//! What must hold: only files that exist, each once, the one that `HISTFILE` names first.
//!
//! What it deliberately does not do: read the environment (it is handed in), or open the files.

use std::path::{Path, PathBuf};

/// The history files of a person whose home directory is `home`.
pub fn find_history_files<'a>(env: impl Fn(&str) -> Option<&'a str>, home: &Path) -> Vec<PathBuf> {
    once_each(history_places(env, home))
}

/// Where a person's history files would be, whether or not they are.
pub fn history_places<'a>(env: impl Fn(&str) -> Option<&'a str>, home: &Path) -> Vec<PathBuf> {
    let variable = |name: &str| {
        env(name)
            .filter(|value| !value.is_empty())
            .map(|value| expand(value, home))
    };
    let mut candidates: Vec<PathBuf> = variable("HISTFILE").into_iter().collect();
    let zsh = variable("ZDOTDIR").into_iter().chain([home.to_owned()]);
    candidates.extend(zsh.flat_map(|directory| {
        [".zsh_history", ".zhistory", ".histfile"].map(|name| directory.join(name))
    }));
    candidates.push(home.join(".bash_history"));
    let data = variable("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
    candidates.extend(fish_files(&data.join("fish"), env("fish_history")));
    candidates.extend(fish_files(&home.join(".config/fish"), None));
    candidates
}

/// fish keeps one file a history name, the usual one first.
fn fish_files(directory: &Path, named: Option<&str>) -> Vec<PathBuf> {
    let mut files = vec![directory.join("fish_history")];
    files.extend(
        named
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .map(|name| directory.join(format!("{name}_history"))),
    );
    files
}

fn expand(value: &str, home: &Path) -> PathBuf {
    match value.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => home.join(value),
    }
}

fn once_each(candidates: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = std::collections::HashSet::new();
    candidates
        .into_iter()
        .filter(|path| {
            path.is_file() && seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone()))
        })
        .collect()
}
