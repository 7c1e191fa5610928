//! A place with a mirror, servers and a client, for the cases of `cargo xtask brew`.
//!
//! What must hold: the client runs as an ordinary user, with exactly the environment that `client-env` prints for its version, and nothing
//! of ours; every server is gone when its handle is.
//!
//! It deliberately judges nothing: what a case expects is said where the case is.

use super::USER;
use crate::run::{self, Outcome};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where a mirror is, as the tool is told.
#[derive(Clone)]
pub(super) struct Mirror {
    scratch: PathBuf,
    environment: BTreeMap<String, String>,
}

/// A client, and the mirror and the address that it is given.
pub(super) struct Site {
    pub(super) mirror: Mirror,
    pub(super) url: String,
    version: String,
    failed: Vec<String>,
    passed: usize,
}

/// A server that is killed at the end, and the first line that it printed.
pub(super) struct Server(pub(super) Child, pub(super) String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// The address at the end of its first line.
    pub(super) fn url(&self) -> String {
        let last = self.1.split_whitespace().last().unwrap_or_default();
        last.trim_end_matches('/').to_owned()
    }
}

impl Mirror {
    /// A mirror in a folder of the scratch directory, which is made.
    pub(super) fn in_folder(scratch: &Path) -> Outcome<Mirror> {
        let folder = scratch.join("mirror");
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        Ok(Mirror::at(scratch, "state", &folder.to_string_lossy()))
    }

    /// A mirror in the bucket `bottles` of an S3 server.
    pub(super) fn in_bucket(scratch: &Path, address: &str) -> Mirror {
        let mut mirror = Mirror::at(scratch, "state-of-bucket", "s3://bottles");
        let credentials = [
            ("AWS_ENDPOINT_URL_S3", format!("http://{address}")),
            ("AWS_ACCESS_KEY_ID", "AKIABREWBREWBREW0000".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "not-looked-at".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ];
        let credentials = credentials.map(|(name, value)| (name.to_owned(), value));
        mirror.environment.extend(credentials);
        mirror
    }

    fn at(scratch: &Path, state: &str, store: &str) -> Mirror {
        let place = |name: &str| scratch.join(name).to_string_lossy().into_owned();
        let environment = [
            ("HOMEBREW_SYNC_STORE", store.to_owned()),
            ("HOMEBREW_SYNC_STATE_DIR", place(state)),
            ("HOMEBREW_SYNC_API_KEY", place("key.pem")),
        ];
        Mirror {
            scratch: scratch.to_owned(),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        }
    }

    pub(super) fn tool(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.scratch.join("homebrew-sync"));
        command
            .args(args)
            .current_dir(&self.scratch)
            .envs(&self.environment);
        command
    }

    /// Brings the mirror up to date from the sample upstream, as it is now or a week later.
    pub(super) fn sync(&self, args: &[&str], is_later: bool) -> Outcome {
        let key = self.scratch.join("key.pem");
        let key = key.to_string_lossy();
        let mut serving = vec!["sample-upstream", "--write-key", &key];
        if is_later {
            serving.push("--a-week-later");
        }
        let upstream = self.start(&serving)?;
        let mut command = self.tool(&["sync", "--platform", "x86_64_linux"]);
        command.args(upstream.1.split_whitespace()).args(args);
        run::status(&mut command)
    }

    /// Serves the mirror.
    pub(super) fn serve(&self) -> Outcome<Server> {
        self.start(&["serve", "--listen", "127.0.0.1:0", "--refresh", "1s"])
    }

    fn start(&self, args: &[&str]) -> Outcome<Server> {
        start(self.tool(args))
    }

    /// Turns a bit of every bottle of a formula that lies in the folder; returns how many there are.
    pub(super) fn tamper(&self, image: &str) -> Outcome<usize> {
        let images = self.scratch.join("mirror/v2/homebrew/core");
        let blobs = images.join(image).join("blobs");
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
}

impl Site {
    /// A client that asks a mirror at an address.
    pub(super) fn new(mirror: &Mirror, url: String) -> Outcome<Site> {
        let mut site = Site {
            mirror: mirror.clone(),
            url,
            version: String::new(),
            failed: Vec::new(),
            passed: 0,
        };
        let told = run::output(site.as_user(&["--version"]).env_clear().envs(site.basic()))?;
        let first = told.lines().next().unwrap_or_default();
        let version = first.strip_prefix("Homebrew ").map(str::trim);
        // A copy without its repository's tags says ">=4.3.0 (shallow or no git repository)".
        let version = version.map(|text| text.trim_start_matches(">="));
        version
            .and_then(|text| text.split_whitespace().next())
            .ok_or_else(|| format!("the client does not tell its version: {told}"))?
            .clone_into(&mut site.version);
        println!("brew {}", site.version);
        Ok(site)
    }

    /// From now on the client asks another mirror, and holds nothing of the former.
    pub(super) fn turn_to(&mut self, mirror: &Mirror, url: String, installed: &[&str]) -> Outcome {
        self.forget(installed)?;
        remove(&self.mirror.scratch.join("home/.cache/Homebrew"))?;
        (self.mirror, self.url) = (mirror.clone(), url);
        Ok(())
    }

    /// Notes whether a case holds, and prints what the client said if it does not.
    pub(super) fn expect(&mut self, case: &str, holds: bool, said: &str) {
        println!("{} {case}", if holds { "ok  " } else { "FAIL" });
        match holds {
            true => self.passed += 1,
            false => {
                println!("{said}");
                self.failed.push(case.to_owned());
            }
        }
    }

    /// Says how many cases held; fails if one did not.
    pub(super) fn end(self) -> Outcome {
        let all = self.passed + self.failed.len();
        println!("brew {}: {} of {all} cases", self.version, self.passed);
        match self.failed.is_empty() {
            true => Ok(()),
            false => Err(format!("failed:\n  {}", self.failed.join("\n  "))),
        }
    }

    fn prefix(&self) -> PathBuf {
        self.mirror.scratch.join("brew")
    }

    /// Tells whether a version of a formula is installed.
    pub(super) fn keg(&self, path: &str) -> bool {
        self.prefix().join("Cellar").join(path).is_dir()
    }

    /// Tells whether an installed program runs and says something.
    pub(super) fn runs(&self, program: &str, says: &str) -> bool {
        let ran = Command::new(self.prefix().join("bin").join(program)).output();
        ran.is_ok_and(|ran| String::from_utf8_lossy(&ran.stdout).contains(says))
    }

    fn as_user(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
            .arg(self.prefix().join("bin/brew"))
            .args(args)
            .current_dir(self.mirror.scratch.join("home"))
            .stdin(Stdio::null());
        command
    }

    fn basic(&self) -> BTreeMap<String, String> {
        let home = self.mirror.scratch.join("home");
        let set = [
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("HOME", home.to_string_lossy().into_owned()),
            ("HOMEBREW_NO_ENV_HINTS", "1".to_owned()),
        ];
        set.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Returns the client's version.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Runs the client with exactly the environment that `client-env` prints; returns whether it succeeded, and what it said.
    pub(super) fn brew(&self, args: &[&str]) -> Outcome<(bool, String)> {
        self.brew_with(args, &[])
    }

    /// As `brew`, with more variables.
    pub(super) fn brew_with(
        &self,
        args: &[&str],
        more: &[(&str, String)],
    ) -> Outcome<(bool, String)> {
        let asked = ["client-env", "--json", "--url", &self.url, "--client"];
        let printed = run::output(self.mirror.tool(&asked).arg(&self.version))?;
        let variables: BTreeMap<String, String> =
            serde_json::from_str(&printed).map_err(|error| format!("client-env: {error}"))?;
        let mut command = self.as_user(args);
        command.env_clear().envs(self.basic()).envs(variables);
        command.envs(more.iter().map(|(name, value)| (*name, value)));
        let ran = command
            .output()
            .map_err(|error| format!("brew cannot be run: {error}"))?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned()
            + &String::from_utf8_lossy(&ran.stderr);
        Ok((ran.status.success(), text))
    }

    /// Removes formulae and what was downloaded for them.
    pub(super) fn forget(&self, formulae: &[&str]) -> Outcome {
        let mut args = vec!["uninstall", "--force", "--ignore-dependencies"];
        args.extend(formulae);
        self.brew(&args)?;
        remove(&self.mirror.scratch.join("home/.cache/Homebrew/downloads"))
    }

    /// Makes the client's own copy of the API ten minutes old, which is older than a client lets it become. Nothing of it is removed: that it
    /// is asked for anew is the client's doing, and that it is another one the server's.
    pub(super) fn age_api(&self) -> Outcome {
        let api = self.mirror.scratch.join("home/.cache/Homebrew/api");
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

    /// Waits until the server has taken up a generation; it looks every second.
    pub(super) fn wait_for_generation(&self, number: u32) -> Outcome {
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
}

fn remove(path: &Path) -> Outcome {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Starts a server and waits for the line that says where it listens.
pub(super) fn start(mut command: Command) -> Outcome<Server> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out)
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
    }
    let server = Server(child, line.trim().to_owned());
    match server.1.is_empty() {
        true => Err(format!("{name} said nothing")),
        false => Ok(server),
    }
}
