//! `bench bottles-serve`: `homebrew-sync serve` from a folder against nginx over the same folder, 64 clients at once.
//!
//! What must hold: both serve the very same files, which lie in memory, to the same load from `wrk`; rounds are interleaved and who begins
//! changes; an answer that is not a success fails the measurement.
//! What it deliberately does not do: tune nginx, but for `sendfile`, on which the bars depend.

use crate::flags::Flags;
use crate::run::{in_memory_folder, mb, measure, require};
use crate::table::Table;
use crate::upstream::Upstream;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// So many bottles are served.
const BOTTLES: usize = 100;
const SIZE_MAX: usize = 20_000_000;
const CLIENTS: &str = "64";

struct Plan {
    nginx: PathBuf,
    wrk: PathBuf,
    rounds: usize,
    seconds: usize,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Plan, String> {
        let flags = Flags::parse(arguments, &["--rounds", "--seconds", "--nginx", "--wrk"])?;
        Ok(Plan {
            nginx: flags.path("--nginx", "nginx"),
            wrk: flags.path("--wrk", "wrk"),
            rounds: flags.number("--rounds", 3, 1)?,
            seconds: flags.number("--seconds", 5, 1)?,
        })
    }
}

/// Prints the measurements; returns how many bars were missed.
///
/// # Errors
/// If a program is missing or fails.
pub fn bench(arguments: &[String]) -> Result<u32, String> {
    let plan = Plan::parse(arguments)?;
    let say = |error: std::io::Error| error.to_string();
    let upstream = Upstream::start(BOTTLES, SIZE_MAX).map_err(say)?;
    println!(
        "{} bottles, {}, in a folder\n",
        upstream.bottles.len(),
        mb(upstream.bytes())
    );
    let scratch = in_memory_folder().map_err(say)?;
    let mirror = mirror(&upstream, &scratch)?;
    let ours = Server::ours(&mirror, &scratch)?;
    let off = Server::nginx(&plan.nginx, &mirror, &scratch, "off")?;
    let on = Server::nginx(&plan.nginx, &mirror, &scratch, "on")?;
    let servers = [&ours, &off, &on];
    let blobs: Vec<String> = upstream
        .bottles
        .iter()
        .map(|bottle| format!("/{}", bottle.key))
        .collect();
    let manifests: Vec<String> = upstream
        .bottles
        .iter()
        .map(|bottle| format!("/{}", bottle.manifest))
        .collect();
    let mut table = Table::default();
    table.head("homebrew-sync", "nginx");
    for (what, paths) in [("bottles", &blobs), ("manifests", &manifests)] {
        let script = script(&scratch, what, paths)?;
        let mut best = [Load::default(); 3];
        for round in 0..plan.rounds {
            for turn in 0..servers.len() {
                let place = (round + turn) % servers.len();
                let load = load(&plan, servers[place], &script)?;
                eprintln!(
                    "  {what}, {}: {:.0} MB/s, {:.0} answers/s",
                    servers[place].name,
                    load.bytes / 1e6,
                    load.answers
                );
                if load.bytes > best[place].bytes {
                    best[place] = load;
                }
            }
        }
        for (place, bar) in [(1, 0.8), (2, 0.5)] {
            let ratio = match what {
                "bottles" => best[0].bytes / best[place].bytes,
                _ => best[0].answers / best[place].answers,
            };
            let shown = |load: Load| match what {
                "bottles" => format!("{:.0} MB/s", load.bytes / 1e6),
                _ => format!("{:.0} /s", load.answers),
            };
            let what = format!("{what}, {CLIENTS} clients, against {}", servers[place].name);
            let (ours, theirs) = (shown(best[0]), shown(best[place]));
            let bar_text = format!(">= {bar}x");
            table.row(
                &what,
                ours,
                &theirs,
                format!("{ratio:.2}x"),
                ratio >= bar,
                &bar_text,
            );
        }
    }
    Ok(table.missed())
}

/// Makes the mirror that is served: a real one.
fn mirror(upstream: &Upstream, scratch: &TempDir) -> Result<PathBuf, String> {
    let mirror = scratch.path().join("mirror");
    let key = scratch.path().join("key.pem");
    let write = std::fs::create_dir(&mirror)
        .and_then(|()| std::fs::write(&key, bottles::sample::PUBLIC_KEY));
    write.map_err(|error| error.to_string())?;
    let root = upstream.root();
    let (api, store, key) = (
        format!("{root}/api"),
        mirror.display().to_string(),
        key.display().to_string(),
    );
    let arguments = [
        "sync",
        "--json",
        "--all",
        "--store",
        &store,
        "--api",
        &api,
        "--registry",
        &root,
        "--api-key",
        &key,
    ];
    let home = [("HOME".to_owned(), scratch.path().display().to_string())];
    let program = testkit::built_binary("bottles", "homebrew-sync");
    require(&measure(&program, &arguments, &home)?, "homebrew-sync sync")?;
    Ok(mirror)
}

/// A server in a process of its own, until it is dropped.
struct Server {
    name: String,
    address: String,
    process: Child,
    /// Asks it to end, where that takes more than a signal.
    stop: Option<Command>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // What is killed does not end its workers; one that is asked to ends them first.
        let asked = self.stop.as_mut().map(Command::status);
        let has_ended = asked.is_some_and(|asked| asked.is_ok_and(|status| status.success()));
        if !has_ended {
            // It may have ended by itself.
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

impl Server {
    fn ours(mirror: &Path, scratch: &TempDir) -> Result<Server, String> {
        let mut process = Command::new(testkit::built_binary("bottles", "homebrew-sync"))
            .env_clear()
            .env("HOME", scratch.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--store"])
            .arg(mirror)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut line = String::new();
        let out = process.stdout.take().ok_or("it has no output")?;
        let read = BufReader::new(out).read_line(&mut line);
        read.map_err(|error| error.to_string())?;
        let address = line
            .split("http://")
            .nth(1)
            .map(|rest| rest.trim().trim_end_matches('/'));
        let address = address
            .ok_or_else(|| format!("it says {line:?}"))?
            .to_owned();
        Ok(Server {
            name: "homebrew-sync".to_owned(),
            address,
            process,
            stop: None,
        })
    }

    fn nginx(
        program: &Path,
        mirror: &Path,
        scratch: &TempDir,
        sendfile: &str,
    ) -> Result<Server, String> {
        let say = |error: std::io::Error| format!("{}: {error}", program.display());
        let folder = scratch.path().join(format!("nginx-{sendfile}"));
        std::fs::create_dir(&folder).map_err(say)?;
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.map_err(say)?.to_string();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};\n"))
            .concat();
        let text = format!(
            "daemon off;\nmaster_process on;\nuser root;\nworker_processes auto;\npid nginx.pid;\nerror_log error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n{temporary}access_log off;\nsendfile {sendfile};\nserver {{ listen {address}; root {}; }}\n}}\n",
            mirror.display()
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, text).map_err(say)?;
        let command = || {
            let mut command = Command::new(program);
            command
                .arg("-p")
                .arg(&folder)
                .arg("-e")
                .arg(folder.join("error.log"));
            command.arg("-c").arg(&file);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        };
        let process = command().spawn().map_err(say)?;
        let mut stop = command();
        stop.args(["-s", "stop"]);
        let name = format!("nginx, sendfile {sendfile}");
        let mut server = Server {
            name,
            address,
            process,
            stop: Some(stop),
        };
        let begun = Instant::now();
        while std::net::TcpStream::connect(&server.address).is_err() {
            let ended = server.process.try_wait().map_err(say)?;
            if ended.is_some() || begun.elapsed() > Duration::from_secs(10) {
                let why = std::fs::read_to_string(folder.join("error.log")).unwrap_or_default();
                return Err(format!("nginx does not serve: {why}"));
            }
            std::thread::yield_now();
        }
        Ok(server)
    }
}

#[derive(Clone, Copy, Default)]
struct Load {
    bytes: f64,
    answers: f64,
}

/// Each of the load's threads asks for one path after the other, beginning at another place.
fn script(scratch: &TempDir, what: &str, paths: &[String]) -> Result<PathBuf, String> {
    let listed: String = paths.iter().map(|path| format!("{path:?},\n")).collect();
    let text = format!(
        "local paths = {{\n{listed}}}\nlocal threads = 0\n\
         function setup(thread) thread:set('first', threads * 37); threads = threads + 1 end\n\
         local at = nil\n\
         function request()\n  at = ((at or first) + 1) % #paths\n  return wrk.format('GET', paths[at + 1])\nend\n"
    );
    let file = scratch.path().join(format!("{what}.lua"));
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    Ok(file)
}

fn load(plan: &Plan, server: &Server, script: &Path) -> Result<Load, String> {
    let (script, seconds) = (script.display().to_string(), plan.seconds.to_string());
    let url = format!("http://{}/", server.address);
    let arguments = [
        "-t",
        "2",
        "-c",
        CLIENTS,
        "-d",
        &seconds,
        "-s",
        &script,
        "--timeout",
        "30",
        &url,
    ];
    let measured = measure(&plan.wrk, &arguments, &[])?;
    require(&measured, "wrk")?;
    let out = &measured.stdout;
    if out.contains("Non-2xx") || out.contains("Socket errors") {
        return Err(format!("{} does not serve all: {out}", server.name));
    }
    let value = |name: &str| {
        let rest = out.lines().find_map(|line| line.trim().strip_prefix(name));
        let rest = rest
            .ok_or_else(|| format!("wrk says no {name}: {out}"))?
            .trim();
        let end = rest
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let number: f64 = rest[..end]
            .parse()
            .map_err(|_| format!("{rest:?} is no number"))?;
        Ok::<f64, String>(match &rest[end..] {
            "" | "B" => number,
            "KB" => number * 1024.0,
            "MB" => number * 1024.0 * 1024.0,
            "GB" => number * 1024.0 * 1024.0 * 1024.0,
            unit => return Err(format!("{unit} is no unit that is known")),
        })
    };
    Ok(Load {
        bytes: value("Transfer/sec:")?,
        answers: value("Requests/sec:")?,
    })
}
