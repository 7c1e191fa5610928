//! The world a guide's lines run in: an S3 server, a proxy for real host names, a home folder.
//!
//! What must hold: nothing leaves this machine and nothing outside a scratch folder changes; the
//! environment is made from nothing, so that the developer's own settings neither help nor harm; a
//! block finds empty buckets, whatever ran before it.

use super::bottles::{self, Upstream};
use super::data::{Block, Credentials, Tool};
use super::readur::{Container, INSIDE, Servers};
use crate::http;
use crate::run::{self, Outcome};
use crate::tools;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The buckets the guides name.
const BUCKETS: [&str; 10] = [
    "your-hx-sync-bucket",
    "my-hx-sync",
    "my-bucket",
    "bucket",
    "your-bucket",
    "new-bucket",
    "shared-bucket",
    "hx-sync",
    "my-wasabi-bucket",
    bottles::BUCKET,
];

/// Domains below which a bucket may stand as a sub-domain.
const DOMAINS: [&str; 4] = [
    "s3.wasabisys.com",
    "s3.amazonaws.com",
    "s3.us-west-2.amazonaws.com",
    "s3.us-east-1.amazonaws.com",
];

/// The servers, for all blocks.
pub(crate) struct World {
    moto: Child,
    proxy: Child,
    s3_address: String,
    proxy_url: String,
    ca: PathBuf,
    programs: PathBuf,
    /// What only the bottles' guide needs; started with its first block.
    upstream: RefCell<Option<Upstream>>,
    /// What only the migration guide needs; started with its first block.
    readur: RefCell<Option<Servers>>,
}

/// A scratch folder with a home, for one block.
pub(crate) struct Scene {
    // Before the folder: what still runs in it must end first.
    container: Option<Container>,
    tool: Tool,
    folder: TempDir,
    environment: BTreeMap<String, String>,
}

impl World {
    /// Starts the servers; the programs must have been built.
    pub(crate) fn start() -> Outcome<World> {
        let mut moto = Command::new(tools::moto()?);
        moto.arg("-u")
            .arg(run::root().join("crates/testkit/src/start_moto.py"))
            .env("S3_IGNORE_SUBDOMAIN_BUCKETNAME", "true")
            .stderr(Stdio::piped());
        let (moto, line) = start(moto, " * Running on http://")?;
        let s3_address = line.trim_end_matches('/').to_owned();
        let programs = run::target_dir()?.join("debug");
        let mut proxy = Command::new(programs.join("testkit-proxy"));
        proxy
            .args(["--upstream", &s3_address])
            .stdout(Stdio::piped());
        for domain in DOMAINS {
            proxy.args(["--bucket-domain", domain]);
        }
        let (proxy, line) = start(proxy, "listening ")?;
        let (address, ca) = line
            .split_once(' ')
            .ok_or("the proxy names no certificate")?;
        let (proxy_url, ca) = (format!("http://{address}"), PathBuf::from(ca));
        Ok(World {
            moto,
            proxy,
            s3_address,
            proxy_url,
            ca,
            programs,
            upstream: RefCell::new(None),
            readur: RefCell::new(None),
        })
    }

    /// Makes a world for a block of a tool's guide.
    pub(crate) fn scene(&self, tool: Tool, block: &Block) -> Outcome<Scene> {
        if tool == Tool::Bottles {
            return self.scene_of_bottles(block);
        }
        if tool != Tool::Migrate {
            return self.scene_on_moto(tool, block);
        }
        let mut readur = self.readur.borrow_mut();
        let servers = match readur.take() {
            Some(servers) => servers,
            None => Servers::start()?,
        };
        readur.insert(servers).scene(block)
    }

    /// As [`World::scene_on_moto`], with the AWS client and an upstream to mirror.
    fn scene_of_bottles(&self, block: &Block) -> Outcome<Scene> {
        let mut scene = self.scene_on_moto(Tool::Bottles, block)?;
        let mut upstream = self.upstream.borrow_mut();
        let started = match upstream.take() {
            Some(started) => started,
            None => Upstream::start(&self.programs)?,
        };
        let environment = upstream.insert(started).environment();
        scene.environment.extend(environment);
        Ok(scene)
    }

    /// Empties the S3 server and makes a scratch folder.
    fn scene_on_moto(&self, tool: Tool, block: &Block) -> Outcome<Scene> {
        self.reset()?;
        let folder = tempfile::Builder::new().prefix("syncline-guide-").tempdir();
        let folder = folder.map_err(|error| format!("a scratch folder: {error}"))?;
        let scene = Scene {
            container: None,
            tool,
            environment: self.environment(folder.path(), block),
            folder,
        };
        scene
            .furnish(&self.programs)
            .map_err(|error| format!("{}: {error}", scene.folder.path().display()))?;
        Ok(scene)
    }

    fn reset(&self) -> Outcome {
        http::ask(&self.s3_address, "POST", "/moto-api/reset", b"")?;
        for bucket in BUCKETS {
            let (status, _) = http::ask(&self.s3_address, "PUT", &format!("/{bucket}"), b"")?;
            if status != 200 {
                return Err(format!("making the bucket {bucket} gives {status}"));
            }
        }
        Ok(())
    }

    /// What the set-up of a block has; its lines may have less.
    fn environment(&self, folder: &Path, block: &Block) -> BTreeMap<String, String> {
        let shown = |path: &Path| path.display().to_string();
        let mut pairs = vec![
            ("HOME", shown(&folder.join("home"))),
            (
                "PATH",
                format!(
                    "{}:/usr/local/bin:/usr/bin:/bin",
                    shown(&folder.join("bin"))
                ),
            ),
            ("TMPDIR", shown(&folder.join("tmp"))),
            ("LC_ALL", "C.UTF-8".into()),
            ("TERM", "dumb".into()),
            ("WORLD", shown(folder)),
            ("STORE", block.store.clone()),
            ("S3_ADDRESS", self.s3_address.clone()),
            ("WEB_IDENTITY_TOKEN", shown(&folder.join("token"))),
            (
                "HX_SYNC_PASSPHRASE",
                "guides-secret words for a scratch vault".into(),
            ),
            ("AWS_ACCESS_KEY_ID", "AKIAGUIDESGUIDES0000".into()),
            ("AWS_SECRET_ACCESS_KEY", "guides-secret-key".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ];
        if let Ok(xtask) = std::env::current_exe() {
            pairs.push(("XTASK", shown(&xtask)));
        }
        if block.proxy {
            pairs.push(("HTTP_PROXY", self.proxy_url.clone()));
            pairs.push(("HTTPS_PROXY", self.proxy_url.clone()));
            pairs.push(("AWS_CA_BUNDLE", shown(&self.ca)));
        } else {
            pairs.push(("AWS_ENDPOINT_URL", format!("http://{}", self.s3_address)));
        }
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Puts what a reader would put in the place of a placeholder, where a block asks for it.
    pub(crate) fn fill(&self, line: &str, scene: &Scene, block: &Block) -> String {
        let token = scene.folder.path().join("token").display().to_string();
        let values = [
            ("/path/to/token", token),
            ("/path/to/ca-bundle.crt", self.ca.display().to_string()),
            ("http://proxy.company.com:8080", self.proxy_url.clone()),
            ("VERSION_ID", scene.noted("version-id")),
        ];
        let wanted = values
            .iter()
            .filter(|(placeholder, _)| block.fill.iter().any(|fill| fill == placeholder));
        wanted.fold(line.to_owned(), |line, (placeholder, value)| {
            line.replace(placeholder, value)
        })
    }
}

/// Runs hx, and tells how it ended although the shell may have put it into the background. hx looks whether its signals are those of
/// a command in the background and its shell's are not, so this stands in the shell's place: it takes the signals' defaults for itself
/// (a shell cannot, once they are ignored: `env` does it before) and hands on to hx what it was given.
const WATCHED: &str = r#"#!/bin/bash
ignored=$(( 0x$(sed -n 's/^SigIgn:\t*//p' /proc/self/status) & 6 ))
if [ "$ignored" = 6 ] && [ -z "$HX_WATCHED" ]; then
  HX_WATCHED=ignored exec env --default-signal=INT,QUIT "$0" "$@"
fi
if [ -n "$HX_WATCHED" ]; then
  env --unset=HX_WATCHED --ignore-signal=INT,QUIT "$WORLD/bin/hx" "$@"
else
  "$WORLD/bin/hx" "$@"
fi
echo $? >"$WORLD/exit-of-hx"
"#;

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.moto, &mut self.proxy] {
            // Both end with their input; killed, they would leave scratch folders behind.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

impl Scene {
    /// A scene whose lines run beside and in a container.
    pub(crate) fn in_container(
        folder: TempDir,
        environment: BTreeMap<String, String>,
        container: Container,
    ) -> Scene {
        Scene {
            container: Some(container),
            tool: Tool::Migrate,
            folder,
            environment,
        }
    }

    /// A shell that runs a script in the folder `work`.
    pub(crate) fn bash(&self, script: &str) -> Command {
        if let Some(container) = &self.container {
            return container.bash(script);
        }
        // Whoever started this may ignore signals, which then tells nothing of what the shell does to a command.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,QUIT", "bash", "-c", script]);
        command.current_dir(self.folder().join("work"));
        command
    }

    /// The scripts that set a block up: what all may use, and the block's own, as the shell sees them.
    pub(crate) fn setup_scripts(&self, block: &Block) -> [PathBuf; 2] {
        let folder = match self.container {
            Some(_) => Path::new(INSIDE).join("setup"),
            None => super::data::folder().join("setup"),
        };
        let prefix = self.tool.prefix();
        ["prelude", &block.setup].map(|name| folder.join(format!("{prefix}{name}.sh")))
    }

    /// The scratch folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the set-up noted for the lines under a name, if it did.
    fn noted(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder().join(name)).unwrap_or_default();
        text.trim().to_owned()
    }

    /// The environment of the set-up.
    pub(crate) fn for_setup(&self) -> BTreeMap<String, String> {
        self.environment.clone()
    }

    /// The environment of the lines.
    pub(crate) fn for_lines(&self, block: &Block) -> BTreeMap<String, String> {
        let mut environment = self.environment.clone();
        if block.credentials != Credentials::Environment {
            environment.retain(|name, _| {
                !["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].contains(&name.as_str())
            });
        }
        environment.retain(|name, _| !block.withhold.contains(name));
        environment
    }

    /// Gives the lines what the guide's reader has at this point: profiles in `~/.aws`.
    pub(crate) fn give_credentials(&self, block: &Block) -> Outcome {
        if block.credentials != Credentials::Profile {
            return Ok(());
        }
        let folder = self.folder().join("home").join(".aws");
        let (mut config, mut credentials) = (String::new(), String::new());
        for profile in ["hx", "your-profile"] {
            config.push_str(&format!("[profile {profile}]\nregion = us-west-2\n"));
            let keys = "aws_access_key_id = AKIAGUIDESPROFILE000\naws_secret_access_key = guides-secret-profile\n";
            credentials.push_str(&format!("[{profile}]\n{keys}"));
        }
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("config"), config)?;
            fs::write(folder.join("credentials"), credentials)
        };
        write().map_err(|error| format!("{}: {error}", folder.display()))
    }

    fn furnish(&self, programs: &Path) -> std::io::Result<()> {
        let folder = self.folder();
        for name in ["home", "bin", "watched", "tmp", "work"] {
            fs::create_dir_all(folder.join(name))?;
        }
        for name in ["hx", "homebrew-sync"] {
            std::os::unix::fs::symlink(programs.join(name), folder.join("bin").join(name))?;
        }
        fs::copy(
            super::data::folder().join("aws"),
            folder.join("bin").join("aws"),
        )?;
        let watched = folder.join("watched").join("hx");
        fs::write(&watched, WATCHED)?;
        fs::set_permissions(
            &watched,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )?;
        let setups = super::data::folder().join("setup");
        fs::copy(setups.join("history.zsh"), folder.join("history.zsh"))?;
        // Moto reads no signature of a token; it only has to be there.
        fs::write(
            folder.join("token"),
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJndWlkZXMifQ.\n",
        )
    }
}

/// Starts a server and waits for the line that says it is ready; returns the rest of that line.
pub(crate) fn start(mut command: Command, ready: &str) -> Outcome<(Child, String)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    let output: Box<dyn std::io::Read + Send> = match (child.stdout.take(), child.stderr.take()) {
        (Some(output), _) => Box::new(output),
        (None, Some(log)) => Box::new(log),
        (None, None) => return Err(format!("{name} has no output to wait for")),
    };
    let mut lines = BufReader::new(output).lines();
    let rest = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(ready).map(str::to_owned));
    let rest = rest.ok_or_else(|| format!("{name} ended before it was ready"))?;
    // A full pipe would stop the server. The thread ends with it.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((child, rest.trim().to_owned()))
}
