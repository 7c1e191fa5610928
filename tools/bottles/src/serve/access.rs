//! The access log: a line for each request, in the form that log analysers know (NCSA combined).
//!
//! What must hold: nobody's answer waits for the log; a line is written with one write at the file's end, so that several servers may share
//! a file; what could not be written is counted and said. A file that was moved away (by logrotate) is left, and made anew, within a second.
//!
//! It deliberately tells the size that was promised, not what the client took: it is written when the answer begins.

use jiff::Timestamp;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// So many lines wait for a disk at most.
const WAITING_MAX: usize = 8192;

/// So many bytes are written at once.
const BATCH: usize = 64 << 10;

/// So much of a path or an agent is written down.
const TEXT_MAX: usize = 1000;

/// So often it is looked whether the file still has its name.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who asked: the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// One request, and what it was answered.
pub(super) struct Access<'a> {
    pub(super) peer: Option<Peer>,
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version: &'a str,
    pub(super) status: u16,
    /// The size of the answer's body, if it is known.
    pub(super) bytes: Option<u64>,
    pub(super) agent: &'a str,
}

/// Where requests are written down.
#[derive(Debug)]
pub struct AccessLog {
    lines: SyncSender<Option<String>>,
    lost: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Opens a file, to whose end is written; `-` is standard output.
    ///
    /// # Errors
    /// If the file cannot be written to.
    pub fn open(path: &Path) -> io::Result<Arc<AccessLog>> {
        let place = match path == Path::new("-") {
            true => Place::Stdout,
            false => Place::File(Kept::open(path.to_owned())?),
        };
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        let writer = std::thread::Builder::new()
            .name("access log".to_owned())
            .spawn(move || write_all(&waiting, place, &counted))?;
        Ok(Arc::new(AccessLog {
            lines,
            lost,
            writer: Mutex::new(Some(writer)),
        }))
    }

    pub(super) fn note(&self, access: &Access<'_>, now: Timestamp) {
        if self.lines.try_send(Some(line(access, now))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all is written; what comes after that is lost.
    pub(super) fn finish(&self) {
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // It has ended already only if it panicked, and has said so.
            let _ = self.lines.send(None);
            let _ = writer.join();
        }
    }
}

/// Writes one request down.
fn line(access: &Access<'_>, now: Timestamp) -> String {
    let peer = access.peer.map(|peer| peer.0.ip().to_string());
    let peer = peer.as_deref().unwrap_or("-");
    let time = now.strftime("%d/%b/%Y:%H:%M:%S +0000");
    let bytes = access.bytes.map(|bytes| bytes.to_string());
    let bytes = bytes.as_deref().unwrap_or("-");
    let agent = match access.agent {
        "" => "-",
        agent => agent,
    };
    format!(
        "{peer} - - [{time}] \"{} {} {}\" {} {bytes} \"-\" \"{}\"\n",
        quoted(access.method),
        quoted(access.target),
        access.version,
        access.status,
        quoted(agent),
    )
}

/// Makes a text one that ends no quotation and no line.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars().take(TEXT_MAX) {
        match letter {
            '"' | '\\' | '\0'..='\x1f' | '\x7f' => {
                // Memory takes it.
                let _ = write!(quoted, "\\x{:02X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted
}

enum Place {
    Stdout,
    File(Kept),
}

impl Place {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Place::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Place::File(file) => file.write(lines),
        }
    }
}

/// A file, as long as it has its name.
struct Kept {
    path: PathBuf,
    file: File,
    looked: Instant,
}

impl Kept {
    fn open(path: PathBuf) -> io::Result<Kept> {
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        Ok(Kept {
            path,
            file,
            looked: Instant::now(),
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.look()?;
        }
        self.file.write_all(lines)
    }

    /// Begins another file if this one was moved away or removed.
    fn look(&mut self) -> io::Result<()> {
        let own = self.file.metadata()?;
        let is_there = std::fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        match is_there {
            true => self.looked = Instant::now(),
            false => *self = Kept::open(std::mem::take(&mut self.path))?,
        }
        Ok(())
    }
}

fn write_all(waiting: &Receiver<Option<String>>, mut place: Place, lost: &AtomicU64) {
    let mut is_well = true;
    let mut is_ended = false;
    while !is_ended {
        let Ok(Some(mut batch)) = waiting.recv() else {
            break;
        };
        while batch.len() < BATCH {
            match waiting.try_recv() {
                Ok(Some(line)) => batch.push_str(&line),
                Ok(None) => {
                    is_ended = true;
                    break;
                }
                Err(_) => break,
            }
        }
        let written = place.write(batch.as_bytes());
        match &written {
            Err(error) if is_well => {
                tracing::error!(%error, "the access log cannot be written; requests are answered on");
            }
            Ok(()) if !is_well => tracing::warn!("the access log is written again"),
            _ => {}
        }
        is_well = written.is_ok();
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(
                lost,
                "requests are not in the access log: more came than could be written"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(target: &str) -> Access<'_> {
        Access {
            peer: Some(Peer(SocketAddr::from(([192, 0, 2, 7], 4711)))),
            method: "GET",
            target,
            version: "HTTP/1.1",
            status: 200,
            bytes: Some(12),
            agent: "Homebrew/4.3.0 \"curl\"",
        }
    }

    #[test]
    fn a_line_is_of_the_form_that_analysers_read_and_nobody_writes_another_one() {
        let now = Timestamp::from_second(1_790_000_000).expect("a time");
        let found = line(&access("/v2/\" 200 -\nx"), now);
        assert_eq!(
            found,
            "192.0.2.7 - - [21/Sep/2026:14:13:20 +0000] \"GET /v2/\\x22 200 -\\x0Ax HTTP/1.1\" 200 12 \"-\" \"Homebrew/4.3.0 \\x22curl\\x22\"\n"
        );
        let nothing = Access {
            peer: None,
            bytes: None,
            agent: "",
            ..access("/")
        };
        let found = line(&nothing, now);
        assert!(found.starts_with("- - - ["), "{found}");
        assert!(found.ends_with("\" 200 - \"-\" \"-\"\n"), "{found}");
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("access.log");
        let mut kept = Kept::open(path.clone()).expect("opened");
        kept.write(b"one\n").expect("written");
        let old = place.path().join("access.log.1");
        std::fs::rename(&path, &old).expect("moved");
        kept.look().expect("opened");
        kept.write(b"two\n").expect("written");
        let texts = [old, path].map(|path| std::fs::read_to_string(path).expect("read"));
        assert_eq!(texts, ["one\n", "two\n"]);
    }
}
