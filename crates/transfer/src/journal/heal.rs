//! Making a journal whole again whose beginning is gone or of which a line in the middle cannot be read.
//!
//! What must hold: the copy in the target takes its place only if every line that can still be read is in it at the same place; what the file has
//! beyond the copy is kept behind it, and has to fit. A copy that is longer than the file is taken only where something here says that the file had
//! more, or where nothing of it can be read at all. The damaged file is kept aside, whole.
//!
//! It deliberately mends no line by itself: a checksum says that it is wrong, not what was right.

use super::renew::{self, Renewed};
use super::{Journal, JournalError, JournalErrorKind, line, mirror, reader};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use store::Store;

impl Journal {
    /// Tells what is wrong with the file of a journal: none if all of its lines can be read, but for a torn tail.
    ///
    /// # Errors
    /// If it cannot be read at all.
    pub fn damage_of(path: &Path) -> Result<Option<JournalError>, JournalError> {
        match reader::whole_length(path) {
            Ok(0) => Ok(Some(JournalError::new(JournalErrorKind::Unknown, path))),
            Ok(_) => Ok(None),
            Err(error) if is_damage(&error) => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// Puts the copy that a store keeps of a run's journal in the place of one that is damaged. `known`: how many bytes it had by what is kept here and
    /// not in the store. None if nothing is wrong with it.
    ///
    /// # Errors
    /// `Unknown` or `Damaged` if it cannot be mended, `Diverged` if the copy contradicts what can be read, `Shorter` if the copy is longer and nothing
    /// here says why, `Locked` if a process writes it, `Store`, `Io`.
    pub async fn heal_from_mirror(
        store: &Store,
        prefix: &str,
        run_id: &str,
        path: &Path,
        known: u64,
    ) -> Result<Option<Renewed>, JournalError> {
        // Held until the new file is in its place.
        let _locked = reader::open_locked(path, || File::open(path))?;
        let Some(damage) = Journal::damage_of(path)? else {
            return Ok(None);
        };
        let copy = mirror::Extent::find(store, prefix, run_id, path).await?;
        if copy.end == 0 {
            return Err(damage);
        }
        renew::sweep(path);
        let new = renew::name_for_new(path);
        let rebuilt = mirror::rebuild(store, prefix, run_id, &new).await;
        let healed = rebuilt.and_then(|()| {
            let run = Replacing {
                path,
                new: &new,
                copied: copy.end,
                known,
            };
            run.replace(run_id, damage)
        });
        if healed.is_err() {
            let _ = fs::remove_file(&new);
        }
        healed.map(Some)
    }
}

fn is_damage(error: &JournalError) -> bool {
    matches!(
        error.kind(),
        JournalErrorKind::Unknown | JournalErrorKind::Damaged
    )
}

/// A damaged journal and the new file beside it.
struct Replacing<'p> {
    path: &'p Path,
    new: &'p Path,
    copied: u64,
    known: u64,
}

impl Replacing<'_> {
    fn replace(&self, run_id: &str, damage: JournalError) -> Result<Renewed, JournalError> {
        let failed = |error| JournalError::io(self.path, error);
        self.add_tail().map_err(failed)?;
        let is = match reader::whole_length(self.new) {
            Ok(is) if is >= self.copied => is,
            // What is wrong is wrong in the copy, too, or in what was never copied.
            Ok(_) => return Err(damage),
            Err(error) if is_damage(&error) => return Err(damage),
            Err(error) => return Err(error),
        };
        let length = fs::metadata(self.path).map_err(failed)?.len();
        if self.known != u64::MAX && is < self.known {
            return Err(damage);
        }
        let was = self.readable()?.ok_or_else(|| renew::diverged(self.path))?;
        if Journal::header_of(self.new)?.run_id != run_id {
            return Err(renew::diverged(self.path));
        }
        if was > 0 && is > length && length >= self.known {
            return Err(renew::shorter(self.path, is, length));
        }
        let aside = renew::put_aside(self.path, "damaged").map_err(failed)?;
        renew::put_in_place(self.new, self.path).map_err(failed)?;
        Ok(Renewed { aside, was, is })
    }

    /// Adds what the damaged file has beyond the copy.
    fn add_tail(&self) -> io::Result<()> {
        let mut old = File::open(self.path)?;
        let mut new = OpenOptions::new().append(true).open(self.new)?;
        if old.metadata()?.len() > self.copied {
            old.seek(SeekFrom::Start(self.copied))?;
            io::copy(&mut old, &mut new)?;
            new.flush()?;
            new.sync_all()?;
        }
        Ok(())
    }

    /// Returns how many bytes of the damaged file are in lines that the new one has at the same place; none if one that can be read is not.
    fn readable(&self) -> Result<Option<u64>, JournalError> {
        let failed = |error| JournalError::io(self.path, error);
        let open = |path: &Path| File::open(path).map(BufReader::new).map_err(failed);
        let (mut of_old, mut of_new) = (open(self.path)?, open(self.new)?);
        let (mut old, mut new) = (Vec::new(), Vec::new());
        let (mut number, mut readable) = (0_u64, 0);
        loop {
            old.clear();
            let n = (&mut of_old)
                .take(reader::LINE_MAX)
                .read_until(b'\n', &mut old)
                .map_err(failed)?;
            if n == 0 {
                return Ok(Some(readable));
            }
            new.clear();
            let wanted = (&mut of_new).take(n as u64);
            { wanted }.read_to_end(&mut new).map_err(failed)?;
            let mut near = number.saturating_sub(2)..=number + 2;
            let is_sound = near.any(|number| line::text(number, &old).is_some());
            match (is_sound, old == new) {
                (true, false) => return Ok(None),
                (true, true) => readable += n as u64,
                (false, _) => {}
            }
            number += new.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::renew::tests::{planned, sample};
    use super::*;

    const RUN: &str = "run-1";

    async fn heal(
        target: &Store,
        path: &Path,
        known: u64,
    ) -> Result<Option<Renewed>, JournalError> {
        Journal::heal_from_mirror(target, "mirror", RUN, path, known).await
    }

    #[tokio::test]
    async fn wherever_one_byte_is_wrong_or_the_rest_is_gone_the_copy_takes_its_place() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("journal");
        let (target, _) = sample(&path).await;
        let whole = fs::read(&path).expect("reads");
        let mut n = 0;
        let damaged = (0..whole.len()).step_by(7).map(|place| {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            bytes
        });
        let cut = (0..300).step_by(20).map(|length| whole[..length].to_vec());
        let zeros = std::iter::once(vec![0; whole.len()]);
        for bytes in damaged.chain(cut).chain(zeros) {
            fs::write(&path, &bytes).expect("writes");
            if Journal::damage_of(&path).expect("reads").is_none() {
                continue;
            }
            n += 1;
            let known = whole.len() as u64;
            let healed = heal(&target, &path, known).await.expect("heals");
            let aside = healed.expect("it was damaged").aside;
            assert_eq!(fs::read(&path).expect("reads"), whole);
            assert_eq!(fs::read(&aside).expect("it is kept"), bytes);
            fs::remove_file(aside).expect("removes");
        }
        assert!(n > 100, "{n}");
        assert!(heal(&target, &path, 0).await.expect("looks").is_none());
    }

    #[tokio::test]
    async fn what_is_beyond_the_copy_is_kept_and_has_to_fit() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("journal");
        let (target, _) = sample(&path).await;
        let copied = fs::metadata(&path).expect("is there").len();
        {
            let journal = Journal::open(&path).expect("opens");
            for number in 100..103 {
                journal.append(&planned(number)).expect("appends");
            }
            journal.sync().await.expect("syncs");
        }
        let whole = fs::read(&path).expect("reads");
        let wrong_at = |place: usize| {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            fs::write(&path, &bytes).expect("writes");
            bytes
        };
        wrong_at(whole.len() / 3);
        heal(&target, &path, 0)
            .await
            .expect("heals")
            .expect("is new");
        assert_eq!(fs::read(&path).expect("reads"), whole);
        // In what the store never had nothing can be mended.
        let bytes = wrong_at(usize::try_from(copied).expect("small") + 20);
        let error = heal(&target, &path, 0).await.expect_err("cannot");
        assert_eq!(error.kind(), JournalErrorKind::Damaged);
        assert_eq!(fs::read(&path).expect("reads"), bytes);
    }

    #[tokio::test]
    async fn a_copy_that_is_longer_or_another_is_not_taken() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("journal");
        let (target, _) = sample(&path).await;
        let whole = fs::read(&path).expect("reads");
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let mut short = lines[..lines.len() / 2].concat();
        short[lines[0].len() + 40] ^= 1;
        fs::write(&path, &short).expect("writes");
        let error = heal(&target, &path, 0).await.expect_err("nothing says so");
        assert_eq!(error.kind(), JournalErrorKind::Shorter);
        let known = whole.len() as u64;
        heal(&target, &path, known)
            .await
            .expect("heals")
            .expect("is new");
        assert_eq!(fs::read(&path).expect("reads"), whole);
        // A line that can be read and is not in the copy.
        let other = dir.path().join("other");
        let (_, _) = sample(&other).await;
        {
            let journal = Journal::open(&other).expect("opens");
            journal.append(&planned(500)).expect("appends");
            journal.sync().await.expect("syncs");
        }
        let mut mixed = fs::read(&other).expect("reads");
        mixed.drain(lines[0].len()..lines[0].len() + lines[1].len());
        fs::write(&path, &mixed).expect("writes");
        let error = heal(&target, &path, known).await.expect_err("contradicts");
        assert_eq!(error.kind(), JournalErrorKind::Diverged);
        assert_eq!(fs::read(&path).expect("reads"), mixed);
    }
}
