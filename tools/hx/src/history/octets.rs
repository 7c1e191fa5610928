//! Commands are text, but shells write bytes: what is no UTF-8 is kept as characters that stand for single bytes.
//!
//! What must hold: bytes to text and back gives the same bytes, for every sequence of bytes; text that was never anything else stays
//! as it is.
//!
//! What it deliberately does not do: guess an encoding. Latin-1 and its relatives cannot be told apart.
//!
//! The byte 0xNN (80 to FF) becomes the character U+10FENN. These lie at the end of the last private-use plane, where no font has
//! glyphs; where one occurs in a file all the same, each of its four bytes is written like this.

pub(crate) use console::visible;
use std::borrow::Cow;

/// The characters that stand for bytes.
const FIRST: u32 = 0x10_FE80;
const LAST: u32 = 0x10_FEFF;
/// For SQL: texts that have one of them.
pub(crate) const GLOB: &str = "*[\u{10fe80}-\u{10feff}]*";
const BASE: u32 = 0x10_FE00;

/// The bytes as text; and whether some of them were no text.
pub(crate) fn to_text(bytes: &[u8]) -> (String, bool) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !has_octets(text)
    {
        return (text.to_owned(), false);
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if stands_for_byte(character) {
                let mut buffer = [0; 4];
                text.extend(character.encode_utf8(&mut buffer).bytes().map(stand_in));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stand_in));
    }
    (text, true)
}

/// The bytes that a text stands for.
pub(crate) fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !has_octets(text) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for character in text.chars() {
        if stands_for_byte(character) {
            bytes.push((u32::from(character) - BASE) as u8);
        } else {
            bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }
    Cow::Owned(bytes)
}

/// The text for a person: `\xe9` for a byte that is no text.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !has_octets(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for chunk in to_bytes(text).utf8_chunks() {
        shown.push_str(chunk.valid());
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(shown)
}

/// The text as hx kept it before it kept such bytes: they were replaced for good. Ids that were made then are found with it.
pub(crate) fn formerly(text: &str) -> String {
    String::from_utf8_lossy(&to_bytes(text)).into_owned()
}

fn has_octets(text: &str) -> bool {
    // All of them begin with this byte: a look that costs little where there are none, as almost always.
    text.as_bytes().contains(&0xf4) && text.chars().any(stands_for_byte)
}

fn stands_for_byte(character: char) -> bool {
    (FIRST..=LAST).contains(&u32::from(character))
}

/// Bytes below 0x80 are always text, so each one here has its character.
fn stand_in(byte: u8) -> char {
    char::from_u32(BASE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_and_bytes_are_kept() {
        assert_eq!(
            to_text("café \u{e000}".as_bytes()),
            ("café \u{e000}".to_owned(), false)
        );
        let (text, escaped) = to_text(b"caf\xe9 ok");
        assert!(escaped && text == "caf\u{10fee9} ok");
        assert_eq!(&*to_bytes(&text), b"caf\xe9 ok");
        assert_eq!(shown(&text), "caf\\xe9 ok");
        assert_eq!(formerly(&text), "caf\u{fffd} ok");
        // The character itself, in a file.
        let (twice, _) = to_text(text.as_bytes());
        assert_ne!(twice, text);
        assert_eq!(&*to_bytes(&twice), text.as_bytes());
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let (kept, _) = to_text(&bytes);
            prop_assert_eq!(&*to_bytes(&kept), &bytes[..]);
        }

        #[test]
        fn any_text_comes_back(text: String) {
            let (kept, _) = to_text(text.as_bytes());
            prop_assert_eq!(&*to_bytes(&kept), text.as_bytes());
        }
    }
}
