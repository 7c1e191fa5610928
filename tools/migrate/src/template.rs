//! Templates of keys and paths: `documents/{user}/{created:%Y}/{created:%m}/{id}{.ext}`.
//!
//! What must hold: a template that parses can be filled in for every row; what a row does not have is written in a fixed way.
//!
//! It deliberately knows no conditions and no functions beyond time formats.

use jiff::Timestamp;
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// The owner in a key where the row has none: an id that belongs to nobody.
pub const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Text with variables in braces.
///
/// | variable | stands for |
/// | --- | --- |
/// | `{id}` | the row's key |
/// | `{user}` | the owner; the nil UUID where there is none |
/// | `{created:FORMAT}` | the time the row was made, in UTC, as `strftime` has it |
/// | `{ext}`, `{.ext}` | the last extension of the file's name; the second with its dot, nothing where there is none |
/// | `{_ext}`, `{._ext}` | the same with `<>:"\|?*` replaced by `_`, as file names on disk have it |
/// | `{path}` | the path as the row has it |
/// | `{rest}` | the path without the prefix of a lookup |
/// | `{name}` | the last part of the path |
/// | `{stem}` | the last part of the path without its extension |
/// | `{upload}` | the upload path |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
    Created(String),
}

/// What a template is filled in with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// The row's key.
    pub id: &'a str,
    /// The owner.
    pub user: Option<&'a str>,
    /// When the row was made.
    pub created: Option<Timestamp>,
    /// The file's name, for its extension. Where there is none, the path's is taken.
    pub filename: Option<&'a str>,
    /// The path as the row has it.
    pub path: &'a str,
    /// The path without the prefix of a lookup.
    pub rest: &'a str,
    /// The upload path, without a slash at its end.
    pub upload: &'a str,
}

/// Why a template does not parse or cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("`{0}` has a brace without a partner. Close each `{{` with a `}}`.")]
    Brace(String),
    /// A variable that does not exist.
    #[error(
        "`{template}` holds {{{variable}}}, which means nothing here. Use id, user, created:%Y, ext, .ext, _ext, ._ext, path, rest, name, stem or upload."
    )]
    Unknown {
        /// The template.
        template: String,
        /// The variable.
        variable: String,
    },
    /// A time format that cannot be used.
    #[error("`{template}` holds the time format `{format}`, which is not one. Use %Y, %m, %d.")]
    Format {
        /// The template.
        template: String,
        /// The format.
        format: String,
    },
}

const VARIABLES: [&str; 11] = [
    "id", "user", "ext", ".ext", "_ext", "._ext", "path", "rest", "name", "stem", "upload",
];

impl Template {
    /// Tells whether a variable occurs.
    #[must_use]
    pub fn mentions(&self, variable: &str) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Variable(name) => name == variable,
            Part::Created(_) => variable == "created",
            Part::Literal(_) => false,
        })
    }

    /// Fills the template in. A row without a time of creation counts as made at the beginning of 1970, so that its key is
    /// the same at every try.
    #[must_use]
    pub fn fill(&self, values: &Values<'_>) -> String {
        let mut text = String::with_capacity(self.text.len() + 64);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(name) => push_variable(&mut text, name, values),
                Part::Created(format) => {
                    let time = values.created.unwrap_or_default().in_utc_zone();
                    // Parsing has tried the format; a time out of its range is the only way to fail.
                    text.push_str(&jiff::fmt::strtime::format(format, &time).unwrap_or_default());
                }
            }
        }
        text
    }

    /// Returns what stands before the first variable.
    #[must_use]
    pub fn literal_head(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(literal)) => literal,
            _ => "",
        }
    }

    fn bad_format(&self, format: &str) -> TemplateError {
        TemplateError::Format {
            template: self.text.clone(),
            format: format.to_owned(),
        }
    }

    fn check_formats(&self) -> Result<(), TemplateError> {
        for part in &self.parts {
            if let Part::Created(format) = part {
                jiff::fmt::strtime::format(format, &Timestamp::UNIX_EPOCH.in_utc_zone())
                    .map_err(|_| self.bad_format(format))?;
            }
        }
        Ok(())
    }
}

/// A timestamp in UTC, whatever the machine's zone.
trait InUtc {
    fn in_utc_zone(&self) -> jiff::Zoned;
}

impl InUtc for Timestamp {
    fn in_utc_zone(&self) -> jiff::Zoned {
        self.to_zoned(jiff::tz::TimeZone::UTC)
    }
}

fn push_variable(text: &mut String, name: &str, values: &Values<'_>) {
    let extension = || extension_of(values.filename.unwrap_or(values.path));
    match name {
        "id" => text.push_str(values.id),
        "user" => text.push_str(values.user.unwrap_or(NOBODY)),
        "ext" => text.push_str(extension()),
        "_ext" => text.push_str(&on_disk(extension())),
        ".ext" if !extension().is_empty() => {
            text.push('.');
            text.push_str(extension());
        }
        "._ext" if !extension().is_empty() => {
            text.push('.');
            text.push_str(&on_disk(extension()));
        }
        "path" => text.push_str(values.path),
        "rest" => text.push_str(values.rest),
        "name" => text.push_str(last_part(values.path)),
        "stem" => text.push_str(stem_of(values.path)),
        "upload" => text.push_str(values.upload),
        _ => {}
    }
}

/// Returns the last part of a path.
#[must_use]
pub fn last_part(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

/// Returns the last extension of a file's name, its case kept: nothing for `.profile`, `a.` and `a`.
#[must_use]
pub fn extension_of(name: &str) -> &str {
    match last_part(name).rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension,
        _ => "",
    }
}

/// Returns the last part of a path without its extension.
#[must_use]
pub fn stem_of(path: &str) -> &str {
    let name = last_part(path);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// Replaces what may not be in a file's name on some systems.
fn on_disk(text: &str) -> String {
    text.replace(['<', '>', ':', '"', '|', '?', '*'], "_")
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Template, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let Some(inside) = rest[open..].strip_prefix('{') else {
                return Err(TemplateError::Brace(text.to_owned()));
            };
            let Some((name, after)) = inside.split_once('}') else {
                return Err(TemplateError::Brace(text.to_owned()));
            };
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            parts.push(variable(text, name)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let template = Template {
            text: text.to_owned(),
            parts,
        };
        template.check_formats()?;
        Ok(template)
    }
}

fn variable(template: &str, name: &str) -> Result<Part, TemplateError> {
    if let Some(format) = name.strip_prefix("created:") {
        return Ok(Part::Created(format.to_owned()));
    }
    if VARIABLES.contains(&name) {
        return Ok(Part::Variable(name.to_owned()));
    }
    Err(TemplateError::Unknown {
        template: template.to_owned(),
        variable: name.to_owned(),
    })
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Template, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
