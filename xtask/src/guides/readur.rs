//! The world of the migration guide: PostgreSQL with Readur's tables, an S3 server, and a container called `readur-app`.
//!
//! What must hold: nothing outside a scratch folder changes, and nothing of the host is seen where the guide means the container: its
//! `/app`, `/tmp`, log folder and processes are its own. As in the compose example, reader and container share `/tmp`.
//! How: Linux namespaces made by `unshare`, since a container engine may not run where the tests do; `docker` is a script that enters them.
//! What it deliberately does not do: separate networks or users.

use super::data::{self, Block};
use super::world::{Scene, start};
use crate::packages;
use crate::run::{self, Outcome};
use crate::tools;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// How many documents Readur has in a block.
const DOCUMENTS: usize = 60;
/// The bucket of the guide's Readur; another one is only made by a line.
const BUCKET: &str = "your-bucket";
const ACCESS_KEY: &str = "AKIAGUIDESGUIDES0000";
const SECRET_KEY: &str = "guides-secret-key";
/// Where a block's scratch folder lies inside.
pub(crate) const INSIDE: &str = "/world";

/// The servers, for all blocks.
pub(crate) struct Servers {
    database: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    database_url: String,
    s3: Child,
    s3_address: String,
    buckets: TempDir,
    python: PathBuf,
    program: PathBuf,
}

/// A container; dropping it ends every process in it.
pub(crate) struct Container {
    holder: Child,
    root: PathBuf,
}

impl Servers {
    /// Starts them; the programs must have been built.
    pub(crate) fn start() -> Outcome<Servers> {
        packages::postgres()?;
        let python = tools::aws()?;
        let programs = run::target_dir()?.join("debug");
        let mut database = Command::new(programs.join("testkit-readur"));
        database.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut database = database
            .spawn()
            .map_err(|error| format!("cannot start testkit-readur: {error}"))?;
        let pipes = database.stdin.take().zip(database.stdout.take());
        let (orders, answers) = pipes.ok_or("testkit-readur has no pipes")?;
        let mut answers = BufReader::new(answers);
        let database_url = answer(&mut answers, "listening ")?;
        let buckets = tempfile::Builder::new()
            .prefix("syncline-buckets-")
            .tempdir();
        let buckets = buckets.map_err(|error| format!("a scratch folder: {error}"))?;
        let mut s3 = Command::new(programs.join("testkit-s3"));
        s3.arg("--root").arg(buckets.path());
        s3.args(["--watch-stdin", "--access-key", ACCESS_KEY]);
        s3.args(["--secret-key", SECRET_KEY]).stdout(Stdio::piped());
        let (s3, s3_address) = start(s3, "listening ")?;
        Ok(Servers {
            database,
            orders: Some(orders),
            answers,
            database_url,
            s3,
            s3_address,
            buckets,
            python,
            program: programs.join("migrate_to_s3"),
        })
    }

    /// Makes Readur anew, with its documents, an empty bucket and a container, for a block.
    pub(crate) fn scene(&mut self, block: &Block) -> Outcome<Scene> {
        let folder = tempfile::Builder::new().prefix("syncline-guide-").tempdir();
        let folder = folder.map_err(|error| format!("a scratch folder: {error}"))?;
        let say = |error: std::io::Error| format!("{}: {error}", folder.path().display());
        furnish(folder.path()).map_err(say)?;
        self.write_environment(folder.path()).map_err(say)?;
        self.fill(folder.path(), block.traps)?;
        self.empty_buckets(&folder.path().join("app/objects"))
            .map_err(|error| format!("{}: {error}", self.buckets.path().display()))?;
        let container = Container::start(folder.path(), self)?;
        Ok(Scene::in_container(folder, self.environment(), container))
    }

    /// Rows and files.
    fn fill(&mut self, folder: &Path, traps: bool) -> Outcome {
        let traps = if traps { "traps" } else { "" };
        let app = folder.join("app");
        let orders = self
            .orders
            .as_mut()
            .ok_or("testkit-readur has been ended")?;
        writeln!(orders, "fleet {} {DOCUMENTS} 7 {traps}", app.display())
            .map_err(|error| format!("testkit-readur has ended: {error}"))?;
        answer(&mut self.answers, "ready").map(drop)
    }

    /// Leaves one bucket, with nothing but the given objects.
    fn empty_buckets(&self, objects: &Path) -> std::io::Result<()> {
        for entry in fs::read_dir(self.buckets.path())? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        let bucket = self.buckets.path().join(BUCKET);
        if objects.is_dir() {
            let copied = Command::new("cp")
                .arg("-r")
                .args([objects, &bucket])
                .status()?;
            fs::remove_dir_all(objects)?;
            return if copied.success() {
                Ok(())
            } else {
                Err(std::io::Error::other("the objects cannot be copied"))
            };
        }
        fs::create_dir(bucket)
    }

    /// What `docker exec` gives to commands: the environment of the compose example.
    fn write_environment(&self, folder: &Path) -> std::io::Result<()> {
        let mut pairs = self.for_psql();
        pairs.extend([
            (
                "PATH",
                format!("{INSIDE}/container:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            ),
            ("HOME", "/app".into()),
            ("LC_ALL", "C.UTF-8".into()),
            ("DATABASE_URL", self.database_url.clone()),
            ("DATABASE_TIMEOUT", "30".into()),
            ("UPLOAD_PATH", "/app/uploads".into()),
            ("S3_ENABLED", "true".into()),
            ("S3_BUCKET_NAME", BUCKET.into()),
            ("S3_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("S3_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("S3_REGION", "us-east-1".into()),
            ("S3_ENDPOINT_URL", format!("http://{}", self.s3_address)),
        ]);
        let lines: String = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        for name in ["readur-app", "readur-db"] {
            fs::write(
                folder.join("containers").join(format!("{name}.env")),
                &lines,
            )?;
        }
        Ok(())
    }

    /// What the reader's own shell has.
    fn environment(&self) -> BTreeMap<String, String> {
        let mut pairs = self.for_psql();
        pairs.extend([
            (
                "PATH",
                format!("{INSIDE}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            ),
            ("HOME", format!("{INSIDE}/home")),
            ("LC_ALL", "C.UTF-8".into()),
            ("TERM", "dumb".into()),
            ("WORLD", INSIDE.into()),
            ("BUCKETS", self.buckets.path().display().to_string()),
            ("AWS_PYTHON", self.python.display().to_string()),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.s3_address)),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_DEFAULT_REGION", "us-east-1".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ]);
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// The parts of `postgres://user:password@host:port/name`.
    fn for_psql(&self) -> Vec<(&'static str, String)> {
        let rest = self.database_url.trim_start_matches("postgres://");
        let (who, place) = rest.split_once('@').unwrap_or(("", rest));
        let (user, password) = who.split_once(':').unwrap_or((who, ""));
        let address = place.split('/').next().unwrap_or(place);
        let (host, port) = address.split_once(':').unwrap_or((address, "5432"));
        let values = [host, port, user, password].map(str::to_owned);
        ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD"]
            .into_iter()
            .zip(values)
            .collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // testkit-readur ends with its input; to kill it would leave its cluster behind.
        drop(self.orders.take());
        for child in [&mut self.database, &mut self.s3] {
            // They fail only when it has ended already.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

impl Container {
    fn start(folder: &Path, servers: &Servers) -> Outcome<Container> {
        let root = folder.join("root");
        let mut unshare = Command::new("unshare");
        let is_root = run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        if !is_root {
            unshare.arg("--map-root-user");
        }
        unshare.args(["--mount", "--pid", "--fork", "--kill-child", "bash"]);
        unshare.arg(data::folder().join("readur").join("container.sh"));
        let seen = [folder, &servers.program, &servers.python];
        unshare.args(seen).env("BUCKETS", servers.buckets.path());
        unshare.stdout(Stdio::piped());
        let (holder, _) = start(unshare, "ready").map_err(|why| {
            format!("a container needs Linux namespaces: `unshare --mount --pid` must work ({why})")
        })?;
        Ok(Container { holder, root })
    }

    /// A shell that sees what the reader sees, in the folder `work`.
    pub(crate) fn bash(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        let holder = self.holder.id().to_string();
        command.args(["--target", &holder, "--mount"]);
        let is_root = run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        if !is_root {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("chroot").arg(&self.root);
        command.args(["bash", "-c", &format!("cd {INSIDE}/work\n{script}")]);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Its first process reads its input; when that ends, all of it does.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Folders of a scene, and the scripts in them.
fn furnish(folder: &Path) -> std::io::Result<()> {
    for name in [
        "root",
        "tmp",
        "app",
        "log/readur",
        "home",
        "work",
        "bin",
        "container",
        "containers",
        "setup",
    ] {
        fs::create_dir_all(folder.join(name))?;
    }
    let readur = data::folder().join("readur");
    for name in ["docker", "readur-check"] {
        fs::copy(readur.join(name), folder.join("bin").join(name))?;
    }
    fs::copy(data::folder().join("aws"), folder.join("bin").join("aws"))?;
    let image = run::root().join("tools/migrate/docker");
    fs::copy(image.join("cargo"), folder.join("container/cargo"))?;
    for entry in fs::read_dir(data::folder().join("setup"))? {
        let path = entry?.path();
        if let Some(name) = path.file_name() {
            fs::copy(&path, folder.join("setup").join(name))?;
        }
    }
    fs::write(folder.join("containers/readur-app.log"), "")?;
    fs::write(folder.join("container/migrate_to_s3"), "")
}

/// Reads one line of an answer, which must begin as expected; returns the rest.
fn answer(answers: &mut BufReader<ChildStdout>, expected: &str) -> Outcome<String> {
    let mut line = String::new();
    answers
        .read_line(&mut line)
        .map_err(|error| format!("testkit-readur: {error}"))?;
    line.strip_prefix(expected)
        .map(|rest| rest.trim().to_owned())
        .ok_or_else(|| format!("testkit-readur says `{}`", line.trim()))
}
