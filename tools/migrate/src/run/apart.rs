//! Whether the two buckets of a run between buckets are two.
//!
//! What must hold: nothing is copied, removed or rolled back between a bucket and itself, under whatever names and endpoints: the copy that stays
//! would be the object that goes.
//!
//! What it deliberately does not do: refuse another prefix of the same bucket. There a copy is an object of its own.

use console::{Exit, Failure};
use store::ErrorKind;

use super::session::Session;
use crate::cli::args::DirectionArg;

/// Fails if both buckets of a run between buckets are one and the same. Names alone do not tell, so what is written to the one is looked for in
/// the other.
///
/// # Errors
/// Of kind `same-bucket`, or if one of them cannot be asked.
pub async fn check_apart(session: &Session) -> Result<(), Failure> {
    if session.settings.direction != DirectionArg::S3ToS3 {
        return Ok(());
    }
    let (source, target) = (session.bucket().await?, session.target().await?);
    let now = jiff::Timestamp::now().as_nanosecond();
    // Below this prefix every probe of the store clears away what was left.
    let probe = format!(".syncline/probe/apart-{}-{now}", std::process::id());
    let bytes = "syncline probe: may be deleted at any time\n".into();
    target.put(&probe, bytes).await?;
    let seen = source.head(&probe).await;
    // Another process that clears probes away must not make one bucket look like two.
    target.head(&probe).await?;
    target.delete(std::slice::from_ref(&probe)).await?;
    match seen {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::new(
            Exit::Usage,
            "--target is the application's own bucket: what is written there appears here, so the copies would be the objects themselves",
        )
        .kind("same-bucket")
        .hint("nothing was copied or removed; a copy must be in another bucket, or below another prefix: --target \"s3://BUCKET/PREFIX?…\"")),
    }
}
