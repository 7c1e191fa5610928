//! The objects that no row names.
//!
//! What must hold: only the application's own prefixes are looked at; what else is in the bucket is not ours to judge.
//!
//! It deliberately lists a second time, and only if there is something to name: the first listing kept no names.

use super::report::{Finding, FindingKind};
use super::{AuditError, Seen};
use crate::listing::Listing;
use crate::mapping::Mapping;
use futures::StreamExt;
use store::Store;

/// Names the objects that nothing has spoken for.
pub(super) async fn name_orphans(
    bucket: &Store,
    mapping: &Mapping,
    listing: &Listing,
    seen: &mut Seen,
) -> Result<(), AuditError> {
    seen.report.objects = Some(listing.len() as u64);
    if seen.objects.iter().all(|claimed| *claimed) {
        return Ok(());
    }
    let mut prefixes = mapping.object_prefixes();
    if prefixes.is_empty() {
        prefixes.push(String::new());
    }
    for prefix in prefixes {
        let mut entries = bucket.list_stream(&prefix);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            // What has come since the first listing is somebody's new document.
            let claimed = listing
                .place(&entry.key)
                .and_then(|place| seen.objects.get(place));
            if claimed == Some(&false) {
                let kind = FindingKind::ObjectWithoutRow;
                seen.report.add(Finding {
                    kind,
                    severity: kind.severity(),
                    column: String::new(),
                    row: String::new(),
                    path: entry.key,
                    detail: format!("no row names it; it has {} bytes", entry.size),
                    remedy: kind.remedy().to_owned(),
                });
            }
        }
    }
    Ok(())
}
