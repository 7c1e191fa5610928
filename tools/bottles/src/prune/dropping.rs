//! Giving a generation up of which the record is damaged: nobody knows what it names, so a prune that kept it could remove nothing.
//!
//! What must hold: only what a person has named goes, only if it really cannot be read, also by a newer program, and never what is current.
//!
//! It deliberately restores no record: its name is a digest of what it said, and of that only a part lies in the mirror besides.

use crate::log::{self, GenerationId, Log, LogError};
use store::Store;

/// A generation cannot be given up.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nothing has that number or name.
    #[error("there is no generation {}", .0.escape_debug())]
    NotThere(String),
    /// Two runs at once took the same number.
    #[error("two runs at once made generations of the number {name}")]
    Several {
        /// What was asked for.
        name: String,
        /// Those that it may mean.
        ids: Vec<GenerationId>,
    },
    /// Clients are told of it.
    #[error("generation {0} is the current one")]
    Current(GenerationId),
    /// It is whole.
    #[error("generation {0} can be read, so nothing of it has to be given up")]
    Whole(GenerationId),
}

/// Finds the damaged generation that a number, or a whole name, stands for: also one that was never current, as a run that died leaves it.
///
/// # Errors
/// If it is not there, not certain, current, or not damaged.
pub async fn damaged(store: &Store, name: &str) -> Result<GenerationId, DropError> {
    let log = Log::read(store).await.map_err(LogError::from)?;
    let number: Option<u64> = name.parse().ok();
    let is_meant = |id: &&GenerationId| Some(id.number()) == number || id.as_str() == name;
    let (mut whole, mut found) = (None, Vec::new());
    for id in log.generations.keys().chain(log.lost()).filter(is_meant) {
        match log::read(store, id).await {
            Ok(_) => whole = Some(id.clone()),
            Err(LogError::Damaged { .. }) => found.push(id.clone()),
            Err(error) => return Err(error.into()),
        }
    }
    match (&found[..], whole) {
        ([id], _) if log.current() == Some(id) => Err(DropError::Current(id.clone())),
        ([id], _) => Ok(id.clone()),
        ([], Some(whole)) => Err(DropError::Whole(whole)),
        ([], None) => Err(DropError::NotThere(name.to_owned())),
        _ => Err(DropError::Several {
            name: name.to_owned(),
            ids: found,
        }),
    }
}
