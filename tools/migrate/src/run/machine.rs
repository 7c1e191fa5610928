//! What tells this machine from a copy of it.
//!
//! What must hold: two numbers are known only as hashes of this program's own, since a journal goes into the bucket; what cannot be read says nothing. Of
//! two machines that differ in a number that both have, one may be a copy of the other.
//!
//! What it deliberately does not do: take the host's name or address for it, which a container changes at every start; or know a copy that has both
//! numbers of what it was made of.

use serde::{Deserialize, Serialize};
use transfer::Digest;

/// So much of a hash tells machines apart, in hexadecimal digits.
const DIGITS: usize = 16;

/// What boards have as their number whose maker gave them none.
const NO_BOARD: [&str; 3] = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "03000200-0400-0500-0006-000700080009",
];

/// A machine, by hashes of its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// That of the installed system (`/etc/machine-id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// That of the board, which a virtual machine gets when it is made; only root may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
}

impl Machine {
    /// Returns this machine; none if it has no number that can be read.
    #[must_use]
    pub fn here() -> Option<Machine> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let system = read("/etc/machine-id").or_else(|| read("/var/lib/dbus/machine-id"));
        let board = read("/sys/class/dmi/id/product_uuid");
        Machine::of(system.as_deref(), board.as_deref())
    }

    fn of(system: Option<&str>, board: Option<&str>) -> Option<Machine> {
        let number = |text: &str| text.trim().to_lowercase();
        let is_one = |text: &String| !text.is_empty() && text != "uninitialized";
        let system = system.map(number).filter(is_one);
        let board = board.map(number).filter(is_one);
        let board = board.filter(|number| !NO_BOARD.contains(&number.as_str()));
        let hashed = |kind: &str, number: String| {
            let digest = Digest::of(format!("syncline {kind} {number}").as_bytes());
            digest.to_string().chars().take(DIGITS).collect()
        };
        let machine = Machine {
            system: system.map(|number| hashed("system", number)),
            board: board.map(|number| hashed("board", number)),
        };
        (machine != Machine::default()).then_some(machine)
    }

    /// Tells whether both are surely not one machine.
    #[must_use]
    pub fn is_another(&self, other: &Machine) -> bool {
        let pairs = [(&self.system, &other.system), (&self.board, &other.board)];
        pairs
            .into_iter()
            .any(|(mine, theirs)| mine.is_some() && theirs.is_some() && mine != theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_both_have_tell_two_machines_apart() {
        let of = |system, board| Machine::of(system, board).expect("a number");
        let (one, other) = (of(Some("a1\n"), Some("B2")), of(Some("a1"), Some("b3")));
        assert!(one.is_another(&other), "a board of its own");
        assert!(!one.is_another(&of(Some("A1"), Some("b2\n"))));
        assert!(!one.is_another(&of(Some("a1"), None)));
        assert!(!of(Some("a1"), None).is_another(&of(None, Some("b2"))));
        assert!(one.is_another(&of(Some("c4"), None)));
        assert_eq!(Machine::of(Some("\n"), Some(NO_BOARD[0])), None);
        assert_eq!(Machine::of(Some("uninitialized\n"), None), None);
        let shown = format!("{one:?}");
        assert!(
            !shown.contains("a1\"") && shown.len() > DIGITS * 2,
            "{shown}"
        );
    }
}
