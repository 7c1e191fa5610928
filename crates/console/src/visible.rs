//! Makes control characters visible in what comes from outside: the name of a formula, a command from another machine, an answer of a server.
//!
//! What must hold: nothing that is shown moves the cursor, sets a colour or a title, turns text around, or looks like a line of the program's own; text
//! without such characters stays as it is.
//!
//! It deliberately changes no data: files, JSON and stores get what there is.

use std::borrow::Cow;

/// Shows a text that may have several lines: line ends and tabs stay.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// Shows a text that is one line.
#[must_use]
pub fn visible_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Shows a JSON text, which stays one and says the same: JSON itself keeps only the first 32 characters from acting.
#[must_use]
pub fn visible_json(text: &str) -> Cow<'_, str> {
    let acts = |c: char| turns(c) || (c.is_control() && !c.is_ascii_whitespace());
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match acts(character) {
            // They stand in strings only, and all of them have four digits.
            true => shown.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// What turns the direction of text around can make a text look like another one.
fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let acts = |c: char| turns(c) || (c.is_control() && !stays(c));
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if !acts(character) => shown.push(character),
            _ if turns(character) => shown.extend(character.escape_unicode()),
            _ => shown.extend(character.escape_default()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown_and_the_rest_stays() {
        for (text, lines, line) in [
            ("café\u{1f600}", "café\u{1f600}", "café\u{1f600}"),
            ("a\tb\nc", "a\tb\nc", "a\\tb\\nc"),
            ("\u{1b}[31m\r\n", "\\u{1b}[31m\\r\n", "\\u{1b}[31m\\r\\n"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("a\u{202e}b", "a\\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(visible(text), lines);
            assert_eq!(visible_line(text), line);
        }
    }

    #[test]
    fn a_document_says_the_same_and_acts_on_nothing() {
        let value = serde_json::json!({"a\u{9b}": ["\u{7f}", "\u{202e}x\n", "é"]});
        let text = serde_json::to_string_pretty(&value).expect("JSON");
        let shown = visible_json(&text);
        assert_eq!(visible(&shown), shown);
        let read: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(read, value);
    }
}
