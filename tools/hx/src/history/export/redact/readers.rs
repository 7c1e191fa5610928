//! Which commands take what they read for commands: `bash <<EOF`, `ssh host sudo sh -s <<EOF`.
//!
//! What must hold: the answer is yes only where that is sure, for a value in a command ends sooner than one in a file of settings.
//!
//! What it deliberately does not do: know every program that starts another. One it does not know is no shell.

use super::shell::{self, Word};

const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ksh", "fish"];

/// Programs that run the command after them, and words that may stand before one.
const WRAPPERS: [&str; 14] = [
    "sudo", "doas", "env", "nohup", "time", "exec", "command", "nice", "then", "else", "do", "if",
    "!", "{",
];

/// Options of these whose value is the next word.
const WRAPPERS_APART: [&str; 5] = ["-u", "-g", "-h", "-n", "-C"];

/// Programs that run a command elsewhere after `exec`.
const CONTAINERS: [&str; 7] = [
    "docker",
    "podman",
    "nerdctl",
    "kubectl",
    "oc",
    "docker-compose",
    "podman-compose",
];

/// Options of `ssh`, by letter, whose value is the next word.
const SSH_APART: &str = "BbcDEeFIiJLlmOoPpQRSWw";

/// Whether these words start a shell that reads its commands from where the words are read from.
pub(super) fn is_shell(words: &[Word]) -> bool {
    let plain: Vec<&str> = words.iter().map(|word| &*word.plain).collect();
    let Some((program, rest)) = unwrapped(&plain) else {
        return false;
    };
    match base(program) {
        "ssh" => at_host(rest).is_some_and(is_remote_shell),
        name if CONTAINERS.contains(&name) => {
            let command = rest.iter().position(|word| *word == "exec");
            let rest = &rest[command.map_or(rest.len(), |at| at + 1)..];
            let shell = rest.iter().position(|word| SHELLS.contains(&base(word)));
            shell.is_some_and(|at| is_local_shell(&rest[at..]))
        }
        _ => is_local_shell(&plain),
    }
}

pub(super) fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The first word that is a program of its own, and those after it.
pub(super) fn unwrapped<'w>(words: &'w [&'w str]) -> Option<(&'w str, &'w [&'w str])> {
    let mut after_wrapper = false;
    let mut rest = words;
    while let Some((word, next)) = rest.split_first() {
        rest = next;
        if after_wrapper && word.starts_with('-') {
            rest = &next[usize::from(WRAPPERS_APART.contains(word)).min(next.len())..];
        } else if WRAPPERS.contains(&base(word)) {
            after_wrapper = true;
        } else if !is_assignment(word) {
            return Some((word, rest));
        }
    }
    None
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(is_in_name)
    })
}

/// A shell without a script and without `-c`: what it reads is what it runs.
fn is_local_shell(words: &[&str]) -> bool {
    let Some((program, rest)) = unwrapped(words) else {
        return false;
    };
    let is_option = |word: &&str| word.starts_with(['-', '+']);
    let has_letter = |word: &str, letter| !word.starts_with("--") && word.contains(letter);
    let options = rest.iter().take_while(|word| is_option(word));
    let takes_command = options.clone().any(|word| has_letter(word, 'c'));
    let reads = options.clone().any(|word| has_letter(word, 's'));
    SHELLS.contains(&base(program)) && !takes_command && (reads || options.count() == rest.len())
}

/// What follows the host in the arguments of `ssh`.
fn at_host<'w>(words: &'w [&'w str]) -> Option<&'w [&'w str]> {
    let mut rest = words;
    loop {
        let (word, next) = rest.split_first()?;
        let Some(letters) = word.strip_prefix('-') else {
            return Some(next);
        };
        let takes_next = letters.find(|letter| SSH_APART.contains(letter));
        let is_apart = takes_next.is_some_and(|at| at + 1 == letters.len());
        rest = next.get(usize::from(is_apart)..)?;
    }
}

/// Whether what `ssh` is given to run is a shell: nothing is, as well.
fn is_remote_shell(words: &[&str]) -> bool {
    let line = words.join(" ");
    if line.trim().is_empty() {
        return true;
    }
    match shell::commands(&line).as_slice() {
        [command] => {
            let words: Vec<&str> = command.words.iter().map(|word| &*word.plain).collect();
            is_local_shell(&words)
        }
        _ => false,
    }
}
