//! The engine's ledger over the application's database: an item is switched over when its row, and every row that repeats
//! its path, names the new place.
//!
//! What must hold: all rows of a batch change in one transaction, each only from the path it is known to hold; what appears
//! meanwhile with the same path follows; a rollback also takes back what somebody bent by hand, and no object counts as unnamed, nor a source as
//! free to go, while a row spells it in any way that is known.
//!
//! It deliberately keeps nothing in memory between calls but a short-lived list of files that rows still need.

mod needed;

use crate::bent;
use crate::db::{Change, Database, DbError, Holder, Switched, Which};
use crate::mapping::{CopyColumn, Mapping};
use crate::plan::Context;
use crate::resolve::Paths;
use async_trait::async_trait;
use needed::Needed;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use transfer::{Item, Ledger, LedgerError, Outcome, Standing};

/// The ledger of a run.
pub struct DbLedger {
    db: Arc<dyn Database>,
    mapping: Arc<Mapping>,
    paths: Arc<Paths>,
    needed: tokio::sync::Mutex<Option<Needed>>,
    is_source_retired: bool,
}

/// The changes of a batch, each with the item that it belongs to.
struct Batch {
    changes: Vec<Change>,
    items: Vec<usize>,
}

impl DbLedger {
    /// Makes a ledger.
    #[must_use]
    pub fn new(db: Arc<dyn Database>, mapping: Arc<Mapping>, paths: Arc<Paths>) -> DbLedger {
        DbLedger {
            db,
            mapping,
            paths,
            needed: tokio::sync::Mutex::default(),
            is_source_retired: false,
        }
    }

    /// Says that the application reads the sources' bucket no more: what rows name is in another one.
    #[must_use]
    pub fn source_retired(mut self, is_retired: bool) -> DbLedger {
        self.is_source_retired = is_retired;
        self
    }

    /// Reads the changes of items out of the journal's context.
    fn batch(&self, items: &[Item], reversed: bool) -> Result<Batch, LedgerError> {
        let mut batch = Batch {
            changes: Vec::new(),
            items: Vec::new(),
        };
        for (place, item) in items.iter().enumerate() {
            for change in context_of(item)?.changes {
                batch
                    .changes
                    .push(if reversed { change.reversed() } else { change });
                batch.items.push(place);
            }
        }
        Ok(batch)
    }

    /// Adds rows that hold one of the old paths by now, or a bent form of one, and were not known when the batch was planned. On the way back also
    /// those that another item of the batch lists: of two items with one path either may have taken them along.
    async fn add_newcomers(
        &self,
        batch: &mut Batch,
        columns: &[CopyColumn],
        is_back: bool,
    ) -> Result<(), LedgerError> {
        let mut known = Known::new(is_back);
        let mut by_old: HashMap<String, (String, usize)> = HashMap::new();
        let news: HashSet<&str> = batch
            .changes
            .iter()
            .map(|change| change.new.as_str())
            .collect();
        for (change, item) in batch.changes.iter().zip(&batch.items) {
            known.insert(change, *item);
            if change.old == change.new || by_old.contains_key(&change.old) {
                continue;
            }
            let forms = bent::forms(&self.mapping, &self.paths, &change.old).into_iter();
            let forms = forms.filter(|form| !news.contains(form.as_str()));
            for old in forms.chain([change.old.clone()]) {
                by_old.insert(old, (change.new.clone(), *item));
            }
        }
        let olds: Vec<String> = by_old.keys().cloned().collect();
        if olds.is_empty() {
            return Ok(());
        }
        for holder in self.db.holders(columns, &olds).await.map_err(failed)? {
            if let Some((new, item)) = by_old.get(&holder.path)
                && !known.has(&holder, *item)
            {
                batch.items.push(*item);
                batch.changes.push(Change {
                    table: holder.table,
                    key_column: holder.key_column,
                    key: holder.key,
                    column: holder.column,
                    old: holder.path,
                    new: new.clone(),
                });
            }
        }
        Ok(())
    }

    /// The columns in which a row may name an object.
    fn naming_columns(&self) -> Vec<CopyColumn> {
        let mut columns = vec![self.mapping.main.column()];
        columns.extend(self.mapping.followers());
        columns
    }

    /// Finds the stored paths that a row holds, or of which it holds a bent form. `stored` are the paths, each with the number that stands for it in
    /// the answer; what is also a path in `local` is a row's file on the disk.
    async fn named(
        &self,
        stored: impl Iterator<Item = (usize, String)>,
        local: &HashSet<&str>,
    ) -> Result<HashSet<usize>, LedgerError> {
        let mut numbers: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, path) in stored {
            let forms = bent::forms(&self.mapping, &self.paths, &path).into_iter();
            let forms = forms.filter(|form| !local.contains(form.as_str()));
            for spelled in forms.chain([path]) {
                numbers.entry(spelled).or_default().push(number);
            }
        }
        if numbers.is_empty() {
            return Ok(HashSet::new());
        }
        let spelled: Vec<String> = numbers.keys().cloned().collect();
        let holders = self.db.holders(&self.naming_columns(), &spelled).await;
        let held = holders.map_err(failed)?.into_iter();
        let held = held.filter_map(|holder| numbers.get(&holder.path));
        Ok(held.flatten().copied().collect())
    }

    /// Mends rows that hold a bent form of the path they are to be taken back from.
    async fn unbend(&self, batch: &Batch, answers: &mut [Switched]) -> Result<(), LedgerError> {
        let mut places = Vec::new();
        let mut changes = Vec::new();
        for (place, (change, answer)) in batch.changes.iter().zip(answers.iter()).enumerate() {
            if let Switched::Changed(current) = answer
                && bent::forms(&self.mapping, &self.paths, &change.old).contains(current)
            {
                places.push(place);
                changes.push(Change {
                    old: current.clone(),
                    ..change.clone()
                });
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mended = self.db.switch(&changes).await.map_err(failed)?;
        for (place, answer) in places.into_iter().zip(mended) {
            answers[place] = answer;
        }
        Ok(())
    }
}

#[async_trait]
impl Ledger for DbLedger {
    async fn commit(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        let mut batch = self.batch(items, false)?;
        self.add_newcomers(&mut batch, &self.mapping.followers(), false)
            .await?;
        let answers = self.db.switch(&batch.changes).await.map_err(failed)?;
        Ok(outcomes(items.len(), &batch, &answers))
    }

    async fn revert(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        let mut batch = self.batch(items, true)?;
        self.add_newcomers(&mut batch, &self.naming_columns(), true)
            .await?;
        let mut answers = self.db.switch(&batch.changes).await.map_err(failed)?;
        self.unbend(&batch, &mut answers).await?;
        let mut outcomes = outcomes(items.len(), &batch, &answers);
        // What became of the rows that repeat its path does not put an item back of which the own row is left alone.
        let mut seen = vec![false; items.len()];
        for ((item, change), answer) in batch.items.iter().zip(&batch.changes).zip(&answers) {
            let is_own = !std::mem::replace(&mut seen[*item], true);
            if let (true, Switched::Changed(current)) = (is_own, answer) {
                outcomes[*item] = changed(change, current);
            }
        }
        Ok(outcomes)
    }

    async fn standing(&self, items: &[Item]) -> Result<Vec<Standing>, LedgerError> {
        let batch = self.batch(items, false)?;
        let answers = self.db.peek(&batch.changes).await.map_err(failed)?;
        let olds = batch.changes.iter().map(|change| change.old.as_str());
        let news = batch.changes.iter().map(|change| change.new.clone());
        let named = self.named(news.enumerate(), &olds.collect()).await?;
        let mut standing = vec![Standing::Unnamed; items.len()];
        let mut seen = vec![false; items.len()];
        let changes = batch.items.iter().zip(&batch.changes).zip(&answers);
        for (at, ((place, change), answer)) in changes.enumerate() {
            let is_own = !std::mem::replace(&mut seen[*place], true);
            let is_named = match answer {
                Switched::AlreadyDone => true,
                Switched::Changed(current) => bent::names(&self.mapping, current, &change.new),
                Switched::Done | Switched::Gone => false,
            };
            let found = match (is_named || named.contains(&at), answer) {
                (false, _) => Standing::Unnamed,
                // A row that holds the same before and after does not say which bucket is meant.
                (true, _) if change.old == change.new => Standing::Alike,
                (true, Switched::AlreadyDone) if is_own => Standing::Switched,
                (true, _) => Standing::Named,
            };
            standing[*place] = standing[*place].min(found);
        }
        Ok(standing)
    }

    async fn is_switched(&self, items: &[Item]) -> Result<Vec<bool>, LedgerError> {
        let batch = self.batch(items, false)?;
        let answers = self.db.peek(&batch.changes).await.map_err(failed)?;
        let mut switched = vec![true; items.len()];
        let mut seen = vec![false; items.len()];
        for ((item, answer), change) in batch.items.iter().zip(&answers).zip(&batch.changes) {
            // Only the item's own row has to be there; those that repeated its path may be gone.
            let good = match answer {
                Switched::AlreadyDone => true,
                Switched::Done => change.old == change.new,
                Switched::Gone => seen[*item],
                // Of two items with one path the other one took it along.
                Switched::Changed(current) => seen[*item] && self.mapping.key_of(current).is_some(),
            };
            seen[*item] = true;
            switched[*item] &= good;
        }
        if self.is_source_retired {
            return Ok(switched);
        }
        // What a source is shows in the path that named it.
        let objects = batch.items.iter().zip(&batch.changes);
        let objects = objects.filter(|(_, change)| self.mapping.key_of(&change.old).is_some());
        let objects: Vec<_> = objects
            .map(|(item, change)| (*item, change.old.clone()))
            .collect();
        let which = match objects.is_empty() {
            true => Which::Local,
            false => Which::Stored,
        };
        let locals = batch.changes.iter().map(|change| change.new.as_str());
        for item in self.named(objects.into_iter(), &locals.collect()).await? {
            switched[item] = false;
        }
        let mut needed = self.needed.lock().await;
        let current = match needed.take().filter(|needed| needed.is_usable(which)) {
            Some(current) => current,
            None => {
                let collected = Needed::collect(&*self.db, &self.mapping, &self.paths, which);
                collected.await.map_err(failed)?
            }
        };
        for (item, switched) in items.iter().zip(&mut switched) {
            *switched &= item.blobs.iter().all(|blob| !current.has(&blob.source));
        }
        *needed = Some(current);
        Ok(switched)
    }
}

/// The rows that a batch has changes for.
struct Known {
    is_back: bool,
    /// Table, column and key of each, with the item that lists it, or none where any counts.
    rows: HashSet<(String, String, String, Option<usize>)>,
    /// Items of which the first row, their own, was seen.
    with_own: HashSet<usize>,
}

impl Known {
    fn new(is_back: bool) -> Known {
        Known {
            is_back,
            rows: HashSet::new(),
            with_own: HashSet::new(),
        }
    }

    fn insert(&mut self, change: &Change, item: usize) {
        let is_own = self.with_own.insert(item);
        let lister = Some(item).filter(|_| self.is_back && !is_own);
        let (table, column) = (change.table.clone(), change.column.clone());
        self.rows
            .insert((table, column, change.key.clone(), lister));
    }

    fn has(&self, holder: &Holder, item: usize) -> bool {
        let (table, column, key) = (&holder.table, &holder.column, &holder.key);
        [None, Some(item)].into_iter().any(|lister| {
            let row = (table.clone(), column.clone(), key.clone(), lister);
            self.rows.contains(&row)
        })
    }
}

/// Reads an item's context.
fn context_of(item: &Item) -> Result<Context, LedgerError> {
    serde_json::from_value(item.context.clone()).map_err(|error| {
        LedgerError::new(error).with_remedy(format!(
            "the journal's entry for {} is from another version of this tool; use that version",
            item.id
        ))
    })
}

/// Folds the answers for single rows into one for each item: its own row decides, unless that is not where it should be and
/// another row is: then the object is referred to, and must stay.
fn outcomes(count: usize, batch: &Batch, answers: &[Switched]) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; count];
    for ((item, change), answer) in batch.items.iter().zip(&batch.changes).zip(answers) {
        let outcome = match answer {
            Switched::Done => Outcome::Done,
            Switched::AlreadyDone => Outcome::AlreadyDone,
            Switched::Changed(current) => changed(change, current),
            Switched::Gone => Outcome::Gone(change.to_string()),
        };
        let slot = &mut outcomes[*item];
        let better = slot
            .as_ref()
            .is_none_or(|known| !known.is_done() && outcome.is_done());
        let newly = *slot == Some(Outcome::AlreadyDone) && outcome == Outcome::Done;
        if better || newly {
            *slot = Some(outcome);
        }
    }
    let nothing = || Outcome::Gone("the journal names no row".to_owned());
    outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(nothing))
        .collect()
}

fn changed(change: &Change, current: &str) -> Outcome {
    Outcome::Changed(format!("{change} holds `{current}`"))
}

fn failed(error: DbError) -> LedgerError {
    let (retryable, remedy) = (error.is_retryable(), error.remedy());
    LedgerError::new(error)
        .retryable(retryable)
        .with_remedy(remedy)
}
