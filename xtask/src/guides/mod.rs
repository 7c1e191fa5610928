//! `cargo xtask guides`: runs every command line of the guides as printed, and counts.
//!
//! It prints `N of M lines work as printed` for each guide and in all, and each line that does not
//! work with the reason; lines of tools that do not exist yet count as not working. It fails when a
//! line of a tool that exists fails, when fewer lines work than the floor says, or when the guides
//! beside the checkout print a line of ours that the data lacks.

mod bottles;
mod data;
mod extract;
mod play;
mod readur;
pub(crate) mod world;

use crate::run::{self, Outcome};
use data::{Block, Guide, Kind, Line, Tool};
use play::Verdict;
use std::collections::BTreeMap;
use std::fs;
use world::World;

#[derive(Debug, Default)]
struct Options {
    only: Option<String>,
    list: bool,
    no_build: bool,
}

/// Runs the guides.
pub(crate) fn run(args: &[String]) -> Outcome {
    let options = parse(args)?;
    let guides = data::read_all()?;
    if options.list {
        list(&guides);
        return Ok(());
    }
    let mut breaches = missing_lines(&guides)?;
    if !options.no_build {
        build()?;
    }
    let floor = read_floor()?;
    let world = World::start()?;
    let mut counts = BTreeMap::new();
    for guide in &guides {
        let verdicts = play_guide(&world, guide, options.only.as_deref());
        let works = verdicts
            .iter()
            .filter(|(_, verdict)| *verdict == Verdict::Works)
            .count();
        if verdicts.is_empty() {
            continue;
        }
        println!(
            "{}: {works} of {} lines work as printed",
            guide.guide,
            verdicts.len()
        );
        let failing = report(guide, &verdicts);
        list_outside(guide, options.only.as_deref());
        // A guide without a floor promises nothing yet.
        if floor.get(&guide.guide).is_some_and(|least| *least > 0) {
            breaches.extend(failing);
        }
        counts.insert(guide.guide.clone(), (works, verdicts.len()));
    }
    print_totals(&guides, &counts);
    if options.only.is_none() {
        breaches.extend(below_floor(&floor, &counts));
    }
    if breaches.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "the guides are not kept:\n  {}",
            breaches.join("\n  ")
        ))
    }
}

/// Builds the programs.
fn build() -> Outcome {
    build_programs(&["hx", "testkit-proxy", "testkit-s3", "testkit-readur"])?;
    for program in ["migrate_to_s3", "homebrew-sync"] {
        if let Err(why) = build_programs(&[program]) {
            // Its lines fail then, and the floor says whether that matters; the other tools' lines are still worth running.
            eprintln!("warning: {why}");
        }
    }
    Ok(())
}

fn build_programs(names: &[&str]) -> Outcome {
    // The example brings the features that tests have, so that nothing is compiled twice.
    let mut args = vec!["build", "--quiet", "--workspace", "--example", "sim"];
    args.extend(names.iter().flat_map(|name| ["--bin", name]));
    run::command("cargo", &args)
}

fn parse(args: &[String]) -> Outcome<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--only" => options.only = Some(args.next().ok_or("--only needs a text")?.clone()),
            "--list" => options.list = true,
            "--no-build" => options.no_build = true,
            _ => {
                return Err(format!(
                    "{arg} is unknown; there are --only TEXT, --list and --no-build"
                ));
            }
        }
    }
    Ok(options)
}

fn list(guides: &[Guide]) {
    for guide in guides {
        for block in &guide.blocks {
            for line in block.lines.iter().filter(|line| line.is_counted()) {
                println!("{} [{}]: {}", guide.guide, block.section, line.run.trim());
            }
        }
        list_outside(guide, None);
    }
}

/// Prints the lines that are not ours to make work, each with the reason.
fn list_outside(guide: &Guide, only: Option<&str>) {
    for block in guide
        .blocks
        .iter()
        .filter(|block| is_wanted(guide, block, only))
    {
        for line in block.lines.iter().filter(|line| line.kind == Kind::Outside) {
            let why = line.note.as_deref().unwrap_or_default();
            println!("  not ours: {}\n      {why}", on_one_line(&line.run));
        }
    }
}

fn missing_lines(guides: &[Guide]) -> Outcome<Vec<String>> {
    let found = extract::differences(guides)?;
    match &found {
        None => println!(
            "The guides do not lie beside the checkout: the data is not compared with them."
        ),
        Some(differences) if differences.is_empty() => {
            println!("The data holds every line of ours that the guides print.")
        }
        Some(_) => {}
    }
    Ok(found.unwrap_or_default())
}

/// Whether a block is among those asked for by a part of the guide's name, of its heading or of a line.
fn is_wanted(guide: &Guide, block: &Block, only: Option<&str>) -> bool {
    only.is_none_or(|text| {
        guide.guide.contains(text)
            || block.section.contains(text)
            || block.lines.iter().any(|line| line.run.contains(text))
    })
}

fn play_guide<'a>(world: &World, guide: &'a Guide, only: Option<&str>) -> Vec<(&'a Line, Verdict)> {
    let mut verdicts = Vec::new();
    for block in &guide.blocks {
        if !is_wanted(guide, block, only) {
            continue;
        }
        let counted = block.lines.iter().filter(|line| line.is_counted());
        let played = if guide.tool.is_built() {
            play::block(world, guide.tool, block)
        } else {
            vec![Verdict::NotBuilt; counted.clone().count()]
        };
        verdicts.extend(counted.zip(played));
    }
    verdicts
}

/// Prints what does not work, and what the shell does; returns the lines that must work and do not.
fn report(guide: &Guide, verdicts: &[(&Line, Verdict)]) -> Vec<String> {
    let mut breaches = Vec::new();
    for (line, verdict) in verdicts {
        let text = on_one_line(&line.run);
        match verdict {
            Verdict::Works => {
                if let Some(note) = line
                    .note
                    .as_ref()
                    .filter(|note| note.contains("shell's doing"))
                {
                    println!("  note: {text}\n      {note}");
                }
            }
            Verdict::NotBuilt => println!("  not built yet: {text}"),
            Verdict::Fails(why) => {
                println!("  fails: {text}\n      {why}");
                breaches.push(format!("{}: {text}", guide.guide));
            }
        }
    }
    breaches
}

/// A line as printed, with its continuations folded.
fn on_one_line(text: &str) -> String {
    let parts = text
        .lines()
        .map(|line| line.trim().trim_end_matches('\\').trim_end());
    parts
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn print_totals(guides: &[Guide], counts: &BTreeMap<String, (usize, usize)>) {
    let sum = |tool: Option<Tool>| {
        let wanted = guides
            .iter()
            .filter(|guide| tool.is_none_or(|tool| guide.tool == tool));
        wanted
            .filter_map(|guide| counts.get(&guide.guide))
            .fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    };
    let tools = [
        ("hx", Tool::Hx),
        ("migrate_to_s3", Tool::Migrate),
        ("homebrew-sync", Tool::Bottles),
    ];
    for (name, tool) in tools {
        let (works, all) = sum(Some(tool));
        println!("{name}: {works} of {all} lines work as printed");
    }
    let (works, all) = sum(None);
    println!("All guides: {works} of {all} lines work as printed");
}

fn read_floor() -> Outcome<BTreeMap<String, usize>> {
    let path = data::folder().join("floor.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The counts must never shrink.
fn below_floor(
    floor: &BTreeMap<String, usize>,
    counts: &BTreeMap<String, (usize, usize)>,
) -> Vec<String> {
    let mut breaches = Vec::new();
    for (guide, least) in floor {
        let works = counts.get(guide).map_or(0, |count| count.0);
        if works < *least {
            breaches.push(format!(
                "{guide}: {works} lines work, and {least} did before (floor.toml)"
            ));
        }
        if works > *least {
            println!(
                "{guide}: {works} lines work; raise its floor of {least} in xtask/guides/floor.toml"
            );
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_matches_the_guides_beside_the_checkout() {
        let guides = data::read_all().expect("the data");
        // Elsewhere there are no guides to compare with, and the data alone is checked.
        let differences = extract::differences(&guides)
            .expect("the guides can be read")
            .unwrap_or_default();
        assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    }

    #[test]
    fn both_guides_of_hx_have_commands_and_settings() {
        let guides = data::read_all().expect("the data");
        let of_hx: Vec<&Guide> = guides
            .iter()
            .filter(|guide| guide.tool == Tool::Hx)
            .collect();
        assert_eq!(of_hx.len(), 2);
        for guide in of_hx {
            let mut lines = guide.blocks.iter().flat_map(|block| &block.lines);
            assert!(
                lines.any(|line| line.kind == data::Kind::Command),
                "{}",
                guide.guide
            );
            assert!(
                lines.any(|line| line.kind == data::Kind::Setting),
                "{}",
                guide.guide
            );
        }
    }

    #[test]
    fn a_count_below_the_floor_is_a_breach() {
        let counts = |works| BTreeMap::from([("guide".to_owned(), (works, 9))]);
        let floor = BTreeMap::from([("guide".to_owned(), 5)]);
        assert!(below_floor(&floor, &counts(5)).is_empty());
        assert!(below_floor(&floor, &counts(6)).is_empty());
        assert_eq!(below_floor(&floor, &counts(4)).len(), 1);
        assert_eq!(
            below_floor(&floor, &BTreeMap::new()).len(),
            1,
            "a guide cannot vanish"
        );
    }

    #[test]
    fn the_floor_knows_every_guide() {
        let guides = data::read_all().expect("the data");
        let floor = read_floor().expect("the floor");
        assert!(guides.iter().all(|guide| floor.contains_key(&guide.guide)));
    }
}
