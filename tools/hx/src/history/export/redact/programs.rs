//! Secrets that are known by the program they are typed for: `mysql -psecret`, `docker login -p secret`, `echo secret | sudo -S`.
//!
//! What must hold: every span lies within the text and on character borders.
//!
//! What it deliberately does not do: tell a program's name from its arguments. A name counts wherever it stands in a command, so that
//! `sudo`, `env` and `docker exec` before it do not hide it.

use std::ops::Range;

use super::shell::{Command, Word};
use super::{here, is_secret_name};

/// How a group of programs takes secrets.
struct Rule {
    programs: &'static [&'static str],
    /// Only if this word stands behind the program.
    only_with: Option<&'static str>,
    /// Options whose value is the next word.
    apart: &'static [&'static str],
    /// Options whose value follows without a blank.
    glued: &'static [&'static str],
    /// Options whose next word is a name, one of these signs, and the secret.
    half: &'static [(&'static str, char)],
    /// Letters without a value that may stand before an option in one word: `-su name:secret`.
    flags: &'static str,
}

const NONE: Rule = Rule {
    programs: &[],
    only_with: None,
    apart: &[],
    glued: &[],
    half: &[],
    flags: "",
};

const RULES: &[Rule] = &[
    Rule {
        programs: &[
            "mysql",
            "mysqldump",
            "mysqladmin",
            "mysqlimport",
            "mysqlsh",
            "mariadb",
            "mariadb-dump",
            "mariadb-admin",
        ],
        glued: &["-p"],
        flags: "ABCEGHNLbcfinoqrstvwWX",
        ..NONE
    },
    Rule {
        programs: &[
            "docker", "podman", "nerdctl", "buildah", "skopeo", "helm", "oras", "crane", "az",
            "cf", "oc", "ibmcloud",
        ],
        only_with: Some("login"),
        apart: &["-p"],
        glued: &["-p"],
        ..NONE
    },
    Rule {
        programs: &[
            "sshpass",
            "mongo",
            "mongosh",
            "mongodump",
            "mongorestore",
            "twine",
        ],
        apart: &["-p"],
        glued: &["-p"],
        flags: "vV",
        ..NONE
    },
    Rule {
        programs: &["openssl"],
        apart: &["-k", "-K"],
        half: &[("-pass", ':'), ("-passin", ':'), ("-passout", ':')],
        ..NONE
    },
    Rule {
        programs: &["curl"],
        half: &[
            ("-u", ':'),
            ("--user", ':'),
            ("-U", ':'),
            ("--proxy-user", ':'),
        ],
        apart: &["--oauth2-bearer"],
        flags: "#0123456789afgGiIjJklLMnNOpqRsSvVZ",
        ..NONE
    },
    Rule {
        programs: &["http", "https", "xh"],
        half: &[("-a", ':'), ("--auth", ':')],
        ..NONE
    },
    Rule {
        programs: &["smbclient", "rpcclient"],
        half: &[("-U", '%'), ("--user", '%')],
        ..NONE
    },
    Rule {
        programs: &["lftp"],
        half: &[("-u", ',')],
        ..NONE
    },
    Rule {
        programs: &["redis-cli"],
        apart: &["-a", "--pass"],
        ..NONE
    },
    Rule {
        programs: &[
            "ldapsearch",
            "ldapadd",
            "ldapmodify",
            "ldapdelete",
            "ldapwhoami",
        ],
        apart: &["-w"],
        glued: &["-w"],
        flags: "LxnvcZQ",
        ..NONE
    },
    Rule {
        programs: &["zip", "unzip", "sqlcmd", "bcp"],
        apart: &["-P"],
        glued: &["-P"],
        flags: "0123456789AcCdDefFjJklLmopqrSTuvXyz",
        ..NONE
    },
    Rule {
        programs: &["7z", "7za", "7zz", "rar", "unrar"],
        glued: &["-p", "-hp"],
        ..NONE
    },
    Rule {
        programs: &["ssh-keygen"],
        apart: &["-N", "-P"],
        ..NONE
    },
    Rule {
        programs: &["keytool", "jarsigner"],
        apart: &[
            "-storepass",
            "-keypass",
            "-srcstorepass",
            "-deststorepass",
            "-new",
        ],
        ..NONE
    },
    Rule {
        programs: &["xfreerdp", "wlfreerdp"],
        glued: &["/p:"],
        ..NONE
    },
    Rule {
        programs: &["kubectl", "oc"],
        half: &[("--from-literal", '=')],
        ..NONE
    },
];

/// Values of options, and of arguments that are known by their place.
pub(super) fn options(command: &Command) -> Vec<Range<usize>> {
    let words = &command.words;
    let mut spans = by_place(words);
    let mut rules: Vec<&Rule> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let base = base(word);
        if !word.plain.starts_with('-') {
            rules.extend(RULES.iter().filter(|rule| rule.programs.contains(&base)));
        }
        for rule in &rules {
            let applies = rule
                .only_with
                .is_none_or(|with| words[..=index].iter().any(|word| word.plain == with));
            if let Some((at, from)) = value(rule, words, index).filter(|_| applies) {
                spans.extend(words[at].secret(from));
            }
        }
    }
    spans
}

/// A program's name without its directory.
fn base(word: &Word) -> &str {
    word.plain.rsplit('/').next().unwrap_or(&word.plain)
}

/// The word that has a secret for an option in word `index`, and where the secret begins in it.
fn value(rule: &Rule, words: &[Word], index: usize) -> Option<(usize, usize)> {
    let plain = &words[index].plain;
    let next = Some(index + 1).filter(|next| *next < words.len());
    let is_apart = |option: &&str| end_of(rule, plain, option) == Some(plain.len());
    if rule.apart.iter().any(is_apart) {
        return next.map(|next| (next, 0));
    }
    for (option, sign) in rule.half {
        let (at, from) = match (end_of(rule, plain, option), next) {
            (Some(end), Some(next)) if end == plain.len() => (next, 0),
            // `--user=name:secret`, and `-uname:secret` after one dash.
            (Some(end), _) if plain[end..].starts_with('=') => (index, end + 1),
            (Some(end), _) if option.len() == 2 => (index, end),
            _ => continue,
        };
        return words[at].after_sign(from, *sign).map(|from| (at, from));
    }
    rule.glued
        .iter()
        .filter_map(|option| end_of(rule, plain, option))
        .filter(|end| *end < plain.len())
        .max()
        .map(|end| (index, end))
}

/// Where an option ends in a word that begins with it, or with letters that may stand before it.
fn end_of(rule: &Rule, plain: &str, option: &str) -> Option<usize> {
    if plain.starts_with(option) {
        return Some(option.len());
    }
    let letter = option.strip_prefix('-').filter(|name| name.len() == 1)?;
    let letters = plain.strip_prefix('-')?;
    let at = letters.find(letter)?;
    let are_flags = letters[..at].chars().all(|flag| rule.flags.contains(flag));
    are_flags.then_some(at + 2)
}

/// `htpasswd -b file name secret`, `vault login secret`, `aws configure set aws_secret_access_key secret`.
fn by_place(words: &[Word]) -> Vec<Range<usize>> {
    let find = |from: usize, name: &str| {
        let rest = words.get(from..).unwrap_or_default();
        rest.iter()
            .position(|word| base(word) == name)
            .map(|at| from + at)
    };
    let mut spans = Vec::new();
    if let Some(at) = find(0, "htpasswd")
        && words[at..].iter().any(|word| is_batch(&word.plain))
    {
        spans.extend(words.last().map(|last| last.secret(0)).unwrap_or_default());
    }
    if let Some(at) = find(0, "vault").and_then(|at| find(at, "login")) {
        let token = words[at + 1..]
            .iter()
            .find(|word| !word.plain.starts_with('-') && !word.plain.contains('='));
        spans.extend(token.map(|token| token.secret(0)).unwrap_or_default());
    }
    if let Some(at) = find(0, "set").or_else(|| find(0, "config")) {
        for pair in words[at..].windows(2) {
            let name = pair[0].plain.to_ascii_lowercase().replace(['-', '.'], "_");
            let is_value = !pair[0].plain.contains('=') && !pair[1].plain.starts_with('-');
            if is_value && is_secret_name(&name) {
                spans.extend(pair[1].secret(0));
            }
        }
    }
    spans
}

/// Whether an option of `htpasswd` has the password on the command line.
fn is_batch(option: &str) -> bool {
    option.starts_with('-') && !option.starts_with("--") && option.contains('b')
}

/// What a program reads from a pipe, a here-string or a here-document: `echo secret | sudo -S ls`, `chpasswd <<< name:secret`.
pub(super) fn piped(text: &str, commands: &[Command]) -> Vec<Range<usize>> {
    let documents = |command: &Command| -> Vec<Range<usize>> {
        let documents = command.documents.iter();
        documents
            .filter_map(|document| here::whole(text, document))
            .collect()
    };
    let mut spans = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        if !reads_secret(command) {
            continue;
        }
        spans.extend(command.here.iter().flat_map(|word| word.secret(0)));
        spans.extend(documents(command));
        let Some(before) = index.checked_sub(1).filter(|_| command.piped) else {
            continue;
        };
        // A group that ends before the pipe speaks as a whole.
        let last = commands[before].words.last();
        let is_group = last.is_none_or(|word| matches!(&*word.plain, "}" | "done" | "fi"));
        let first = if is_group { 0 } else { before };
        spans.extend(commands[first..=before].iter().filter_map(said));
        spans.extend(commands[first..=before].iter().flat_map(documents));
    }
    spans
}

/// Whether a command takes a secret from its standard input.
fn reads_secret(command: &Command) -> bool {
    let words = &command.words;
    let has = |text: &str| words.iter().any(|word| word.plain == text);
    let short_s = words.iter().any(|word| {
        word.plain.starts_with('-') && !word.plain.starts_with("--") && word.plain.contains('S')
    });
    (has("sudo") && (short_s || has("--stdin")))
        || (has("passwd") && has("--stdin"))
        || (has("openssl") && has("stdin"))
        || ["chpasswd", "smbpasswd", "cryptsetup", "kinit"]
            .iter()
            .any(|program| has(program))
        || [
            "--password-stdin",
            "--passphrase-fd",
            "--passphrase-fd=0",
            "--with-token",
            "--secret-stdin",
        ]
        .iter()
        .any(|option| has(option))
}

/// What `echo` or `printf` says.
fn said(command: &Command) -> Option<Range<usize>> {
    let speaks = |word: &Word| matches!(base(word), "echo" | "printf" | "print");
    let program = command.words.iter().position(speaks)?;
    let is_option = |word: &&Word| {
        matches!(
            &*word.plain,
            "-n" | "-e" | "-ne" | "-en" | "-E" | "-r" | "--"
        )
    };
    let rest = &command.words[program + 1..];
    let rest = &rest[rest.iter().take_while(is_option).count()..];
    let (first, last) = (rest.first()?, rest.last()?);
    if rest.len() == 1 {
        // One quoted word stays in its quotes; several words go together.
        let spans = first.secret(0);
        return Some(spans.first()?.start..spans.last()?.end);
    }
    let is_harmless = |word: &Word| word.only_refers() || word.plain.starts_with('%');
    (!rest.iter().all(is_harmless)).then_some(first.raw.start..last.raw.end)
}
