//! `cargo xtask brew --checkout DIR`: the real client installs from a mirror, as an ordinary user, in a network namespace that has
//! loopback and nothing else.
//!
//! What must hold: the client is the checkout's own code; only its public key is another one, because the sample upstream cannot sign
//! with Homebrew's. What a case expects is looked for in what the client did, not in what it said, where that can be.
//!
//! It deliberately changes nothing in the checkout: it works on a copy.

use crate::packages;
use crate::run::{self, Outcome};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `nobody`: brew refuses to run as root.
const USER: &str = "65534";

/// The word by which this program calls itself inside of the namespace.
const INSIDE: &str = "--inside";

/// Runs all cases.
pub(crate) fn run(args: &[String]) -> Outcome {
    match args {
        [flag, dir] if flag == "--checkout" => prepare(Path::new(dir)),
        [flag, scratch] if flag == INSIDE => cases(Path::new(scratch)),
        _ => Err("say where the client is: cargo xtask brew --checkout DIR (a checkout of Homebrew/brew at tag 4.3.0)".to_owned()),
    }
}

fn prepare(checkout: &Path) -> Outcome {
    if !checkout.join("Library/Homebrew/brew.sh").is_file() {
        return Err(format!(
            "{} is no checkout of Homebrew/brew",
            checkout.display()
        ));
    }
    if !packages::works(Command::new("ruby").arg("--version")) {
        packages::install("Ruby", [&["ruby"]; 4])?;
    }
    run::command("cargo", &["build", "-p", "bottles"])?;
    let scratch = tempfile::tempdir().map_err(|error| format!("no scratch directory: {error}"))?;
    let place = scratch.path();
    run::status(
        Command::new("cp")
            .arg("-a")
            .arg(checkout)
            .arg(place.join("brew")),
    )?;
    let program = run::target_dir()?.join("debug/homebrew-sync");
    fs::copy(&program, place.join("homebrew-sync"))
        .map_err(|error| format!("{}: {error}", program.display()))?;
    fs::create_dir(place.join("home")).map_err(|error| error.to_string())?;
    let key = run::root().join("tools/bottles/src/sample/public.pem");
    fs::copy(&key, place.join("brew/Library/Homebrew/api/homebrew-1.pem"))
        .map_err(|error| format!("{}: {error}", key.display()))?;
    run::status(
        Command::new("chown")
            .arg("-R")
            .arg(USER)
            .args([place.join("brew"), place.join("home")]),
    )?;
    run::status(Command::new("chmod").arg("755").arg(place))?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    run::status(
        Command::new("unshare")
            .args(["--net", "--pid", "--fork", "--kill-child"])
            .arg(own)
            .args(["brew", INSIDE])
            .arg(place),
    )
}

struct Site<'s> {
    scratch: &'s Path,
    url: String,
    failed: Vec<String>,
    passed: usize,
}

/// A server that is killed at the end, and the first line that it printed.
struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cases(scratch: &Path) -> Outcome {
    run::status(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    sync(scratch, &["--formula", "wget", "--formula", "gtk+"], false)?;
    let server = start(
        scratch,
        &["serve", "--listen", "127.0.0.1:0", "--refresh", "1s"],
    )?;
    let url = server
        .1
        .split_whitespace()
        .last()
        .unwrap_or_default()
        .trim_end_matches('/')
        .to_owned();
    let mut site = Site {
        scratch,
        url,
        failed: Vec::new(),
        passed: 0,
    };

    let (is_ok, text) = site.brew(&["install", "wget"])?;
    site.expect(
        "a formula with dependencies, one of them with @ in its name",
        is_ok
            && site.runs("wget", "1.24.5")
            && site.keg("openssl@3/3.3.0")
            && site.keg("ca-certificates/2024-03-11"),
        &text,
    );
    let (is_ok, text) = site.brew(&["install", "gtk+"])?;
    site.expect(
        "a name with +, a revision, a dependency with a rebuild",
        is_ok && site.keg("gtk+/2.24.33_1") && site.keg("oniguruma/6.9.9"),
        &text,
    );

    let (is_ok, text) = site.brew(&["install", "tree"])?;
    let misses = run::output(&mut site.tool(&["misses"]))?;
    site.expect(
        "a formula that is not mirrored fails, and is among the misses",
        !is_ok && !site.keg("tree/2.1.1") && misses.contains("/tree/"),
        &format!("{text}\n{misses}"),
    );

    generations(&mut site)?;

    site.forget(&["wget"])?;
    let touched = site.tamper("wget")?;
    let (is_ok, text) = site.brew(&["install", "wget"])?;
    site.expect(
        "a bottle that was tampered with is refused",
        touched == 1 && !is_ok && !site.keg("wget/1.24.5"),
        &text,
    );
    drop(server);
    println!(
        "brew: {} of {} cases",
        site.passed,
        site.passed + site.failed.len()
    );
    match site.failed.is_empty() {
        true => Ok(()),
        false => Err(format!("failed:\n  {}", site.failed.join("\n  "))),
    }
}

/// The mirror goes on to another generation, and back.
fn generations(site: &mut Site<'_>) -> Outcome {
    // The client reads the API when it begins; by the time that it fetches, the mirror is a generation on.
    site.forget(&["gtk+", "jq", "oniguruma"])?;
    sync(site.scratch, &[], true)?;
    let (is_ok, text) = site.brew(&["install", "jq"])?;
    site.expect(
        "a client that holds the old API installs the old bottle from the new generation",
        is_ok && site.keg("jq/1.7.1"),
        &text,
    );
    site.forget(&["jq", "oniguruma"])?;
    site.age_api()?;
    let (is_ok, text) = site.brew(&["install", "jq"])?;
    site.expect(
        "a client whose API has grown old refreshes it by itself and installs the new bottle",
        is_ok && site.keg("jq/1.8.0"),
        &text,
    );

    site.forget(&["jq", "oniguruma"])?;
    run::output(&mut site.tool(&["rollback"]))?;
    site.wait_for_generation(1)?;
    site.age_api()?;
    let (is_ok, text) = site.brew(&["install", "jq"])?;
    site.expect(
        "after a rollback a client installs what was before",
        is_ok && site.keg("jq/1.7.1"),
        &text,
    );
    Ok(())
}

impl Site<'_> {
    fn expect(&mut self, case: &str, holds: bool, said: &str) {
        println!("{} {case}", if holds { "ok  " } else { "FAIL" });
        match holds {
            true => self.passed += 1,
            false => {
                println!("{said}");
                self.failed.push(case.to_owned());
            }
        }
    }

    fn prefix(&self) -> PathBuf {
        self.scratch.join("brew")
    }

    fn keg(&self, path: &str) -> bool {
        self.prefix().join("Cellar").join(path).is_dir()
    }

    fn runs(&self, program: &str, says: &str) -> bool {
        let ran = Command::new(self.prefix().join("bin").join(program)).output();
        ran.is_ok_and(|ran| String::from_utf8_lossy(&ran.stdout).contains(says))
    }

    /// Runs the client with exactly the environment that `client-env` prints; returns whether it succeeded, and what it said.
    fn brew(&self, args: &[&str]) -> Outcome<(bool, String)> {
        let printed = run::output(&mut self.tool(&[
            "client-env",
            "--json",
            "--url",
            &self.url,
            "--client",
            "4.3.0",
        ]))?;
        let variables: std::collections::BTreeMap<String, String> =
            serde_json::from_str(&printed).map_err(|error| format!("client-env: {error}"))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
            .arg(self.prefix().join("bin/brew"))
            .args(args);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.scratch.join("home"))
            .env("HOMEBREW_NO_ENV_HINTS", "1");
        command
            .envs(variables)
            .current_dir(self.scratch.join("home"))
            .stdin(Stdio::null());
        let ran = command
            .output()
            .map_err(|error| format!("brew cannot be run: {error}"))?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned()
            + &String::from_utf8_lossy(&ran.stderr);
        Ok((ran.status.success(), text))
    }

    /// Removes formulae and what was downloaded for them.
    fn forget(&self, formulae: &[&str]) -> Outcome {
        let mut args = vec!["uninstall", "--force", "--ignore-dependencies"];
        args.extend(formulae);
        self.brew(&args)?;
        remove(&self.scratch.join("home/.cache/Homebrew/downloads"))
    }

    /// Makes the client's own copy of the API ten minutes old, which is older than a client lets it become. Nothing of it is removed: that it
    /// is asked for anew is the client's doing, and that it is another one the server's.
    fn age_api(&self) -> Outcome {
        let api = self.scratch.join("home/.cache/Homebrew/api");
        run::status(Command::new("find").arg(api).args([
            "-name",
            "*.json",
            "-exec",
            "touch",
            "-d",
            "-10 minutes",
            "{}",
            "+",
        ]))
    }

    /// Turns a bit of every stored bottle of a formula; returns how many there are.
    fn tamper(&self, image: &str) -> Outcome<usize> {
        let blobs = self
            .scratch
            .join("mirror/v2/homebrew/core")
            .join(image)
            .join("blobs");
        let entries =
            fs::read_dir(&blobs).map_err(|error| format!("{}: {error}", blobs.display()))?;
        let mut count = 0;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            let mut bytes = fs::read(&path).map_err(|error| error.to_string())?;
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            fs::write(&path, bytes).map_err(|error| error.to_string())?;
            count += 1;
        }
        Ok(count)
    }

    /// Waits until the server has taken up a generation; it looks every second.
    fn wait_for_generation(&self, number: u32) -> Outcome {
        let wanted = format!("ok {number:08}-");
        for _ in 0..200 {
            let health = run::output(Command::new("curl").args([
                "--silent",
                "--retry",
                "3",
                &format!("{}/health", self.url),
            ]))?;
            if health.starts_with(&wanted) {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Err(format!("the server did not take up generation {number}"))
    }

    fn tool(&self, args: &[&str]) -> Command {
        tool(self.scratch, args)
    }
}

fn remove(path: &Path) -> Outcome {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn tool(scratch: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(scratch.join("homebrew-sync"));
    command
        .args(args)
        .current_dir(scratch)
        .env("HOMEBREW_SYNC_STORE", scratch.join("mirror"))
        .env("HOMEBREW_SYNC_STATE_DIR", scratch.join("state"));
    command.env("HOMEBREW_SYNC_API_KEY", scratch.join("key.pem"));
    command
}

/// Brings the mirror up to date from the sample upstream, as it is now or a week later.
fn sync(scratch: &Path, args: &[&str], is_later: bool) -> Outcome {
    fs::create_dir_all(scratch.join("mirror")).map_err(|error| error.to_string())?;
    let key = scratch.join("key.pem");
    let key = key.to_string_lossy();
    let mut serving = vec!["sample-upstream", "--write-key", &key];
    if is_later {
        serving.push("--a-week-later");
    }
    let upstream = start(scratch, &serving)?;
    let mut command = tool(scratch, &["sync", "--platform", "x86_64_linux"]);
    command.args(upstream.1.split_whitespace()).args(args);
    run::status(&mut command)
}

/// Starts a server and waits for the line that says where it listens.
fn start(scratch: &Path, args: &[&str]) -> Outcome<Server> {
    let mut command = tool(scratch, args);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("homebrew-sync: {error}"))?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out)
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
    }
    let server = Server(child, line.trim().to_owned());
    match server.1.is_empty() {
        true => Err(format!("homebrew-sync {} said nothing", args.join(" "))),
        false => Ok(server),
    }
}
