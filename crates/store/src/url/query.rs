//! The parameters of a store URL.
//!
//! What must hold: every parameter is known and given once; a `+` is a plus, because secret keys contain it and no person
//! writes a blank that way.

use super::error::{UrlError, nearest};

/// Every parameter there is, and other spellings of it that people bring from other tools.
const PARAMETERS: [(&str, &[&str]); 7] = [
    ("region", &["aws_region", "default_region"]),
    ("endpoint", &["endpoint_url", "host", "url"]),
    (
        "path_style",
        &["force_path_style", "use_path_style", "pathstyle"],
    ),
    (
        "access_key",
        &[
            "access_key_id",
            "aws_access_key_id",
            "accesskey",
            "key",
            "user",
        ],
    ),
    (
        "secret_key",
        &[
            "secret_access_key",
            "aws_secret_access_key",
            "secretkey",
            "secret",
            "password",
        ],
    ),
    (
        "session_token",
        &["token", "aws_session_token", "security_token"],
    ),
    ("profile", &["aws_profile"]),
];

const NAMES: [&str; 7] = [
    "region",
    "endpoint",
    "path_style",
    "access_key",
    "secret_key",
    "session_token",
    "profile",
];

/// The parameters, decoded.
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Result<Query, UrlError> {
        let mut query = Query(Vec::new());
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (typed, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A key in base 64 may end in one or two signs of equality.
            let name = known(typed, !value.trim_matches('=').is_empty())?;
            if query.0.iter().any(|(seen, _)| *seen == name) {
                return Err(UrlError::new(
                    format!("the parameter {name} is given twice"),
                    "keep one of the two",
                ));
            }
            if value.is_empty() {
                return Err(UrlError::new(
                    format!("the parameter {name} has no value"),
                    "give it a value or leave it out; put the whole URL in quotes, or the shell cuts it at '&'",
                ));
            }
            query.0.push((name, decode(value, name)?));
        }
        Ok(query)
    }

    /// Takes a parameter out.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(at).1)
    }
}

/// Whether a text names parameters where it should not: somebody wrote `&` for the `?` that comes before the first.
pub(super) fn has_parameters(text: &str) -> bool {
    text.split('&').skip(1).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        pair.contains('=')
            && PARAMETERS
                .iter()
                .any(|(known, others)| *known == name || others.contains(&name.as_str()))
    })
}

fn known(typed: &str, has_value: bool) -> Result<&'static str, UrlError> {
    if let Some(name) = NAMES.iter().find(|name| **name == typed) {
        return Ok(name);
    }
    let lower = typed.to_ascii_lowercase();
    let other_tools = PARAMETERS
        .iter()
        .find(|(_, others)| others.contains(&lower.as_str()))
        .map(|(name, _)| *name);
    let remedy = match other_tools.or_else(|| nearest(typed, &NAMES)) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the parameters are {}", NAMES.join(", ")),
    };
    // A part of a secret that contains `&` arrives here too: only what a person would write before a `=` is repeated.
    let looks_like_name = typed.len() <= NAME_SHOWN_MAX
        && typed
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || b"_-".contains(&byte));
    let what = match (has_value, looks_like_name) {
        (true, true) => format!("unknown parameter '{typed}'"),
        (true, false) => "unknown parameter '***'".to_owned(),
        (false, _) => "'***' is no parameter: it has no value".to_owned(),
    };
    let remedy = match has_value {
        true => remedy,
        false => format!("{remedy}; write an '&' within a value as %26"),
    };
    Err(UrlError::new(what, remedy))
}

/// No parameter of any tool has a longer name.
const NAME_SHOWN_MAX: usize = 24;

/// Reads a yes or no.
pub(super) fn boolean(name: &str, value: &str) -> Result<bool, UrlError> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => {
            let shown: String = value.chars().take(40).collect();
            Err(UrlError::new(
                format!(
                    "{name} is '{}', which is neither true nor false",
                    shown.escape_debug()
                ),
                format!("write {name}=true or {name}=false"),
            ))
        }
    }
}

/// Decodes `%41` to `A`; `name` says what is decoded and is all that an error shows.
pub(super) fn decode(text: &str, name: &str) -> Result<String, UrlError> {
    let bad = |why: &str| {
        UrlError::new(
            format!("the {name} {why}"),
            "write a per cent sign itself as %25",
        )
    };
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            decoded.push(bytes[at]);
            at += 1;
            continue;
        }
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(
            byte.ok_or_else(|| bad("has a per cent sign that is followed by no two hex digits"))?,
        );
        at += 3;
    }
    String::from_utf8(decoded).map_err(|_| bad("is not UTF-8 once decoded"))
}

/// Encodes what would end or change a part of the URL.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric()
            || "-._~/:+,=[]*".contains(c)
            || !(c.is_ascii() || c.is_whitespace() || c.is_control())
        {
            encoded.push(c);
        } else {
            let mut buffer = [0; 4];
            c.encode_utf8(&mut buffer)
                .bytes()
                .for_each(|byte| encoded.push_str(&format!("%{byte:02X}")));
        }
    }
    encoded
}
