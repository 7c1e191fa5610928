//! The guides' command lines as data: one TOML file a guide, in `xtask/guides/`.
//!
//! A guide is a list of blocks, as it prints them; a block is a set-up and its lines in order. A
//! line is kept exactly as printed, also over several lines, and says what must be seen. The
//! guides' prose is not here. What must hold: every field that can be misspelt is checked when the
//! file is read, so that a line is never silently not tested.

use crate::run::{self, Outcome};
use serde::Deserialize;
use std::fs;
use std::path::PathBuf;

/// One guide.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guide {
    /// The guide's file name without its ending.
    pub(crate) guide: String,
    /// The tool most of its lines are for.
    pub(crate) tool: Tool,
    /// The blocks, in the guide's order.
    #[serde(rename = "block")]
    pub(crate) blocks: Vec<Block>,
}

/// The tools the guides speak of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tool {
    /// Shell history.
    Hx,
    /// `migrate_to_s3`.
    Migrate,
    /// `homebrew-sync`.
    Bottles,
    /// `memory-sync`, by the guide's script.
    Memory,
}

impl Tool {
    /// Whether the tool exists, so that its lines are run.
    pub(crate) fn is_built(self) -> bool {
        !matches!(self, Tool::Memory)
    }

    /// What the names of its set-ups begin with.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Tool::Migrate => "readur-",
            Tool::Bottles => "bottles-",
            _ => "",
        }
    }
}

/// Lines that a guide prints together, run one after another in one world.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Block {
    /// Where in the guide it stands, by its headings.
    pub(crate) section: String,
    /// The name of a script in `xtask/guides/setup/`, less the tool's prefix, that makes the world of the block.
    #[serde(default = "fresh")]
    pub(crate) setup: String,
    /// Readur's documents have every trap among them.
    #[serde(default)]
    pub(crate) traps: bool,
    /// The store the set-up uses when it needs one.
    #[serde(default)]
    pub(crate) store: String,
    /// How the reader's shell is given credentials.
    #[serde(default)]
    pub(crate) credentials: Credentials,
    /// Traffic goes through the forward proxy, because a line names a real or a fixed host.
    #[serde(default)]
    pub(crate) proxy: bool,
    /// Variables of the world that the set-up has and the lines have not.
    #[serde(default)]
    pub(crate) withhold: Vec<String>,
    /// Placeholders that the guide's reader replaces, from the list in `world.rs`.
    #[serde(default)]
    pub(crate) fill: Vec<String>,
    /// The lines.
    #[serde(rename = "line")]
    pub(crate) lines: Vec<Line>,
}

fn fresh() -> String {
    "fresh".into()
}

/// Where credentials come from in a block.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Credentials {
    /// In the environment from the start.
    #[default]
    Environment,
    /// In `~/.aws`, under the profiles the guides name.
    Profile,
    /// Nowhere, until a line sets them.
    None,
}

/// One command line, as printed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// The text.
    pub(crate) run: String,
    /// What it is.
    #[serde(default)]
    pub(crate) kind: Kind,
    /// The exit codes that are right.
    #[serde(default = "success")]
    pub(crate) exit: Vec<i32>,
    /// Texts that must be in the output, in any case of letters.
    #[serde(default)]
    pub(crate) seen: Vec<String>,
    /// Texts that must not be in it.
    #[serde(default)]
    pub(crate) unseen: Vec<String>,
    /// A command that shows the effect of the line, run after it in the same shell.
    #[serde(default)]
    pub(crate) probe: Option<String>,
    /// What the reader types instead, because the shell spoils the line as printed; it is run after it.
    #[serde(default)]
    pub(crate) remedy: Option<String>,
    /// What a reader of the report should know.
    #[serde(default)]
    pub(crate) note: Option<String>,
}

fn success() -> Vec<i32> {
    vec![0]
}

/// What a line is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A command of one of our tools.
    #[default]
    Command,
    /// A setting: an `export` that a tool of ours must obey.
    Setting,
    /// A command of the AWS client on things our tool makes.
    Aws,
    /// A command on a tool's cloud side, which does not exist yet: counted, and not run.
    Cloud,
    /// A command by which the reader looks at what our tool works on, such as `psql`, `find` or `docker logs`.
    Check,
    /// The shell's part of a procedure: run, and not counted.
    Step,
    /// A command on the world outside, such as the reader's own server: neither run nor counted; its note says why.
    Outside,
}

impl Block {
    /// Whether any of its lines is run, so that it needs a world.
    pub(crate) fn is_run(&self) -> bool {
        let is_run = |line: &Line| !matches!(line.kind, Kind::Cloud | Kind::Outside);
        self.lines.iter().any(is_run)
    }
}

impl Line {
    /// Whether the line counts as one of ours.
    pub(crate) fn is_counted(&self) -> bool {
        !matches!(self.kind, Kind::Step | Kind::Outside)
    }

    /// Whether the guide prints it; a step may be ours.
    pub(crate) fn is_printed(&self) -> bool {
        self.kind != Kind::Step
    }

    /// Whether it sets a variable of `hx` itself.
    pub(crate) fn is_hx_setting(&self) -> bool {
        self.kind == Kind::Setting && self.run.starts_with("export HX_")
    }
}

/// The folder of the data.
pub(crate) fn folder() -> PathBuf {
    run::root().join("xtask").join("guides")
}

/// Reads all guides, in the order of their names.
pub(crate) fn read_all() -> Outcome<Vec<Guide>> {
    let entries = fs::read_dir(folder()).map_err(|error| format!("xtask/guides: {error}"))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| {
        path.extension().is_some_and(|end| end == "toml") && !path.ends_with("floor.toml")
    });
    paths.sort();
    let mut guides = Vec::new();
    for path in paths {
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let guide: Guide =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        check(&guide).map_err(|why| format!("{}: {why}", path.display()))?;
        guides.push(guide);
    }
    Ok(guides)
}

fn check(guide: &Guide) -> Outcome {
    for block in &guide.blocks {
        let script = format!("{}{}.sh", guide.tool.prefix(), block.setup);
        let script = folder().join("setup").join(script);
        if guide.tool.is_built() && block.is_run() && !script.exists() {
            return Err(format!(
                "section {}: there is no set-up {}",
                block.section, block.setup
            ));
        }
        if block.lines.is_empty() {
            return Err(format!("section {}: a block without lines", block.section));
        }
        if guide.tool == Tool::Hx {
            check_settings(block)?;
        }
        let unexplained = |line: &&Line| line.kind == Kind::Outside && line.note.is_none();
        if let Some(line) = block.lines.iter().find(unexplained) {
            return Err(format!(
                "section {}: no note says why it is not run: {}",
                block.section, line.run
            ));
        }
    }
    Ok(())
}

/// A setting has to be shown by something: its own variable in `hx config show`, a probe, or a later command.
fn check_settings(block: &Block) -> Outcome {
    for (at, line) in block
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.kind == Kind::Setting)
    {
        let later = block.lines[at..]
            .iter()
            .any(|line| line.kind == Kind::Command);
        if line.probe.is_none() && !line.is_hx_setting() && !later {
            return Err(format!(
                "section {}: nothing shows the effect of {}",
                block.section, line.run
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_can_be_read_and_covers_five_guides() {
        let guides = read_all().expect("the data is well formed");
        let names: Vec<&str> = guides.iter().map(|guide| guide.guide.as_str()).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        for guide in &guides {
            let lines = guide.blocks.iter().flat_map(|block| &block.lines);
            assert!(
                lines.filter(|line| line.is_counted()).count() > 10,
                "{}",
                guide.guide
            );
        }
    }

    #[test]
    fn a_misspelt_field_is_an_error() {
        let text = "guide = \"g\"\ntool = \"hx\"\n[[block]]\nsection = \"s\"\n[[block.line]]\nrun = \"hx\"\nexpect = 1\n";
        assert!(toml::from_str::<Guide>(text).is_err());
    }
}
