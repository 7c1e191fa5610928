//! The rows on one page of a database, after the file format of SQLite.
//!
//! What must hold: whatever bytes a page has, nothing panics and little is allocated; a row whose lengths do not fit together is none.
//!
//! What it deliberately does not do: follow a tree (see `trees`). Each page is read for itself, so that the damage of one hides no other.

use super::pages::Pages;

/// A column of a row.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Int(i64),
    Real,
    Blob(Vec<u8>),
    Text(String),
}

/// What a page has.
pub(super) enum Rows {
    /// Rows of a table, each with its number.
    Table(Vec<(i64, Vec<Value>)>),
    /// Entries of an index.
    Index(Vec<Vec<Value>>),
    /// Neither: a page of another kind, or of garbage.
    Other,
}

/// What a tree is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Index,
}

const INDEX_INTERIOR: u8 = 0x02;
const TABLE_INTERIOR: u8 = 0x05;
const INDEX_LEAF: u8 = 0x0a;
const TABLE_LEAF: u8 = 0x0d;

/// What kind of tree a page belongs to, and the pages right below it; none if it is a page of no tree.
pub(super) fn node(pages: &Pages, number: u32) -> Option<(Kind, Vec<u32>)> {
    let page = pages.read(number)?;
    let start = start(number);
    let kind = match *page.get(start)? {
        TABLE_LEAF => return Some((Kind::Table, Vec::new())),
        INDEX_LEAF => return Some((Kind::Index, Vec::new())),
        TABLE_INTERIOR => Kind::Table,
        INDEX_INTERIOR => Kind::Index,
        _ => return None,
    };
    let cells = Cells { pages, page: &page };
    let below = cells.places(start, 12).chain([start + 8]);
    let below = below.map(|place| page.get(place..place + 4).map_or(0, self::number));
    Some((kind, below.collect()))
}

/// Where the header of a page begins. The first page begins with the header of the file.
fn start(number: u32) -> usize {
    if number == 1 { 100 } else { 0 }
}

/// Reads the rows of a page.
pub(super) fn rows(pages: &Pages, number: u32) -> Rows {
    let Some(page) = pages.read(number) else {
        return Rows::Other;
    };
    let start = start(number);
    let cells = Cells { pages, page: &page };
    match page.get(start) {
        Some(&TABLE_LEAF) => Rows::Table(
            cells
                .places(start, 8)
                .filter_map(|place| cells.table_row(place))
                .collect(),
        ),
        Some(&INDEX_LEAF) => Rows::Index(
            cells
                .places(start, 8)
                .filter_map(|place| cells.entry(place))
                .collect(),
        ),
        // Before each entry lies the number of the page with the smaller ones.
        Some(&INDEX_INTERIOR) => Rows::Index(
            cells
                .places(start, 12)
                .filter_map(|place| cells.entry(place + 4))
                .collect(),
        ),
        _ => Rows::Other,
    }
}

struct Cells<'a> {
    pages: &'a Pages,
    page: &'a [u8],
}

impl Cells<'_> {
    /// Where the cells of the page begin.
    fn places(&self, start: usize, header: usize) -> impl Iterator<Item = usize> {
        let count = usize::from(self.pair(start + 3).unwrap_or(0));
        (0..count)
            .map_while(move |index| self.pair(start + header + 2 * index))
            .map(usize::from)
    }

    fn pair(&self, at: usize) -> Option<u16> {
        let bytes = self.page.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn table_row(&self, place: usize) -> Option<(i64, Vec<Value>)> {
        let mut rest = self.page.get(place..)?;
        let length = length(&mut rest)?;
        let number = varint(&mut rest)?;
        let payload = self.payload(rest, length, self.page.len() - 35)?;
        Some((number, record(&payload)?))
    }

    fn entry(&self, place: usize) -> Option<Vec<Value>> {
        let mut rest = self.page.get(place..)?;
        let length = length(&mut rest)?;
        let most = (self.page.len() - 12) * 64 / 255 - 23;
        record(&self.payload(rest, length, most)?)
    }

    /// The bytes of a row: all here, or the beginning here and the rest on pages of their own. `most` fit here.
    fn payload(&self, rest: &[u8], length: usize, most: usize) -> Option<Vec<u8>> {
        if length <= most {
            return rest.get(..length).map(<[u8]>::to_vec);
        }
        let usable = self.page.len();
        if length / usable > self.pages.count() as usize {
            return None;
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let fitting = least + (length - least) % (usable - 4);
        let here = if fitting <= most { fitting } else { least };
        let mut payload = rest.get(..here)?.to_vec();
        let mut next = number(rest.get(here..here + 4)?);
        while payload.len() < length {
            let page = self.pages.read(next)?;
            let most = (length - payload.len()).min(usable - 4);
            payload.extend_from_slice(&page[4..4 + most]);
            next = number(&page[..4]);
        }
        Some(payload)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(varint(rest)?).ok()
}

/// A number of one to nine bytes, of which each but the ninth has seven bits.
fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for index in 0..9 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        if index == 8 {
            return Some((number << 8 | u64::from(*byte)) as i64);
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number as i64);
        }
    }
    None
}

/// The columns of a row: their kinds, then their values, with nothing left over.
fn record(payload: &[u8]) -> Option<Vec<Value>> {
    let mut kinds = payload;
    let header = length(&mut kinds)?;
    let read = payload.len() - kinds.len();
    let mut kinds = kinds.get(..header.checked_sub(read)?)?;
    let mut body = payload.get(header..)?;
    let mut values = Vec::new();
    while !kinds.is_empty() {
        values.push(value(length(&mut kinds)?, &mut body)?);
    }
    body.is_empty().then_some(values)
}

fn value(kind: usize, body: &mut &[u8]) -> Option<Value> {
    let mut take = |length: usize| -> Option<&[u8]> {
        let (value, rest) = body.split_at_checked(length)?;
        *body = rest;
        Some(value)
    };
    Some(match kind {
        0 => Value::Null,
        1..=4 => integer(take(kind)?),
        5 => integer(take(6)?),
        6 => integer(take(8)?),
        7 => take(8).map(|_| Value::Real)?,
        8 => Value::Int(0),
        9 => Value::Int(1),
        10 | 11 => return None,
        even if even % 2 == 0 => Value::Blob(take((even - 12) / 2)?.to_vec()),
        odd => Value::Text(std::str::from_utf8(take((odd - 13) / 2)?).ok()?.to_owned()),
    })
}

fn integer(bytes: &[u8]) -> Value {
    let first = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let start = if first { -1_i64 } else { 0 };
    Value::Int(
        bytes
            .iter()
            .fold(start, |number, byte| number << 8 | i64::from(*byte)),
    )
}
