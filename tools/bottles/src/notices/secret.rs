//! Secrets that notices need, in whichever form a secret store hands them out.
//!
//! What must hold: no error and no debug output holds any part of a secret.

use serde_json::Value;
use std::fmt;

/// A larger text is no secret of ours.
const SECRET_MAX: usize = 16 << 10;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret out of what a file, a variable or a secret store says: the bare text, or JSON that has it under one of the keys, or
    /// the answer of AWS Secrets Manager that has either as its `SecretString`.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn parse(text: &str, keys: &[&str]) -> Result<Secret, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        if text.len() > SECRET_MAX {
            return Err("it is too long to be a secret".to_owned());
        }
        if !text.starts_with(['{', '"', '[']) {
            return Ok(Secret(text.to_owned()));
        }
        let value: Value =
            serde_json::from_str(text).map_err(|_| "it is broken JSON".to_owned())?;
        match value {
            Value::String(text) if !text.starts_with(['{', '"']) => Secret::parse(&text, keys),
            Value::Object(object) => {
                let found = keys.iter().find_map(|key| object.get(*key)?.as_str());
                if let Some(text) = found {
                    return match text.starts_with(['{', '"']) {
                        true => Err("it is JSON in JSON".to_owned()),
                        false => Secret::parse(text, keys),
                    };
                }
                match object.get("SecretString").and_then(Value::as_str) {
                    Some(text) if !text.contains("SecretString") => Secret::parse(text, keys),
                    _ => Err(format!("it is JSON without {}", keys.join(" or "))),
                }
            }
            _ => Err(format!("it is JSON without {}", keys.join(" or "))),
        }
    }

    /// Returns the text if it is one word, as an address is.
    ///
    /// # Errors
    /// Says that it is more.
    pub(super) fn word(&self) -> Result<&str, String> {
        match self.0.contains(char::is_whitespace) {
            true => Err("it is more than one word".to_owned()),
            false => Ok(&self.0),
        }
    }

    /// Returns the text, for whom it is meant.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
