//! The time zone of this machine, from one file.
//!
//! What must hold: `TZ` and the system's setting are understood as the C library does it; no directory is read, for this is on the
//! way of every search.
//!
//! What it deliberately does not do: know the zone's name. Times are only shown and read here.

use std::path::{Path, PathBuf};

use console::Env;
use jiff::tz::TimeZone;

/// Where systems keep their zones.
const DATABASES: [&str; 4] = [
    "/usr/share/zoneinfo",
    "/usr/lib/zoneinfo",
    "/usr/share/lib/zoneinfo",
    "/etc/zoneinfo",
];

/// The zone to show times in.
pub(super) fn local(env: &Env) -> TimeZone {
    let found = match env.get_even_empty("TZ") {
        None => of_file(Path::new("/etc/localtime")),
        Some(text) => of_variable(text.strip_prefix(':').unwrap_or(text)),
    };
    // Another kind of system; the library knows more ways, and takes longer.
    found.unwrap_or_else(TimeZone::system)
}

fn of_variable(text: &str) -> Option<TimeZone> {
    if text.is_empty() || text == "UTC" {
        return Some(TimeZone::UTC);
    }
    if text.starts_with('/') {
        return of_file(Path::new(text));
    }
    let is_name = text
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.'));
    let mut files = DATABASES.iter().map(|base| PathBuf::from(base).join(text));
    is_name
        .then(|| files.find_map(|file| of_file(&file)))
        .flatten()
        .or_else(|| TimeZone::posix(text).ok())
}

fn of_file(path: &Path) -> Option<TimeZone> {
    let bytes = std::fs::read(path).ok()?;
    TimeZone::tzif("Local", &bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn hour(tz: &str) -> String {
        let env = Env::from_pairs([("TZ", tz)]);
        let time = Timestamp::from_second(1_700_000_000).expect("a time");
        time.to_zoned(local(&env)).strftime("%H:%M").to_string()
    }

    #[test]
    fn the_variable_is_understood_as_the_c_library_does() {
        assert_eq!(hour("UTC"), "22:13");
        assert_eq!(hour(""), "22:13");
        assert_eq!(hour("EST5"), "17:13");
        assert_eq!(hour("CET-1CEST,M3.5.0,M10.5.0/3"), "23:13");
    }
}
