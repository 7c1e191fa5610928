//! One output stream that knows when its reader has gone, and the progress bar that must step aside for it.
//!
//! What must hold: a closed pipe turns every later write into nothing; the first other error is kept until asked for; what must have
//! arrived ([`Sink::deliver`]) is written past the standard library's streams, which take a stream that refuses every write for a success.
//!
//! It deliberately does not retry: an output stream that failed once is not to be trusted with the rest.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::WeakProgressBar;

/// Holds what a captured [`super::Ui`] wrote.
#[derive(Clone, Default)]
pub struct Captured {
    pub(super) out: SharedBuffer,
    pub(super) err: SharedBuffer,
}

impl Captured {
    /// Returns what went to stdout.
    #[must_use]
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// Returns what went to stderr.
    #[must_use]
    pub fn err(&self) -> String {
        self.err.text()
    }
}

/// A buffer with several owners.
#[derive(Clone, Default)]
pub(super) struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

impl SharedBuffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a sink's bytes end.
#[derive(Clone, Copy)]
enum End {
    Stdout,
    Stderr,
    /// In this process: what is written has arrived.
    Here,
}

impl End {
    fn open(self) -> io::Result<Option<File>> {
        let stream = match self {
            End::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
            End::Stderr => io::stderr().as_fd().try_clone_to_owned()?,
            End::Here => return Ok(None),
        };
        Ok(Some(File::from(stream)))
    }
}

/// A stream and what became of it.
pub(super) struct Sink {
    end: End,
    state: Mutex<State>,
    /// A person waits for each line; a file does not.
    flush_each: bool,
}

struct State {
    writer: Box<dyn Write + Send>,
    closed: bool,
    error: Option<io::Error>,
}

impl Sink {
    pub(super) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self {
            end: End::Here,
            state: Mutex::new(State {
                writer,
                closed: false,
                error: None,
            }),
            flush_each: false,
        }
    }

    pub(super) fn stdout(is_terminal: bool) -> Self {
        Self {
            end: End::Stdout,
            flush_each: is_terminal,
            ..Self::new(Box::new(BufWriter::with_capacity(64 * 1024, io::stdout())))
        }
    }

    pub(super) fn stderr() -> Self {
        Self {
            end: End::Stderr,
            flush_each: true,
            ..Self::new(Box::new(io::stderr()))
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) {
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        let written = state.writer.write_all(bytes);
        let written = if self.flush_each {
            written.and_then(|()| state.writer.flush())
        } else {
            written
        };
        state.note(written);
    }

    /// Writes what must arrive, and says whether it did. A stream that nobody can read, `/dev/null`, takes it and is a failure all the
    /// same: a stream that was closed from the start looks just like it.
    pub(super) fn deliver(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.state);
        let outcome = state.deliver(self.end, bytes);
        if outcome.is_err() {
            // It is said here, once.
            state.closed = true;
        }
        outcome
    }

    pub(super) fn flush(&self) {
        let mut state = lock(&self.state);
        if !state.closed {
            let flushed = state.writer.flush();
            state.note(flushed);
        }
    }

    /// Flushes, unless another thread is writing.
    pub(super) fn flush_if_free(&self) {
        if let Ok(mut state) = self.state.try_lock()
            && !state.closed
        {
            let flushed = state.writer.flush();
            state.note(flushed);
        }
    }

    pub(super) fn fail(&self, error: io::Error) {
        lock(&self.state).note(Err(error));
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Whether it was closed by its reader, not by an error.
    pub(super) fn is_cut_off(&self) -> bool {
        let state = lock(&self.state);
        state.closed && state.error.is_none()
    }

    pub(super) fn take_error(&self) -> Option<io::Error> {
        lock(&self.state).error.take()
    }
}

impl State {
    fn deliver(&mut self, end: End, bytes: &[u8]) -> io::Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.writer.flush()?;
        let Some(mut stream) = end.open()? else {
            return self.writer.write_all(bytes);
        };
        if is_null(&stream)? {
            return Err(io::Error::other("it leads nowhere"));
        }
        stream.write_all(bytes)?;
        match stream.metadata()?.is_file() {
            true => stream.sync_data(),
            false => Ok(()),
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        self.closed = true;
        // A reader that has seen enough is no failure.
        if error.kind() != io::ErrorKind::BrokenPipe && self.error.is_none() {
            self.error = Some(error);
        }
    }
}

fn is_null(stream: &File) -> io::Result<bool> {
    let stream = stream.metadata()?;
    let Ok(null) = std::fs::metadata("/dev/null") else {
        return Ok(false);
    };
    Ok(stream.file_type().is_char_device() && stream.rdev() == null.rdev())
}

/// The progress bar on the screen, if there is one.
#[derive(Default)]
pub(super) struct ActiveBar(Mutex<Option<WeakProgressBar>>);

impl ActiveBar {
    pub(super) fn set(&self, bar: Option<WeakProgressBar>) {
        *lock(&self.0) = bar;
    }

    /// Does the writing while the bar is off the screen.
    pub(super) fn suspended<T>(&self, on_terminal: bool, write: impl FnOnce() -> T) -> T {
        let bar = if on_terminal {
            lock(&self.0).as_ref().and_then(WeakProgressBar::upgrade)
        } else {
            None
        };
        match bar {
            Some(bar) if !bar.is_finished() => bar.suspend(write),
            _ => write(),
        }
    }
}

/// A panic elsewhere must not take the output with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refusing(io::ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_silent() {
        let sink = Sink::new(Box::new(Refusing(io::ErrorKind::BrokenPipe)));
        sink.write(b"x");
        assert!(sink.is_closed());
        assert!(sink.take_error().is_none());
    }

    #[test]
    fn a_full_disk_is_kept() {
        let sink = Sink::new(Box::new(Refusing(io::ErrorKind::StorageFull)));
        sink.write(b"x");
        sink.write(b"y");
        assert_eq!(
            sink.take_error().map(|error| error.kind()),
            Some(io::ErrorKind::StorageFull)
        );
    }
}
