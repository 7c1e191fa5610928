//! Which entries without a time are new, when a file overlaps with what was imported before.
//!
//! What must hold: a file that was imported before adds nothing, and one that only grew since adds exactly what it grew by
//! ([`Origin::File`]); a file that lost its head, or lines within, and grew, adds what came after what is known; where several stories
//! fit, the one that adds more is taken, and [`Aligned::is_certain`] is no; of no line fewer are there in the end than the file has. Time and
//! memory grow with the length, not with its square.
//!
//! What it deliberately does not do: look at texts; it sees their hashes. Nor know a sorted file again: a command that stands further
//! down than before was run again.
//!
//! Shells append, and cut at the head; bash with `erasedups` takes the earlier equals of a new entry away. So a file is a part of what
//! is known, in its order, and then news. The question is where the news begin.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::history::apply::IdHasher;

/// So many entries in a row that are equal are more than chance.
const RUN_MIN: usize = 4;

/// So many equal entries in all, in runs, outweigh that the file does not go on where the known ones end.
const RUNS_BELIEVED: usize = 16;

/// What is known of a file besides its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This very file, as far as its first so many entries, was imported before.
    File(usize),
    /// Nothing.
    Unknown,
}

/// What is new in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Aligned {
    /// For each entry whether it is new.
    pub(super) is_new: Vec<bool>,
    /// Whether no other story would fit.
    pub(super) is_certain: bool,
}

impl Aligned {
    fn after(known: usize, length: usize, is_certain: bool) -> Self {
        Self {
            is_new: (0..length).map(|index| index >= known).collect(),
            is_certain,
        }
    }
}

/// Says what of `file` is new, given the `known` entries in order.
pub(super) fn align(known: &[u64], file: &[u64], origin: Origin) -> Aligned {
    let mut aligned = likeliest(known, file, origin);
    if origin == Origin::Unknown {
        add_what_is_more(known, file, &mut aligned);
    }
    aligned
}

/// All lines of a file were run, so that of each as many are new, at least, as the file has more of them than are known.
fn add_what_is_more(known: &[u64], file: &[u64], aligned: &mut Aligned) {
    let mut short: HashMap<u64, i64, IdHasher> = HashMap::default();
    for (entry, is_new) in file.iter().zip(&aligned.is_new) {
        *short.entry(*entry).or_default() += i64::from(!is_new);
    }
    for entry in known {
        if let Some(short) = short.get_mut(entry) {
            *short -= 1;
        }
    }
    // The last ones of the file, since shells append.
    for (entry, is_new) in file.iter().zip(&mut aligned.is_new).rev() {
        if let Some(short) = short.get_mut(entry).filter(|short| **short > 0)
            && !*is_new
        {
            *short -= 1;
            *is_new = true;
            aligned.is_certain = false;
        }
    }
}

/// The likeliest story of how the file came about.
fn likeliest(known: &[u64], file: &[u64], origin: Origin) -> Aligned {
    let length = file.len();
    if origin == Origin::File(length) || known.is_empty() {
        let before = if known.is_empty() && origin == Origin::Unknown {
            0
        } else {
            length
        };
        return Aligned::after(before, length, true);
    }
    let found = search(known, file);
    // A few entries that were imported before begin many a file; they say little where more is known.
    if let Origin::File(before) = origin
        && (before >= RUN_MIN || before == known.len())
    {
        let goes_on = found.prefix >= before + RUN_MIN;
        return Aligned::after(if goes_on { found.prefix } else { before }, length, true);
    }
    if found.prefix == length && (found.suffix == length || length >= RUN_MIN) {
        return Aligned::after(length, length, true);
    }
    let (erased, is_as_it_was) = kept_by_erasure(known, file);
    let kept = erased.max(found.suffix);
    let runs = Runs::new(known, file);
    // Where the file goes on where the known entries end, what it repeats after that was run again.
    let outweighs = if kept > 0 {
        runs.begin_with_the_file() && runs.matched >= RUNS_BELIEVED && runs.matched > 4 * kept
    } else {
        runs.matched >= RUNS_BELIEVED || (runs.matched >= RUN_MIN && 2 * runs.matched >= length)
    };
    if outweighs {
        return runs.aligned(known, file);
    }
    let is_plain =
        kept >= RUN_MIN || kept == known.len() || (kept == 0 && !have_common(known, file));
    Aligned::after(kept, length, is_plain && (is_as_it_was || kept > erased))
}

/// Whether an entry is in both.
fn have_common(known: &[u64], file: &[u64]) -> bool {
    let known: HashSet<u64, IdHasher> = known.iter().copied().collect();
    file.iter().any(|entry| known.contains(entry))
}

/// Where beginnings of a file are found in one piece.
struct Found {
    /// The length of the longest beginning of the file that the known entries end with.
    suffix: usize,
    /// The length of the longest beginning that they have anywhere.
    prefix: usize,
}

fn search(known: &[u64], file: &[u64]) -> Found {
    let fallback = borders(file);
    let (mut matched, mut prefix) = (0, 0);
    for entry in known {
        if matched > 0 && matched == file.len() {
            matched = fallback[matched - 1] as usize;
        }
        while matched > 0 && file[matched] != *entry {
            matched = fallback[matched - 1] as usize;
        }
        if file.get(matched) == Some(entry) {
            matched += 1;
        }
        prefix = prefix.max(matched);
    }
    Found {
        suffix: matched,
        prefix,
    }
}

/// For each beginning of `file`, the length of its longest proper beginning that is also its end (Knuth, Morris, Pratt).
fn borders(file: &[u64]) -> Vec<u32> {
    let mut borders = vec![0; file.len()];
    let mut matched = 0;
    for index in 1..file.len() {
        while matched > 0 && file[matched] != file[index] {
            matched = borders[matched - 1] as usize;
        }
        if file[matched] == file[index] {
            matched += 1;
        }
        borders[index] = matched as u32;
    }
    borders
}

/// How many entries at the beginning of a file without equals (`erasedups`) are what is left of the known ones: the last of each known
/// text, in order, without those that stand further down again. And whether nothing else but that explains it.
fn kept_by_erasure(known: &[u64], file: &[u64]) -> (usize, bool) {
    let mut last: HashMap<u64, Option<usize>, IdHasher> =
        file.iter().map(|entry| (*entry, None)).collect();
    if last.len() < file.len() {
        return (0, true);
    }
    // From the end back: what is not in the file any more was cut off, with all before it, but for what was used again since.
    let mut cut = 0;
    for (place, entry) in known.iter().enumerate().rev() {
        match last.get_mut(entry) {
            Some(seen) => _ = seen.get_or_insert(place),
            None => cut = cut.max(place + 1),
        }
    }
    let places: Vec<usize> = file
        .iter()
        .map_while(|entry| last.get(entry).copied().flatten())
        .collect();
    let mut before = None;
    let is_next = |place: &&usize| {
        let follows = **place >= cut && before.is_none_or(|before| before < **place);
        before = Some(**place);
        follows
    };
    let kept = places.iter().take_while(is_next).count();
    let edited = kept_but_for_edits(&places);
    (kept.max(edited), kept >= edited)
}

/// The same where lines were edited or taken out by hand: then one stands elsewhere than it is known, or what stood before it is known all
/// the same. Nothing after it counts but a long stretch in order, for whatever was run again stands at the end of the file in any order.
fn kept_but_for_edits(places: &[usize]) -> usize {
    let pairs: Vec<(u32, u32)> = places
        .iter()
        .enumerate()
        .map(|(at, place)| (at as u32, *place as u32))
        .collect();
    let chosen = in_order(&pairs);
    let mut end = chosen.len();
    while end > 0 {
        let mut begin = end - 1;
        while begin > 0 && chosen[begin - 1].0 + 1 == chosen[begin].0 {
            begin -= 1;
        }
        if end - begin >= RUNS_BELIEVED {
            let kept = chosen[end - 1].0 + 1;
            // What is out of order before it has to be little.
            return if 4 * (kept - end) < end { kept } else { 0 };
        }
        end = begin;
    }
    0
}

/// Stretches of a file that the known entries have too, in the same order.
struct Runs {
    /// Each as its place in the file and among the known entries, and its length.
    runs: Vec<(usize, usize, usize)>,
    matched: usize,
}

impl Runs {
    /// Starts from stretches that both have once, takes the most that are in the same order in both, and lets them grow.
    fn new(known: &[u64], file: &[u64]) -> Self {
        let anchors = in_order(&common(&unique(file), &unique(known)));
        let mut found = Self {
            runs: Vec::new(),
            matched: 0,
        };
        let (mut in_file, mut in_known) = (0_usize, 0_usize);
        for (at, place) in anchors {
            // Overlapping ones go on where the one before ends.
            let done = in_file
                .saturating_sub(at)
                .max(in_known.saturating_sub(place));
            if done >= RUN_MIN {
                continue;
            }
            let (at, place) = (at + done, place + done);
            let room = (at - in_file).min(place - in_known);
            let equal_before = |back: &usize| file[at - back] == known[place - back];
            let back = (1..=room).take_while(equal_before).count();
            let ahead = file[at..].iter().zip(&known[place..]);
            let on = ahead.take_while(|(left, right)| left == right).count();
            found.runs.push((at - back, place - back, back + on));
            found.matched += back + on;
            (in_file, in_known) = (at + on, place + on);
        }
        found
    }

    fn begin_with_the_file(&self) -> bool {
        self.runs.first().is_some_and(|(at, _, _)| *at == 0)
    }

    /// Lines that vanished from the file say nothing; lines that came up between known ones are new unless known further down; what
    /// comes after the last run is new, unless the known entries end with it.
    fn aligned(&self, known: &[u64], file: &[u64]) -> Aligned {
        let Some((last_at, last_place, length)) = self.runs.last().copied() else {
            return Aligned::after(0, file.len(), false);
        };
        let mut is_new = vec![true; file.len()];
        let mut spare: HashMap<u64, usize, IdHasher> = HashMap::default();
        // A line may be gone near the beginning: what the file has before the first run stands just before it among the known ones too.
        let (head, first) = (self.runs[0].0, self.runs[0].1);
        let mut place = first.saturating_sub(if head > 0 { head + RUNS_BELIEVED } else { 0 });
        let mut note = |range: Range<usize>| {
            for entry in &known[range] {
                *spare.entry(*entry).or_default() += 1;
            }
        };
        for (at, from, length) in self.runs.iter().copied() {
            note(place..from);
            place = from + length;
            is_new[at..at + length].fill(false);
        }
        note(place..known.len());
        let tail = last_at + length;
        for at in 0..tail {
            if let Some(count) = spare
                .get_mut(&file[at])
                .filter(|count| is_new[at] && **count > 0)
            {
                *count -= 1;
                is_new[at] = false;
            }
        }
        let rest = &known[last_place + length..];
        let overlap = search(rest, &file[tail..]).suffix;
        if overlap >= RUN_MIN || overlap == rest.len() || overlap == file.len() - tail {
            is_new[tail..tail + overlap].fill(false);
        }
        Aligned {
            is_new,
            is_certain: rest.is_empty() && self.runs.len() == 1,
        }
    }
}

/// The hashes of stretches of [`RUN_MIN`] entries that are there once, each with its place, in order of the hashes.
fn unique(entries: &[u64]) -> Vec<(u64, u32)> {
    let hash = |run: &[u64]| run.iter().fold(0, |hash, entry| mix(hash, *entry));
    let mut runs: Vec<(u64, u32)> = entries
        .windows(RUN_MIN)
        .enumerate()
        .map(|(at, run)| (hash(run), at as u32))
        .collect();
    runs.sort_unstable();
    let is_once = |index: usize| {
        let differs =
            |other: Option<&(u64, u32)>| other.is_none_or(|other| other.0 != runs[index].0);
        differs(index.checked_sub(1).and_then(|before| runs.get(before)))
            && differs(runs.get(index + 1))
    };
    (0..runs.len())
        .filter(|index| is_once(*index))
        .map(|index| runs[index])
        .collect()
}

/// The places of what both have, in the order of the first.
fn common(left: &[(u64, u32)], right: &[(u64, u32)]) -> Vec<(u32, u32)> {
    let mut right = right.iter().peekable();
    let mut places = Vec::new();
    for (hash, place) in left {
        while right.next_if(|(other, _)| other < hash).is_some() {}
        if let Some((_, other)) = right.next_if(|(other, _)| other == hash) {
            places.push((*place, *other));
        }
    }
    places.sort_unstable();
    places
}

/// The most pairs whose second places grow with the first (the longest increasing subsequence).
fn in_order(pairs: &[(u32, u32)]) -> Vec<(usize, usize)> {
    const NONE: u32 = u32::MAX;
    // For each length the pair that ends the best sequence of this length, and for each pair the one before it.
    let mut ends: Vec<u32> = Vec::new();
    let mut before = vec![NONE; pairs.len()];
    for (index, (_, place)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| pairs[*end as usize].1 < *place);
        if length > 0 {
            before[index] = ends[length - 1];
        }
        if length == ends.len() {
            ends.push(index as u32);
        } else {
            ends[length] = index as u32;
        }
    }
    let mut chosen = Vec::with_capacity(ends.len());
    let mut at = ends.last().copied().unwrap_or(NONE);
    while let Some((first, second)) = pairs.get(at as usize) {
        chosen.push((*first as usize, *second as usize));
        at = before[at as usize];
    }
    chosen.reverse();
    chosen
}

/// A hash of entries in their order, one more taken in.
pub(super) fn mix(hash: u64, entry: u64) -> u64 {
    let wide = u128::from(hash.rotate_left(29) ^ entry ^ 0x9e37_79b9_7f4a_7c15)
        * 0xd6e8_feb8_6659_fd93_u128;
    (wide as u64) ^ (wide >> 64) as u64
}
