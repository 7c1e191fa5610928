//! Objects are written only where there is none.
//!
//! What must hold: what came to a key since the target was listed is not written over. A target that does not listen to that wish is found out, and each
//! key is looked at right before it is written there.
//!
//! It deliberately does not hold where a key says what the bytes are ([`crate::Limits::writes_over`]): what is damaged is written anew there.

use super::copy::Check;
use super::shared::{Failure, Shared};
use crate::report::ExceptionKind;
use store::{ErrorKind, StoreError};

impl Shared {
    /// Tells whether the target has to be asked to write over nothing, and can be: none if it may write over.
    pub(super) async fn only_new(&self) -> Result<Option<bool>, StoreError> {
        if self.limits.writes_over {
            return Ok(None);
        }
        let found = self.creates_only.get_or_try_init(|| async {
            let found = self.patiently(|| self.target.creates_only()).await?;
            if !found {
                tracing::info!("the store overlooks the wish to write over nothing: each key is looked at before it is written");
            }
            Ok::<bool, StoreError>(found)
        });
        Ok(Some(*found.await?))
    }
}

impl Check<'_> {
    /// Tells whether the target is asked to write over nothing; none if that is for nought there and something has the key. It is looked at
    /// (`looks`) where the target does not listen.
    pub(super) async fn asks_for_new(&self, looks: bool) -> Result<Option<bool>, Failure> {
        match self.shared.only_new().await? {
            None => return Ok(Some(false)),
            Some(true) => return Ok(Some(true)),
            Some(false) if !looks => return Ok(Some(false)),
            Some(false) => {}
        }
        let key = &self.blob.key;
        match self.shared.patiently(|| self.shared.target.head(key)).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(false)),
            Err(error) => Err(self.target_failure(error)),
        }
    }

    /// Tells whether the target has said that something has the key.
    pub(super) fn is_taken(&self, error: &StoreError) -> bool {
        error.kind() == ErrorKind::Precondition && !self.shared.limits.writes_over
    }

    pub(super) fn comes_and_goes(&self) -> Failure {
        let message =
            "something has the key when the object is written, and nothing when it is looked at";
        let remedy = "find out who else writes there, then run again";
        self.failure(ExceptionKind::Clash, message, remedy)
    }
}
