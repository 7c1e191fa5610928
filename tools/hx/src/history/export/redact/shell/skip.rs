//! Where a substitution ends.
//!
//! What must hold: the end is after a closing sign, or the end of the text; deep nesting does not exhaust the stack.
//!
//! What it deliberately does not do: tell a `)` of a `case` from one that closes.

/// Deeper than this nobody nests; the rest of the text then belongs to the innermost.
const DEPTH_MAX: usize = 32;

/// The end of what was opened before `at` and is closed by the second of the two signs.
pub(super) fn skip_nested(text: &str, at: usize, signs: (u8, u8)) -> usize {
    nested(text.as_bytes(), at, signs, 0)
}

/// The end of what a backtick opened before `at`.
pub(super) fn skip_backticks(text: &str, at: usize) -> usize {
    closed(text.as_bytes(), at, b'`', true)
}

fn nested(bytes: &[u8], mut at: usize, (open, close): (u8, u8), depth: usize) -> usize {
    let mut level = 1;
    while depth < DEPTH_MAX && at < bytes.len() {
        at = match bytes[at] {
            b'\\' => at + 2,
            b'\'' => closed(bytes, at + 1, b'\'', at > 0 && bytes[at - 1] == b'$'),
            b'"' => double_quoted(bytes, at + 1, depth + 1),
            b'`' => closed(bytes, at + 1, b'`', true),
            sign if sign == close => {
                level -= 1;
                if level == 0 {
                    return at + 1;
                }
                at + 1
            }
            sign => {
                level += usize::from(sign == open);
                at + 1
            }
        };
    }
    bytes.len()
}

fn double_quoted(bytes: &[u8], mut at: usize, depth: usize) -> usize {
    while depth < DEPTH_MAX && at < bytes.len() {
        at = match (bytes[at], bytes.get(at + 1)) {
            (b'\\', _) => at + 2,
            (b'"', _) => return at + 1,
            (b'$', Some(b'(')) => nested(bytes, at + 2, (b'(', b')'), depth + 1),
            (b'$', Some(b'{')) => nested(bytes, at + 2, (b'{', b'}'), depth + 1),
            (b'`', _) => closed(bytes, at + 1, b'`', true),
            _ => at + 1,
        };
    }
    bytes.len()
}

/// The place after the next `sign`; with `escapes` a backslash hides one.
fn closed(bytes: &[u8], mut at: usize, sign: u8, escapes: bool) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            byte if byte == sign => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}
