//! How records are cut into segments, and when small segments become one: so that a vault of a million records is tens of objects.
//!
//! What must hold: merging is decided from sizes alone, so every device can foresee it; each record is rewritten at most once a
//! tier. What it deliberately does not do: read or write anything.

use crate::state::OwnSegment;

/// The newest records of a large push go into a segment of this size, so that a new device has them first.
pub(crate) const NEWEST_SEGMENT_RECORDS: usize = 16_384;
/// The largest segment that a push cuts, in records.
const LARGEST_SEGMENT_RECORDS: u64 = 131_072;
/// Segments at least this large are never merged again.
const MERGED_RECORDS_MAX: u64 = 65_536;
/// So many neighbours of one tier become one of the next.
const FANOUT: usize = 8;

/// How many of the `remaining` records, oldest first, go into the next segment.
///
/// Sizes double from the newest backwards (16,384, 32,768, 65,536), and are then constant.
pub(crate) fn cut(remaining: u64) -> usize {
    let mut tail = 0;
    let mut size = NEWEST_SEGMENT_RECORDS as u64;
    while size < LARGEST_SEGMENT_RECORDS {
        if remaining <= tail + size {
            return (remaining - tail) as usize;
        }
        tail += size;
        size *= 2;
    }
    (remaining - tail).min(LARGEST_SEGMENT_RECORDS) as usize
}

/// The index of the first live segment that a push of `pending` records should take in; the length if none.
pub(crate) fn merge_from(live: &[OwnSegment], pending: u64) -> usize {
    let mut start = live.len();
    let mut total = pending;
    loop {
        let tier = tier(total);
        let mut run = start;
        while run > 0 && is_small(&live[run - 1], tier) {
            run -= 1;
        }
        if start - run + 1 < FANOUT {
            return start;
        }
        total += live[run..start]
            .iter()
            .map(|segment| segment.entry.records)
            .sum::<u64>();
        start = run;
    }
}

fn is_small(segment: &OwnSegment, largest_tier: u32) -> bool {
    segment.local
        && segment.entry.records < MERGED_RECORDS_MAX
        && tier(segment.entry.records) <= largest_tier
}

fn tier(records: u64) -> u32 {
    records.max(1).ilog(FANOUT as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ObjectHash;
    use crate::manifest::SegmentEntry;

    fn segment(records: u64) -> OwnSegment {
        let entry = SegmentEntry {
            first: 0,
            last: 0,
            hash: ObjectHash([0; 16]),
            records,
            bytes: 0,
            raw_bytes: 0,
            newest: 0,
            replaces: vec![],
        };
        OwnSegment { entry, local: true }
    }

    #[test]
    fn a_large_push_ends_in_small_segments() {
        let mut remaining = 1_000_000;
        let mut sizes = vec![];
        while remaining > 0 {
            let size = cut(remaining);
            sizes.push(size);
            remaining -= size as u64;
        }
        assert_eq!(sizes.len(), 10);
        assert_eq!(sizes.last(), Some(&NEWEST_SEGMENT_RECORDS));
        assert!(
            sizes
                .iter()
                .all(|size| *size as u64 <= LARGEST_SEGMENT_RECORDS)
        );
    }

    #[test]
    fn ten_thousand_single_pushes_leave_few_segments_and_rewrite_little() {
        let mut live: Vec<OwnSegment> = vec![];
        let mut rewritten = 0;
        let mut most = 0;
        for _ in 0..10_000 {
            let start = merge_from(&live, 1);
            let taken: u64 = live[start..]
                .iter()
                .map(|segment| segment.entry.records)
                .sum();
            rewritten += taken;
            live.truncate(start);
            live.push(segment(taken + 1));
            most = most.max(live.len());
        }
        assert_eq!(
            live.iter()
                .map(|segment| segment.entry.records)
                .sum::<u64>(),
            10_000
        );
        assert!(most <= 40, "{most} segments");
        assert!(rewritten <= 10_000 * 6, "{rewritten} records rewritten");
    }
}
