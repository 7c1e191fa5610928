//! Plays one block: its set-up, then its lines in order, each in a shell of its own.
//!
//! What must hold: a line is run by `bash` exactly as printed, with the settings printed above it in
//! the same block; it works only when the exit code and the output are what the data says. Nothing
//! is retried.

use super::data::{Block, Kind, Line, Tool};
use super::world::{Scene, World};
use crate::run::Outcome;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The longest a line may take.
const LINE_SECONDS_MAX: u64 = 120;

/// What became of a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It did what the data says.
    Works,
    /// It did not, with the reason.
    Fails(String),
    /// Its tool does not exist yet.
    NotBuilt,
}

/// What a shell did.
struct Played {
    exit: i32,
    output: String,
}

/// Plays a block; returns a verdict for each of its counted lines, in order.
pub(crate) fn block(world: &World, tool: Tool, block: &Block) -> Vec<Verdict> {
    let counted = block.lines.iter().filter(|line| line.is_counted()).count();
    if !block.is_run() {
        return vec![Verdict::NotBuilt; counted];
    }
    let all_fail = |why: String| vec![Verdict::Fails(why); counted];
    let scene = match world.scene(tool, block) {
        Ok(scene) => scene,
        Err(why) => return all_fail(format!("no world: {why}")),
    };
    if let Err(why) = set_up(&scene, block).and_then(|()| scene.give_credentials(block)) {
        return all_fail(format!("the set-up {} failed: {why}", block.setup));
    }
    lines(world, &scene, block)
}

fn set_up(scene: &Scene, block: &Block) -> Outcome {
    let scripts = scene.setup_scripts(block);
    let sourced = scripts.map(|script| format!(". '{}'\n", script.display()));
    let script = format!("set -euo pipefail\n{}", sourced.concat());
    let played = shell(scene, &script, &scene.for_setup())?;
    if played.exit == 0 {
        Ok(())
    } else {
        Err(tail(&played.output))
    }
}

fn lines(world: &World, scene: &Scene, block: &Block) -> Vec<Verdict> {
    let environment = scene.for_lines(block);
    let mut settings = String::new();
    let mut verdicts: Vec<Verdict> = Vec::new();
    // Settings that a later command of the block has to show.
    let mut waiting: Vec<usize> = Vec::new();
    let mut broken: Option<String> = None;
    for line in block.lines.iter().filter(|line| line.kind != Kind::Outside) {
        let text = world.fill(&line.run, scene, block);
        let verdict = match &broken {
            _ if line.kind == Kind::Cloud => Verdict::NotBuilt,
            Some(why) => Verdict::Fails(why.clone()),
            None => play(scene, line, &settings, &text, &environment),
        };
        if line.kind == Kind::Setting {
            settings.push_str(&text);
            settings.push('\n');
        }
        if line.kind == Kind::Step {
            if let Verdict::Fails(why) = verdict {
                broken = Some(format!("`{}` failed: {why}", line.run));
            }
            continue;
        }
        verdicts.push(verdict.clone());
        match line.kind {
            Kind::Setting if line.probe.is_none() && !line.is_hx_setting() => {
                waiting.push(verdicts.len() - 1)
            }
            Kind::Command => {
                for setting in waiting.drain(..).filter(|_| verdict != Verdict::Works) {
                    verdicts[setting] =
                        Verdict::Fails("the command that shows it does not work".into());
                }
            }
            _ => {}
        }
    }
    if let (Some(why), Some(last)) = (broken, verdicts.last_mut()) {
        // A step after the last line is part of the procedure too.
        *last = Verdict::Fails(why);
    }
    verdicts
}

fn play(
    scene: &Scene,
    line: &Line,
    settings: &str,
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Verdict {
    let default_probe = "hx config validate && hx config show".to_owned();
    let probe = line
        .probe
        .clone()
        .or_else(|| line.is_hx_setting().then_some(default_probe));
    let script = match &probe {
        Some(probe) => format!("{settings}{text}\ncode=$?\n[ $code = 0 ] || exit $code\n{probe}\n"),
        None => format!("{settings}{text}\n"),
    };
    let mut seen = line.seen.clone();
    if line.is_hx_setting() && line.probe.is_none() {
        seen.extend(text.split([' ', '=']).nth(1).map(str::to_owned));
    }
    let played = match &line.remedy {
        Some(_) => shell_with_watch(scene, &script, environment),
        None => shell(scene, &script, environment),
    };
    let verdict = played.map_or_else(Verdict::Fails, |played| judge(&played, line, &seen));
    match (&verdict, &line.remedy) {
        (Verdict::Works, Some(remedy)) => {
            let script = format!("{settings}{remedy}\n");
            match shell(scene, &script, environment) {
                Ok(played) if played.exit == 0 => Verdict::Works,
                Ok(played) => Verdict::Fails(format!("`{remedy}` fails: {}", tail(&played.output))),
                Err(why) => Verdict::Fails(why),
            }
        }
        _ => verdict,
    }
}

fn judge(played: &Played, line: &Line, seen: &[String]) -> Verdict {
    if !line.exit.contains(&played.exit) {
        return Verdict::Fails(format!(
            "it exits with {}: {}",
            played.exit,
            tail(&played.output)
        ));
    }
    let output = played.output.to_lowercase();
    if let Some(missing) = seen
        .iter()
        .find(|text| !output.contains(&text.to_lowercase()))
    {
        return Verdict::Fails(format!(
            "the output lacks `{missing}`: {}",
            tail(&played.output)
        ));
    }
    if let Some(present) = line
        .unseen
        .iter()
        .find(|text| output.contains(&text.to_lowercase()))
    {
        return Verdict::Fails(format!("the output must not hold `{present}`"));
    }
    Verdict::Works
}

/// As [`shell`], with the exit code of `hx` although the line runs it in the background.
fn shell_with_watch(
    scene: &Scene,
    script: &str,
    environment: &BTreeMap<String, String>,
) -> Outcome<Played> {
    let mut environment = environment.clone();
    let watched = scene.folder().join("watched");
    environment
        .entry("PATH".into())
        .and_modify(|path| *path = format!("{}:{path}", watched.display()));
    let mut played = shell(scene, &format!("{script}wait\n"), &environment)?;
    let exit = fs::read_to_string(scene.folder().join("exit-of-hx"))
        .map_err(|_| "hx was not run".to_owned())?;
    played.exit = exit
        .trim()
        .parse()
        .map_err(|_| "hx left no exit code".to_owned())?;
    Ok(played)
}

fn shell(scene: &Scene, script: &str, environment: &BTreeMap<String, String>) -> Outcome<Played> {
    let path = scene.folder().join("output");
    let run = || -> std::io::Result<Played> {
        let file = File::create(&path)?;
        let mut child = scene
            .bash(script)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let deadline = Instant::now() + Duration::from_secs(LINE_SECONDS_MAX);
        let exit = loop {
            if let Some(status) = child.try_wait()? {
                break status.code().unwrap_or(-1);
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                return Err(std::io::Error::other(format!(
                    "it takes more than {LINE_SECONDS_MAX} s"
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Ok(Played {
            exit,
            output: String::from_utf8_lossy(&fs::read(&path)?).into_owned(),
        })
    };
    run().map_err(|error| error.to_string())
}

/// The end of an output, on one line.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let from = lines.len().saturating_sub(4);
    if lines.is_empty() {
        "it prints nothing".into()
    } else {
        lines[from..].join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(more: &str) -> Line {
        toml::from_str(&format!("run = \"hx\"\n{more}")).expect("a line")
    }

    fn played(exit: i32, output: &str) -> Played {
        Played {
            exit,
            output: output.into(),
        }
    }

    #[test]
    fn exit_code_and_output_decide() {
        let wants = line("exit = [0, 3]\nseen = [\"Pushed\"]\nunseen = [\"secret\"]\n");
        assert_eq!(
            judge(&played(3, "PUSHED 3"), &wants, &wants.seen),
            Verdict::Works
        );
        for (exit, output) in [(1, "pushed"), (0, "nothing"), (0, "pushed a secret")] {
            assert!(
                matches!(
                    judge(&played(exit, output), &wants, &wants.seen),
                    Verdict::Fails(_)
                ),
                "{output}"
            );
        }
    }

    #[test]
    fn the_tail_is_short_and_never_empty() {
        assert_eq!(tail("a\n\nb\nc\nd\ne\n"), "b | c | d | e");
        assert_eq!(tail("\n"), "it prints nothing");
    }
}
