//! An upstream of generated bottles: any number of gigabytes that lie nowhere.
//!
//! What must hold: a bottle has the same bytes each time; to make them costs next to nothing beside sending them, so that the server takes
//! little from whoever is measured; ranges and HEAD are answered, as the peers ask for them.
//! What it deliberately does not do: tokens, redirects and troubles, which cost every program the same.

use bottles::names;
use bottles::sample::signed;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IoSlice, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use transfer::Digest;

/// The platforms that each formula has a bottle for: those that are mirrored by default.
const PLATFORMS: [&str; 5] = [
    "arm64_tahoe",
    "arm64_sequoia",
    "arm64_sonoma",
    "arm64_linux",
    "x86_64_linux",
];

/// Every bottle is a part of this, behind a head of its own.
const PATTERN: usize = 1 << 20;

/// Bytes of a bottle that are in no other.
const HEAD: usize = 64;

/// Sizes in KB, and how many of a hundred bottles have about that: most are small, most bytes are in large ones.
const SIZES: [(usize, usize); 6] = [
    (150, 38),
    (500, 32),
    (2_000, 20),
    (8_000, 8),
    (20_000, 1),
    (60_000, 1),
];

/// One bottle.
pub struct Bottle {
    /// Its path, without a slash before it.
    pub key: String,
    /// The path of its manifest.
    pub manifest: String,
    number: usize,
    /// How many bytes it has.
    pub size: usize,
}

struct Files {
    pattern: Vec<u8>,
    small: BTreeMap<String, Vec<u8>>,
    bottles: BTreeMap<String, (usize, usize)>,
}

/// An upstream that runs until the process ends.
pub struct Upstream {
    address: SocketAddr,
    /// What it has.
    pub bottles: Vec<Bottle>,
}

impl Upstream {
    /// Makes so many bottles, none larger than a number of bytes, and serves them.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(count: usize, size_max: usize) -> io::Result<Upstream> {
        let pattern = pattern();
        let mut small = BTreeMap::new();
        let (mut bottles, mut entries) = (Vec::new(), Vec::new());
        for formula in 0..count / PLATFORMS.len() {
            let name = format!("formula{formula}");
            let manifest = names::manifest_key(&name, "1.0");
            let (mut of_manifest, mut files) = (Vec::new(), serde_json::Map::new());
            for (place, platform) in PLATFORMS.into_iter().enumerate() {
                let number = formula * PLATFORMS.len() + place;
                let size = size_of(number).min(size_max);
                let sha256 = Digest::of(&whole(&pattern, number, size)).to_string();
                of_manifest.push(json!({"annotations": {
                    "org.opencontainers.image.ref.name": names::reference("1.0", platform, 0),
                    "sh.brew.bottle.digest": sha256,
                    "sh.brew.bottle.size": size.to_string(),
                    "sh.brew.tab": "{}",
                }}));
                files.insert(platform.to_owned(), json!({"sha256": sha256}));
                bottles.push(Bottle {
                    key: names::blob_key(&name, &sha256),
                    manifest: manifest.clone(),
                    number,
                    size,
                });
            }
            let index = json!({"schemaVersion": 2, "manifests": of_manifest});
            small.insert(manifest, index.to_string().into_bytes());
            entries.push(json!({
                "name": name,
                "versions": {"stable": "1.0"},
                "bottle": {"stable": {"rebuild": 0, "files": files}},
            }));
        }
        let api = signed(&json!(entries).to_string());
        small.insert("api/formula.jws.json".to_owned(), api);
        let by_key = bottles
            .iter()
            .map(|bottle| (bottle.key.clone(), (bottle.number, bottle.size)));
        let files = Arc::new(Files {
            pattern,
            small,
            bottles: by_key.collect(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let files = files.clone();
                // A client that hangs up is no matter.
                std::thread::spawn(move || drop(files.serve(&stream)));
            }
        });
        Ok(Upstream { address, bottles })
    }

    /// Its root.
    pub fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many bytes the bottles have.
    pub fn bytes(&self) -> u64 {
        self.bottles.iter().map(|bottle| bottle.size as u64).sum()
    }
}

/// Bytes that do not compress, always the same.
fn pattern() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PATTERN + 32);
    let mut block = Digest::of(b"pattern");
    while bytes.len() < PATTERN {
        bytes.extend_from_slice(&block.0);
        block = Digest::of(&block.0);
    }
    bytes
}

fn size_of(number: usize) -> usize {
    let mut place = (number * 37) % 100;
    let mut size = SIZES[0].0;
    for (kilobytes, share) in SIZES {
        size = kilobytes;
        if place < share {
            break;
        }
        place -= share;
    }
    // No two are of the same length.
    size * 1000 + number * 13
}

fn head_of(number: usize) -> Vec<u8> {
    format!("{number:0>HEAD$}").into_bytes()
}

fn whole(pattern: &[u8], number: usize, size: usize) -> Vec<u8> {
    let mut bytes = head_of(number);
    while bytes.len() < size {
        let wanted = (size - bytes.len()).min(PATTERN);
        bytes.extend_from_slice(&pattern[..wanted]);
    }
    bytes
}

impl Files {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, path) = (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            );
            let mut range = None;
            loop {
                let mut header = String::new();
                lines.read_line(&mut header)?;
                let header = header.trim().to_ascii_lowercase();
                if header.is_empty() {
                    break;
                }
                if let Some(asked) = header.strip_prefix("range: bytes=") {
                    range = Some(asked.to_owned());
                }
            }
            let path = path.trim_start_matches('/').replace("%3A", ":");
            self.answer(stream, &path, method == "HEAD", range.as_deref())?;
        }
    }

    fn answer(
        &self,
        mut stream: &TcpStream,
        path: &str,
        is_head: bool,
        range: Option<&str>,
    ) -> io::Result<()> {
        let small = self.small.get(path);
        let bottle = self.bottles.get(path).copied();
        let Some(size) = small.map(Vec::len).or(bottle.map(|(_, size)| size)) else {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        };
        let mut part = 0..size;
        let mut status = "200 OK\r\n".to_owned();
        if let Some((first, last)) = range.and_then(|range| range.split_once('-')) {
            part.start = first.parse().unwrap_or(0).min(size);
            part.end = last
                .parse()
                .map_or(size, |last: usize| (last + 1).min(size));
            status = format!(
                "206 Partial Content\r\nContent-Range: bytes {}-{}/{size}\r\n",
                part.start,
                part.end - 1
            );
        }
        let tag = &Digest::of(path.as_bytes()).to_string()[..32];
        let head = format!(
            "HTTP/1.1 {status}Content-Length: {}\r\nAccept-Ranges: bytes\r\nETag: \"{tag}\"\r\n\
             Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Type: application/octet-stream\r\n\r\n",
            part.len()
        );
        stream.write_all(head.as_bytes())?;
        match (is_head, small, bottle) {
            (false, Some(bytes), _) => stream.write_all(&bytes[part]),
            (false, None, Some((number, _))) => self.send(stream, number, part),
            _ => Ok(()),
        }
    }

    fn send(
        &self,
        mut stream: &TcpStream,
        number: usize,
        part: std::ops::Range<usize>,
    ) -> io::Result<()> {
        let head = head_of(number);
        let mut at = part.start;
        while at < part.end {
            let left = part.end - at;
            let (first, second): (&[u8], &[u8]) = match at < HEAD {
                true => (&head[at..], &self.pattern[..PATTERN]),
                false => (
                    &self.pattern[(at - HEAD) % PATTERN..PATTERN],
                    &self.pattern[..PATTERN],
                ),
            };
            let first = &first[..first.len().min(left)];
            let second = &second[..second.len().min(left - first.len())];
            at += stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second)])?;
        }
        Ok(())
    }
}
