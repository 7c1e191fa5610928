//! Which entries without a time are new, when a file overlaps with what was imported before.
//!
//! What must hold: the same file again, a part of it, or a shuffled copy adds nothing; a file that only grew, or lost its head and
//! grew, adds exactly what came after what is known.
//!
//! What it deliberately does not do: look at texts; it sees their hashes.

use std::collections::HashMap;

/// So many entries must overlap before a common stretch is believed to be more than chance.
const OVERLAP_MIN: usize = 4;

/// For each entry of `file` whether it is new, given the `known` entries in order.
pub(super) fn new_entries(known: &[u64], file: &[u64]) -> Vec<bool> {
    if known.is_empty() {
        return vec![true; file.len()];
    }
    let Some(overlap) = overlap(known, file) else {
        return vec![false; file.len()];
    };
    let counted = beyond_known(known, file);
    let by_count = counted.iter().filter(|new| **new).count();
    let believed = overlap == known.len()
        || overlap >= OVERLAP_MIN
        || (overlap > 0 && by_count == file.len() - overlap);
    if believed {
        (0..file.len()).map(|index| index >= overlap).collect()
    } else {
        counted
    }
}

/// The length of the longest end of `known` that `file` begins with; none if `known` has all of `file` in one piece.
fn overlap(known: &[u64], file: &[u64]) -> Option<usize> {
    let fallback = borders(file);
    let mut matched = 0;
    for entry in known {
        while matched > 0 && file[matched] != *entry {
            matched = fallback[matched - 1];
        }
        if file.get(matched) == Some(entry) {
            matched += 1;
        }
        if matched == file.len() {
            return None;
        }
    }
    Some(matched)
}

/// For each beginning of `file`, the length of its longest proper beginning that is also its end (Knuth, Morris, Pratt).
fn borders(file: &[u64]) -> Vec<usize> {
    let mut borders = vec![0; file.len()];
    let mut matched = 0;
    for index in 1..file.len() {
        while matched > 0 && file[matched] != file[index] {
            matched = borders[matched - 1];
        }
        if file[matched] == file[index] {
            matched += 1;
        }
        borders[index] = matched;
    }
    borders
}

/// The entries that `file` has more often than `known`, the last ones of each.
fn beyond_known(known: &[u64], file: &[u64]) -> Vec<bool> {
    let mut left: HashMap<u64, usize> = HashMap::new();
    for entry in known {
        *left.entry(*entry).or_default() += 1;
    }
    let is_new = |entry: &u64| match left.get_mut(entry) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    file.iter().map(is_new).collect()
}
