//! Names, kinds, lengths, times and bytes of documents, drawn from a seed.
//!
//! What must hold: what is drawn depends on the generator's state and nothing else; lengths and kinds are spread as in a household's or
//! an office's archive, so that ten thousand documents have about 17,000 files and 1.1 GB.

use super::fleet::Sizes;
use crate::Rng;
use ring::digest::{SHA256, digest};

/// Kinds of documents: share in a thousand, extension, media type.
const KINDS: [(u32, &str, &str); 8] = [
    (560, "pdf", "application/pdf"),
    (190, "jpg", "image/jpeg"),
    (70, "PNG", "image/png"),
    (60, "txt", "text/plain"),
    (
        60,
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (30, "tiff", "image/tiff"),
    (20, "eml", "message/rfc822"),
    (10, "", "application/octet-stream"),
];

const WORDS: [&str; 24] = [
    "invoice",
    "contract",
    "letter",
    "scan",
    "receipt",
    "minutes",
    "tax",
    "insurance",
    "report",
    "lease",
    "warranty",
    "bank",
    "statement",
    "travel",
    "school",
    "medical",
    "energy",
    "notes",
    "order",
    "delivery",
    "pension",
    "permit",
    "survey",
    "draft",
];

/// The first moment a document of a fleet was made: 2024-01-01 in UTC, in seconds since 1970.
pub(crate) const FIRST_SECOND: i64 = 1_704_067_200;
/// The moment the fleet is looked at, after every document: 2026-01-01 in UTC.
pub(crate) const NOW_SECOND: i64 = 1_767_225_600;

/// Extension and media type of one document.
pub(crate) fn kind(rng: &mut Rng) -> (&'static str, &'static str) {
    let mut left = rng.below(1000) as u32;
    for (share, extension, mime) in KINDS {
        if left < share {
            return (extension, mime);
        }
        left -= share;
    }
    ("pdf", "application/pdf")
}

/// A file name without its extension.
pub(crate) fn stem(rng: &mut Rng) -> String {
    let one = WORDS[rng.index(WORDS.len())];
    let two = WORDS[rng.index(WORDS.len())];
    format!("{one} {two} {}", rng.below(10_000))
}

/// What text recognition found: a few words.
pub(crate) fn text(rng: &mut Rng) -> String {
    let count = rng.between(10, 40);
    let words: Vec<&str> = (0..count).map(|_| WORDS[rng.index(WORDS.len())]).collect();
    words.join(" ")
}

/// The length of a document in bytes.
pub(crate) fn document_bytes(rng: &mut Rng, sizes: Sizes) -> u64 {
    match sizes {
        // Not so short that two could be equal: a user has no content twice.
        Sizes::Tiny => rng.between(16, 3000),
        Sizes::Realistic => match rng.below(100) {
            0..=39 => rng.between(4_000, 40_000),
            40..=84 => rng.between(40_000, 140_000),
            85..=97 => rng.between(140_000, 400_000),
            _ => rng.between(400_000, 1_200_000),
        },
    }
}

/// The length of a thumbnail in bytes.
pub(crate) fn thumbnail_bytes(rng: &mut Rng, sizes: Sizes) -> u64 {
    match sizes {
        Sizes::Tiny => rng.between(1, 400),
        Sizes::Realistic => rng.between(3_000, 16_000),
    }
}

/// Bytes that nothing compresses.
pub(crate) fn bytes(rng: &mut Rng, count: u64) -> Vec<u8> {
    let mut buffer = vec![0; usize::try_from(count).expect("a document fits into memory")];
    rng.fill(&mut buffer);
    buffer
}

/// A random UUID of version 4, in lower case.
pub(crate) fn uuid(rng: &mut Rng) -> String {
    let (high, low) = (rng.next_u64(), rng.next_u64());
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xffff);
    format!(
        "{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}",
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// A time between the first document and now, in seconds since 1970.
pub(crate) fn moment(rng: &mut Rng) -> i64 {
    let span = (NOW_SECOND - FIRST_SECOND - 1) as u64;
    FIRST_SECOND + rng.below(span) as i64
}

/// A time as PostgreSQL reads it.
pub(crate) fn timestamp(second: i64) -> String {
    jiff::Timestamp::from_second(second)
        .expect("the fleet's times are in this century")
        .to_string()
}

/// Year and month in UTC, as in a key: `2024/07`.
pub(crate) fn year_month(second: i64) -> String {
    let text = timestamp(second);
    format!("{}/{}", &text[..4], &text[5..7])
}

/// The SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Hexadecimal in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
