//! What the runs of others need of a store's objects. A ledger knows one database; a clone of it may work over the same store, and its rows may name
//! what this run made.
//!
//! What must hold: every run keeps a copy of its journal in the store before anything is switched over, so these copies are looked at before anything
//! is removed, each time anew; a journal that cannot be read needs everything. So are copies that were set aside: each is of a history that
//! another one of the same name contradicts, and somebody's rows may be as it says. Two listings a look, and one reading of what is new.
//!
//! It deliberately does not lock anybody out: between a look and the removal after it somebody may begin to need an object. Who removes sources
//! reads the objects back before, so that only a removal that hung all the while could do harm.

use crate::engine::Mirror;
use crate::journal::{Claims, JournalError, JournalErrorKind, RunHeader, aside_of, pieces_by_run};
use crate::keyset::KeySet;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Entry, ErrorKind};
use tokio::sync::Mutex;

/// Journals on the disk are read in pieces of this size.
const GULP: usize = 1 << 18;

/// Which end of a run's way lies in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// What it copied to: it needs the objects of its keys as soon as they are stored, until it is undone.
    Keys,
    /// Where it copies from: it needs its sources until they are switched over for certain.
    Sources,
    /// Neither.
    Nothing,
}

/// What a tool knows of other runs.
pub trait Kin: Send + Sync {
    /// Tells whether the ledger of this run speaks for another one, by its name: it is over the very same database.
    fn is_own(&self, run_id: &str) -> bool;

    /// Says what a run claims; none if that is not known.
    fn claim(&self, header: &RunHeader) -> Option<Claim>;

    /// Says what a run claims whose copy was set aside. Its name is no sign of whose it is: that which took its place may be another's.
    fn claim_aside(&self, header: &RunHeader) -> Option<Claim>;

    /// Names a run to a person.
    fn name(&self, run_id: &str, header: Option<&RunHeader>) -> String;

    /// Returns the journals on this machine that may claim something and of which the store may keep no copy: names of runs, and where they are.
    fn journals(&self) -> Vec<(String, PathBuf)>;
}

/// The runs of others over one store.
pub struct Others {
    mirror: Mirror,
    kin: Arc<dyn Kin>,
    known: Mutex<BTreeMap<String, Known>>,
}

/// A run that still needs something of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimant {
    /// The run.
    pub run_id: String,
    /// It, in the words of the tool.
    pub name: String,
    /// What it is; none if that cannot be read.
    pub header: Option<RunHeader>,
    /// Why its journal could not be read, if so.
    pub unreadable: Option<String>,
}

/// What one run needs, as of the last look.
struct Known {
    /// By which it is seen that there is more to read: how many pieces, how many bytes.
    mark: (usize, u64),
    name: String,
    header: Option<RunHeader>,
    needs: Result<KeySet, String>,
}

impl Known {
    /// Says why an object has to stay.
    fn why(&self, key: &str) -> Option<String> {
        match &self.needs {
            Ok(needs) if needs.contains(key) => {
                Some(format!("{} needs it and is not undone", self.name))
            }
            Ok(_) => None,
            Err(why) => Some(format!(
                "nobody can say whether {} needs it: {why}",
                self.name
            )),
        }
    }
}

impl Others {
    /// Makes the list of a store; nothing is read yet.
    #[must_use]
    pub fn new(mirror: Mirror, kin: Arc<dyn Kin>) -> Others {
        Others {
            mirror,
            kin,
            known: Mutex::default(),
        }
    }

    /// Lists the runs of others that need something, as of now.
    ///
    /// # Errors
    /// If the store cannot be listed or read.
    pub async fn claimants(&self) -> Result<Vec<Claimant>, JournalError> {
        let mut known = self.known.lock().await;
        self.look(&mut known).await?;
        let needing = known.iter().filter(|(_, known)| match &known.needs {
            Ok(needs) => !needs.is_empty(),
            Err(_) => true,
        });
        let claimants = needing.map(|(run, known)| Claimant {
            run_id: run.clone(),
            name: known.name.clone(),
            header: known.header.clone(),
            unreadable: known.needs.as_ref().err().cloned(),
        });
        Ok(claimants.collect())
    }

    /// Says of each key why its object has to stay, if it has to, as of now.
    pub(crate) async fn why_kept(
        &self,
        keys: &[&str],
    ) -> Result<Vec<Option<String>>, JournalError> {
        let mut known = self.known.lock().await;
        self.look(&mut known).await?;
        let why = |key: &&str| known.values().find_map(|known| known.why(key));
        Ok(keys.iter().map(why).collect())
    }

    /// Reads what is new since the last look.
    async fn look(&self, known: &mut BTreeMap<String, Known>) -> Result<(), JournalError> {
        let mut copies = pieces_by_run(&self.mirror.store, &self.mirror.prefix).await?;
        copies.retain(|run, _| !self.kin.is_own(run));
        let mut here = self.kin.journals();
        here.retain(|(run, _)| !copies.contains_key(run) && !self.kin.is_own(run));
        let aside = aside_of(&self.mirror.prefix);
        let set_aside = pieces_by_run(&self.mirror.store, &aside).await?;
        // No run has a name with a stroke in it.
        let set_aside = set_aside.into_iter();
        copies.extend(set_aside.map(|(run, pieces)| (format!("{aside}/{run}"), pieces)));
        known.retain(|run, _| copies.contains_key(run) || here.iter().any(|(name, _)| name == run));
        for (run, pieces) in copies {
            let mark = (pieces.len(), pieces.iter().map(|piece| piece.size).sum());
            if known.get(&run).is_none_or(|known| known.mark != mark) {
                let read = self.read_copy(&run, &pieces).await?;
                known.insert(run, Known { mark, ..read });
            }
        }
        for (run, path) in here {
            let mark = (0, std::fs::metadata(&path).map_or(0, |found| found.len()));
            if known.get(&run).is_none_or(|known| known.mark != mark) {
                let read = self.read_file(&run, &path);
                known.insert(run, Known { mark, ..read });
            }
        }
        Ok(())
    }

    /// Reads a copy; `run` is where it lies, if it was set aside.
    async fn read_copy(&self, run: &str, pieces: &[Entry]) -> Result<Known, JournalError> {
        let is_aside = run.contains('/');
        let mut reading = Reading {
            is_aside,
            ..Reading::default()
        };
        for piece in pieces {
            let bytes = match self.mirror.store.get(&piece.key).await {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    reading.fail(format!("{} is gone", piece.key));
                    break;
                }
                Err(error) => {
                    let path = Path::new(&piece.key);
                    let error = JournalError::new(JournalErrorKind::Store, path).because(error);
                    return Err(error);
                }
            };
            let key = &piece.key;
            reading.go_on(&*self.kin, |claims, judge| {
                claims.take_piece(key, &bytes, judge)
            });
        }
        let mut known = reading.end(&*self.kin, run);
        if is_aside {
            known.name = format!("{}, by the copy of its journal in {run},", known.name);
        }
        Ok(known)
    }

    fn read_file(&self, run: &str, path: &Path) -> Known {
        let mut reading = Reading::default();
        let mut gulp = vec![0; GULP];
        let opened = File::open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => {
                reading.fail(error.to_string());
                return reading.end(&*self.kin, run);
            }
        };
        loop {
            match file.read(&mut gulp) {
                Ok(0) => break,
                Ok(n) => reading.go_on(&*self.kin, |claims, judge| claims.take(&gulp[..n], judge)),
                Err(error) => {
                    reading.fail(error.to_string());
                    break;
                }
            }
        }
        reading.end(&*self.kin, run)
    }
}

/// One journal while it is read. After the first thing that is wrong with it nothing more is taken in.
#[derive(Default)]
struct Reading {
    claims: Claims,
    header: Option<RunHeader>,
    wrong: Option<String>,
    is_aside: bool,
}

impl Reading {
    fn fail(&mut self, why: String) {
        self.wrong.get_or_insert(why);
    }

    fn go_on(
        &mut self,
        kin: &dyn Kin,
        take: impl FnOnce(&mut Claims, &dyn Fn(&RunHeader) -> Option<Claim>) -> Result<(), String>,
    ) {
        if self.wrong.is_some() {
            return;
        }
        let (seen, is_aside) = (std::cell::RefCell::new(None), self.is_aside);
        let judge = |header: &RunHeader| {
            *seen.borrow_mut() = Some(header.clone());
            match is_aside {
                true => kin.claim_aside(header),
                false => kin.claim(header),
            }
        };
        let taken = take(&mut self.claims, &judge);
        if let Some(header) = seen.into_inner() {
            self.header = Some(header);
        }
        if let Err(why) = taken {
            self.fail(why);
        }
    }

    fn end(self, kin: &dyn Kin, run: &str) -> Known {
        let needs = match self.wrong {
            Some(why) => Err(why),
            None => self.claims.end(),
        };
        Known {
            mark: (0, 0),
            name: match &self.header {
                Some(header) if self.is_aside => kin.name(&header.run_id, Some(header)),
                header => kin.name(run, header.as_ref()),
            },
            header: self.header,
            needs,
        }
    }
}
