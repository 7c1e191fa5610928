//! How keys, header values and checksums are written in requests.
//!
//! What must hold: what is sent is what is signed: one spelling only.

/// Encodes a key for the path of a URL as signatures want it.
pub(super) fn strict_path(key: &str) -> String {
    key.split('/').map(strict).collect::<Vec<_>>().join("/")
}

/// Encodes everything but letters, digits, '-', '.', '_' and '~'.
pub(super) fn strict(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Headers hold printable ASCII only; other text is sent the way mail does it (RFC 2047).
pub(super) fn printable(text: &str) -> String {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text.to_owned();
    }
    format!("=?UTF-8?B?{}?=", base64(text.as_bytes()))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes in base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let word = (at(0) << 16) | (at(1) << 8) | at(2);
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 63;
            let is_filler = place > group.len();
            text.push(if is_filler {
                '='
            } else {
                char::from(BASE64[digit as usize])
            });
        }
    }
    text
}

/// Reads 32 bytes in base64; anything else is none.
pub(super) fn from_base64(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_suffix('=')?;
    let mut bits: u32 = 0;
    let (mut n_bits, mut bytes) = (0, Vec::with_capacity(33));
    for digit in digits.bytes() {
        let value = BASE64.iter().position(|known| *known == digit)?;
        bits = ((bits << 6) | value as u32) & 0x3fff;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push(((bits >> n_bits) & 0xff) as u8);
        }
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_everybody() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        let sum = crate::s3::sha256(b"hello world");
        assert_eq!(base64(&sum), "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=");
        assert_eq!(from_base64(&base64(&sum)), Some(sum));
        for wrong in [
            "",
            "=",
            "uU0n",
            "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=-2",
        ] {
            assert_eq!(from_base64(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_and_headers_are_encoded() {
        assert_eq!(strict_path("a b/ö+/~x"), "a%20b/%C3%B6%2B/~x");
        assert_eq!(printable("plain text"), "plain text");
        assert_eq!(printable("ö"), "=?UTF-8?B?w7Y=?=");
    }
}
