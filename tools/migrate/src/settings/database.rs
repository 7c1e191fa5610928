//! The application's database: `DATABASE_URL`, or its parts.
//!
//! What must hold: a password of any characters works; none is shown.
//!
//! What it deliberately does not do: connect.

use std::time::Duration;

use console::{Failure, Origin, Setting};

use super::Layers;

/// Schemes that name a database this tool can open.
const SCHEMES: [&str; 3] = ["postgres://", "postgresql://", "sqlite:"];

/// Finds the URL: the flag, `DATABASE_URL`, else the `POSTGRES_…` parts with the application's defaults.
pub(super) fn url(typed: Option<&str>, layers: &Layers) -> Result<Setting<String>, Failure> {
    let setting = match (typed, layers.get("DATABASE_URL")) {
        (Some(url), _) => Setting::new(url.into(), Origin::Argument("--database-url".into())),
        (None, Some(url)) => url,
        (None, None) => from_parts(layers),
    };
    if SCHEMES
        .iter()
        .any(|scheme| setting.value.starts_with(scheme))
    {
        return Ok(setting);
    }
    Err(Failure::config(format!(
        "the database URL ({}) begins with neither postgres:// nor postgresql:// nor sqlite:",
        setting.origin
    ))
    .hint("write postgres://USER:PASSWORD@HOST:5432/DATABASE"))
}

/// Reads `DATABASE_TIMEOUT`, in seconds.
pub(super) fn timeout(layers: &Layers, default: Duration) -> Result<Setting<Duration>, Failure> {
    let Some(set) = layers.get("DATABASE_TIMEOUT") else {
        return Ok(Setting::new(default, Origin::Default));
    };
    match console::parse::duration(&set.value) {
        Ok(duration) if !duration.is_zero() => Ok(Setting::new(duration, set.origin)),
        _ => Err(Failure::config(format!(
            "DATABASE_TIMEOUT ({}) is not a number of seconds above zero",
            set.origin
        ))
        .hint("write DATABASE_TIMEOUT=300 for five minutes")),
    }
}

fn from_parts(layers: &Layers) -> Setting<String> {
    let part = |name: &str, default: &str| {
        layers
            .get(name)
            .map_or_else(|| default.to_owned(), |setting| setting.value)
    };
    let named = ["HOST", "PORT", "DB", "USER", "PASSWORD"]
        .iter()
        .find_map(|part| layers.get(&format!("POSTGRES_{part}")));
    let origin = named.map_or(Origin::Default, |setting| setting.origin);
    let url = format!(
        "postgresql://{}:{}@{}:{}/{}",
        password_encoded(&part("POSTGRES_USER", "readur")),
        password_encoded(&part("POSTGRES_PASSWORD", "readur")),
        part("POSTGRES_HOST", "localhost"),
        part("POSTGRES_PORT", "5432"),
        password_encoded(&part("POSTGRES_DB", "readur")),
    );
    Setting::new(url, origin)
}

/// Encodes a part of a URL. An escape that is there already stays: the application does not encode, so people do.
#[must_use]
pub fn password_encoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_escape = |at: usize| {
        bytes.get(at) == Some(&b'%')
            && bytes
                .get(at + 1..at + 3)
                .is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    let mut encoded = String::new();
    for (at, &byte) in bytes.iter().enumerate() {
        if byte.is_ascii_alphanumeric() || b"-._~!*'()".contains(&byte) || is_escape(at) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
