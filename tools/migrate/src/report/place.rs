//! Where the report of `--report` goes.
//!
//! What must hold: a file is replaced at once or not at all, and a link that leads to it stays; a device, a pipe or a stream of this process is written
//! into, never replaced; no name of a journal, a summary, the database, a document or an object is taken. That is made sure of before anything is done.
//!
//! What it deliberately does not do: open a pipe before there is a report, for that waits for its reader.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use console::{Exit, Failure};

use crate::run::parts;
use crate::settings::Settings;
use crate::state;

/// The system gives up after so many links, too.
const LINKS_MAX: usize = 40;

const HINT: &str =
    "name a file in a directory that is there and may be written; nothing was done yet";

/// What a path leads to.
enum Place {
    Stdout,
    Stderr,
    /// Something that takes bytes and is no file: a device, a pipe.
    Stream(PathBuf),
    /// A file that is there or is to be made, with no link in its way.
    File(PathBuf),
}

/// Makes sure, before anything is done, that the report can be written, and that nothing else is lost by that.
///
/// # Errors
/// If its directory is not there or takes no files, a directory has the name, or something has it that is not to be replaced.
pub fn check(path: &Path, settings: &Settings) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(
            Failure::usage(format!("--report {} is a directory", path.display())).hint(HINT),
        );
    }
    let file = match place_of(path)? {
        Place::Stdout | Place::Stderr => return Ok(()),
        Place::Stream(stream) => return check_stream(&stream),
        Place::File(file) => file,
    };
    if let Some(what) = taken_by(&file, settings)? {
        return Err(Failure::usage(format!(
            "--report {} would take the place of {what}: {}",
            path.display(),
            file.display()
        ))
        .kind("report-place")
        .hint(
            "name a file outside of the upload path, of what --path-map leads to and of every folder that stands for a bucket, and no state file; \
             nothing was done",
        ));
    }
    // A temporary file in its directory, which is gone again when this returns.
    store::file::AtomicFile::create(&file)
        .map(drop)
        .map_err(|error| failed(path, &error).hint(HINT))
}

/// Writes the report.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = match place_of(path)? {
        Place::Stdout => say(&mut std::io::stdout().lock(), bytes),
        Place::Stderr => say(&mut std::io::stderr().lock(), bytes),
        Place::Stream(stream) => OpenOptions::new()
            .append(true)
            .open(stream)
            .and_then(|mut stream| say(&mut stream, bytes)),
        Place::File(file) => store::file::atomic_write(&file, bytes),
    };
    written.map_err(|error| failed(path, &error))
}

fn say(stream: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    stream.write_all(b"\n")?;
    stream.flush()
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::io("write the report", path, error);
    match error.kind() {
        // A directory that is not there is a wrong setting, whenever it is noticed.
        ErrorKind::NotFound | ErrorKind::NotADirectory => failure.with_exit(Exit::Config),
        _ => failure,
    }
}

/// Opening a device says whether it takes anything; a pipe would wait.
fn check_stream(stream: &Path) -> Result<(), Failure> {
    let is_pipe = std::fs::metadata(stream).is_ok_and(|found| found.file_type().is_fifo());
    if is_pipe {
        return Ok(());
    }
    let opened = OpenOptions::new().append(true).open(stream);
    opened
        .map(drop)
        .map_err(|error| failed(stream, &error).hint(HINT))
}

fn place_of(path: &Path) -> Result<Place, Failure> {
    let mut place = path.to_owned();
    for _ in 0..LINKS_MAX {
        if let Some(stream) = own_stream(&place) {
            return Ok(stream);
        }
        match std::fs::read_link(&place) {
            // A descriptor's link names something that need not be there, such as `pipe:[7]`.
            Ok(_) if is_descriptor(&place) => return Ok(Place::Stream(place)),
            Ok(target) => place = beside(&place).join(target),
            Err(_) => return Ok(last(place)),
        }
    }
    let error = std::io::Error::from(rustix::io::Errno::LOOP);
    Err(failed(path, &error).hint(HINT))
}

fn last(place: PathBuf) -> Place {
    let is_stream = std::fs::metadata(&place).is_ok_and(|found| !found.is_file());
    match is_stream {
        true => Place::Stream(place),
        false => Place::File(settled(&place)),
    }
}

/// The streams of this process, by every name that the system gives them.
fn own_stream(place: &Path) -> Option<Place> {
    let number = match place.to_str()? {
        "/dev/stdout" => "1",
        "/dev/stderr" => "2",
        other => other
            .strip_prefix("/dev/fd/")
            .or_else(|| other.strip_prefix("/proc/self/fd/"))?,
    };
    match number {
        "1" => Some(Place::Stdout),
        "2" => Some(Place::Stderr),
        _ => None,
    }
}

fn is_descriptor(place: &Path) -> bool {
    let folder = beside(place).canonicalize();
    folder.is_ok_and(|folder| folder.starts_with("/proc"))
}

fn beside(place: &Path) -> PathBuf {
    place.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// The same file, by the name that its directory really has.
fn settled(place: &Path) -> PathBuf {
    let parent = match place.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let name = place.file_name().unwrap_or(OsStr::new(""));
    parent
        .canonicalize()
        .map_or_else(|_| place.to_owned(), |parent| parent.join(name))
}

/// Says what has, or may get, this name and is not to be replaced.
fn taken_by(file: &Path, settings: &Settings) -> Result<Option<&'static str>, Failure> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let base = std::env::current_dir()
        .map_err(|error| Failure::io("find", Path::new("."), &error).with_exit(Exit::Failed))?;
    let uploads = parts::paths_of(settings, base).upload_here();
    let mapped = settings.path_map.iter().map(|(_, to)| to.as_path());
    if std::iter::once(uploads.as_path())
        .chain(mapped)
        .any(|folder| file.starts_with(real(folder)))
    {
        return Ok(Some("a document, or would lie among them"));
    }
    let stores = [&settings.bucket, &settings.target].into_iter().flatten();
    let mut folders = stores.filter_map(|store| store.value.folder());
    if folders.any(|folder| file.starts_with(real(folder))) {
        return Ok(Some("an object, or would lie among them"));
    }
    let is_beside = file.parent() == Some(&real(&settings.state_dir.value));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if is_beside && name.starts_with(state::STEM) {
        return Ok(Some("a state file"));
    }
    let database = settings.database_url.value.strip_prefix("sqlite:");
    let database = database.map(|path| real(Path::new(path.trim_start_matches("//"))));
    Ok((database.as_deref() == Some(file)).then_some("the database"))
}
