//! Two real Syncthing nodes that keep two folders in step, over loopback and with nobody else.
//!
//! What must hold: the nodes know only each other's address, so nothing looks for relays, other machines or newer versions; whoever
//! waits for them waits for what they report, not for a time; they end when they are dropped.
//! A missing Syncthing is a failing test which says how to get it: `cargo xtask test` installs it.
//! What it deliberately does not do: model Syncthing. What is rare, such as half a file under its last name, is for a model to make.

use crate::process::Spawned;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The name of the one folder they share.
const FOLDER: &str = "shared";
/// What a request to a node's interface must carry.
const API_KEY: &str = "testkit-on-loopback-only";
/// Nodes that do not agree by then will not.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two nodes; dropping it stops them.
pub struct Syncthing {
    nodes: [Node; 2],
    _scratch: TempDir,
}

struct Node {
    id: String,
    interface: SocketAddr,
    sync: SocketAddr,
    folder: PathBuf,
    home: PathBuf,
    process: Option<Spawned>,
}

impl Syncthing {
    /// Prepares two nodes for two folders, which are made if they do not exist. They see nothing of each other before
    /// [`connect`](Syncthing::connect).
    ///
    /// # Panics
    /// If Syncthing is not installed, because a test that cannot run has failed.
    pub fn between(first: &Path, second: &Path) -> Syncthing {
        let scratch = tempfile::Builder::new()
            .prefix("syncline-syncthing-")
            .tempdir()
            .expect("a scratch directory");
        let node = |name: &str, folder: &Path| {
            Node::prepare(&scratch.path().join(name), folder).unwrap_or_else(|error| {
                panic!("Syncthing cannot be set up ({error}): run `cargo xtask test`, which installs it")
            })
        };
        Syncthing {
            nodes: [node("first", first), node("second", second)],
            _scratch: scratch,
        }
    }

    /// Starts both nodes and waits until everything that is in either folder is in both.
    ///
    /// # Panics
    /// If they do not start or do not come to an agreement.
    pub fn connect(&mut self) {
        let peers = self
            .nodes
            .each_ref()
            .map(|node| (node.id.clone(), node.sync));
        for node in &mut self.nodes {
            node.start(&peers)
                .unwrap_or_else(|error| panic!("Syncthing does not start: {error}"));
        }
        self.settle();
    }

    /// Stops both, as when one of the machines has no network.
    pub fn disconnect(&mut self) {
        for node in &mut self.nodes {
            node.process = None;
        }
    }

    /// Lets both look for changes and waits until everything that is in either folder is in both.
    ///
    /// # Panics
    /// If they do not come to an agreement.
    pub fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        for node in &self.nodes {
            node.ask("POST", &format!("/rest/db/scan?folder={FOLDER}"));
        }
        let mut seen = [0, 0];
        while !self.agree() {
            assert!(
                Instant::now() < deadline,
                "the two nodes do not agree: {}",
                self.complaint()
            );
            // The answer comes with the next event, or after a second without one.
            for (node, seen) in self.nodes.iter().zip(&mut seen) {
                let events = node.ask("GET", &format!("/rest/events?since={seen}&timeout=1"));
                *seen = number_after(&events, "\"id\":").max(*seen);
            }
        }
    }

    /// Whether each node knows that the other has everything it has.
    fn agree(&self) -> bool {
        let [first, second] = &self.nodes;
        [(first, second), (second, first)]
            .iter()
            .all(|(here, there)| {
                let connections = here.ask("GET", "/rest/system/connections");
                let of_peer = connections.split(there.id.as_str()).nth(1).unwrap_or("");
                let is_connected = compact(of_peer)
                    .split('}')
                    .next()
                    .is_some_and(|peer| peer.contains("\"connected\":true"));
                let path = format!("/rest/db/completion?folder={FOLDER}&device={}", there.id);
                let remote = compact(&here.ask("GET", &path));
                let own = compact(&here.ask("GET", &format!("/rest/db/status?folder={FOLDER}")));
                is_connected
                    && remote.contains("\"completion\":100,")
                    && own.contains("\"needTotalItems\":0,")
                    && own.contains("\"state\":\"idle\"")
            })
    }

    fn complaint(&self) -> String {
        let all = self.nodes.iter().map(|node| {
            node.ask("GET", &format!("/rest/db/status?folder={FOLDER}"))
                + &node.ask("GET", "/rest/system/connections")
        });
        all.collect()
    }
}

impl Node {
    fn prepare(home: &Path, folder: &Path) -> io::Result<Node> {
        fs::create_dir_all(folder)?;
        // By this mark Syncthing knows that the folder is mounted.
        fs::create_dir_all(folder.join(".stfolder"))?;
        let made = syncthing("generate", home).stdout(Stdio::null()).output()?;
        if !made.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&made.stderr).into_owned(),
            ));
        }
        let configuration = fs::read_to_string(home.join("config.xml"))?;
        let id = configuration
            .split("<device id=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .ok_or_else(|| io::Error::other("its configuration names no device"))?;
        Ok(Node {
            id: id.to_owned(),
            interface: free_address()?,
            sync: free_address()?,
            folder: folder.to_owned(),
            home: home.to_owned(),
            process: None,
        })
    }

    fn start(&mut self, peers: &[(String, SocketAddr); 2]) -> io::Result<()> {
        fs::write(self.home.join("config.xml"), self.configuration(peers))?;
        let mut command = syncthing("serve", &self.home);
        command
            .arg("--no-browser")
            .env("STNOUPGRADE", "1")
            // It would put a second process beside itself, which outlives it when it is killed.
            .env("STMONITORED", "yes");
        let (process, _) = Spawned::start(command, "GUI and API listening on")?;
        self.process = Some(process);
        Ok(())
    }

    fn configuration(&self, peers: &[(String, SocketAddr); 2]) -> String {
        let members = peers
            .each_ref()
            .map(|(id, _)| format!("<device id=\"{id}\"/>"));
        let devices = peers.each_ref().map(|(id, address)| {
            format!(
                "<device id=\"{id}\" name=\"{address}\"><address>tcp://{address}</address></device>"
            )
        });
        let switched_off = [
            "globalAnnounceEnabled",
            "localAnnounceEnabled",
            "relaysEnabled",
            "natEnabled",
            "crashReportingEnabled",
            "startBrowser",
            "setLowPriority",
        ]
        .map(|option| format!("<{option}>false</{option}>"));
        format!(
            "<configuration version=\"36\">\
             <folder id=\"{FOLDER}\" path=\"{}\" type=\"sendreceive\" rescanIntervalS=\"3600\" fsWatcherEnabled=\"false\">{}\
             <minDiskFree unit=\"%\">0</minDiskFree></folder>{}\
             <gui enabled=\"true\" tls=\"false\"><address>{}</address><apikey>{API_KEY}</apikey></gui>\
             <options><listenAddress>tcp://{}</listenAddress>{}<urAccepted>-1</urAccepted>\
             <reconnectionIntervalS>1</reconnectionIntervalS><autoUpgradeIntervalH>0</autoUpgradeIntervalH>\
             <minHomeDiskFree unit=\"%\">0</minHomeDiskFree></options></configuration>\n",
            self.folder.display(),
            members.concat(),
            devices.concat(),
            self.interface,
            self.sync,
            switched_off.concat(),
        )
    }

    /// Asks the node's interface; what cannot be reached or refuses has said nothing.
    fn ask(&self, method: &str, path: &str) -> String {
        let answer = || -> io::Result<String> {
            let mut stream = TcpStream::connect(self.interface)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(
                stream,
                "{method} {path} HTTP/1.0\r\nHost: {}\r\nX-API-Key: {API_KEY}\r\nContent-Length: 0\r\n\r\n",
                self.interface
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        answer().unwrap_or_default()
    }
}

fn syncthing(what: &str, home: &Path) -> Command {
    let mut command = Command::new("syncthing");
    command.arg(what).arg(format!("--home={}", home.display()));
    command.env("HOME", home);
    command
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The text without the blanks that make it pleasant to read.
fn compact(json: &str) -> String {
    json.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The greatest number that stands behind a name.
fn number_after(json: &str, name: &str) -> u64 {
    let json = compact(json);
    let numbers = json.split(name).skip(1).filter_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    });
    numbers.max().unwrap_or(0)
}
