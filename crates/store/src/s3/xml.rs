//! Reads the little of S3's XML that we need ourselves.
//!
//! What must hold: any bytes can come in; nothing is expanded, nothing recurses, and texts are cut at a length.
//!
//! It deliberately checks no schema.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Longer texts are cut here.
const TEXT_MAX: usize = 1024;

/// One element that holds text, with the names of the elements around it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Names from the root down, joined by slashes.
    pub(super) path: String,
    pub(super) text: String,
}

/// Lists every element that holds text, in order; none if the bytes are no well-formed XML.
pub(super) fn leaves(xml: &[u8]) -> Option<Vec<Leaf>> {
    let mut reader = Reader::from_reader(xml);
    let mut names: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut leaves = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                names.push(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
                text.clear();
            }
            Event::Text(part) => push(&mut text, &part.decode().ok()?),
            Event::GeneralRef(reference) => push(&mut text, &resolve(&reference)?),
            Event::End(_) => {
                let path = names.join("/");
                names.pop()?;
                let value = std::mem::take(&mut text);
                if !value.trim().is_empty() {
                    leaves.push(Leaf {
                        path,
                        text: value.trim().to_owned(),
                    });
                }
            }
            Event::Eof if names.is_empty() => return Some(leaves),
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// Returns the name of the outermost element.
pub(super) fn root(xml: &[u8]) -> Option<String> {
    let mut reader = Reader::from_reader(xml);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => {
                return Some(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// Finds the text of the element at a path.
pub(super) fn text<'a>(leaves: &'a [Leaf], path: &str) -> Option<&'a str> {
    leaves
        .iter()
        .find(|leaf| leaf.path == path)
        .map(|leaf| leaf.text.as_str())
}

fn push(text: &mut String, part: &str) {
    let room = TEXT_MAX.saturating_sub(text.len());
    text.extend(part.chars().take(room));
}

fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Option<String> {
    if let Some(c) = reference.resolve_char_ref().ok()? {
        return Some(c.to_string());
    }
    let c = match &*reference.decode().ok()? {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => return None,
    };
    Some(c.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_have_paths_and_unescaped_texts() {
        let leaves = leaves(
            b"<?xml version=\"1.0\"?><a xmlns='x'><b>1 &lt; 2 &#65;</b><c/><d><b>two</b></d></a>",
        )
        .expect("well-formed");
        assert_eq!(text(&leaves, "a/b"), Some("1 < 2 A"));
        assert_eq!(text(&leaves, "a/d/b"), Some("two"));
        assert_eq!(text(&leaves, "a/c"), None);
    }

    #[test]
    fn anything_may_come_in() {
        let cases: [&[u8]; 6] = [
            b"",
            b"<a>",
            b"\xff\xfe",
            b"<a></b>",
            b"not xml",
            b"<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
        ];
        for bytes in cases {
            assert!(
                leaves(bytes).is_none_or(|leaves| leaves.is_empty()),
                "{bytes:?}"
            );
        }
        assert_eq!(
            root(b"<?xml version='1.0'?>\n<s:Error xmlns:s='x'/>").as_deref(),
            Some("Error")
        );
    }
}
