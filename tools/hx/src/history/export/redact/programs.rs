//! Secrets that are known by the program they are typed for: `mysql -psecret`, `docker login -p secret`, `echo secret | sudo -S`.
//!
//! What must hold: every span lies within the text and on character borders.
//!
//! What it deliberately does not do: parse the shell. A program's name counts wherever it stands, so that `sudo`, `env` and
//! `docker exec` before it do not hide it.

use std::ops::Range;

use super::runs;

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
}

const NONE: Rule = Rule {
    programs: &[],
    only_with: None,
    apart: &[],
    glued: &[],
    half: &[],
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
        ..NONE
    },
    Rule {
        programs: &["zip", "unzip", "sqlcmd", "bcp"],
        apart: &["-P"],
        glued: &["-P"],
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

/// Values of options.
pub(super) fn options(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let (mut rules, mut seen): (Vec<&Rule>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut words = runs(text, |byte| !byte.is_ascii_whitespace()).peekable();
    while let Some(run) = words.next() {
        let word = &text[run.clone()];
        let base = word.rsplit('/').next().unwrap_or(word);
        if matches!(word, "|" | "||" | "&&" | ";") {
            rules.clear();
            seen.clear();
            continue;
        }
        let named: Vec<&Rule> = RULES
            .iter()
            .filter(|rule| rule.programs.contains(&base))
            .collect();
        if !named.is_empty() && !word.starts_with('-') {
            rules = named;
        }
        seen.push(word);
        let next = words.peek().map(|next| next.start);
        for rule in &rules {
            if rule.only_with.is_none_or(|with| seen.contains(&with)) {
                spans.extend(value(rule, text, &run, next));
            }
        }
    }
    spans
}

/// The secret that a word is, has in it, or announces.
fn value(rule: &Rule, text: &str, run: &Range<usize>, next: Option<usize>) -> Option<Range<usize>> {
    let word = &text[run.clone()];
    if rule.apart.contains(&word) {
        return next.map(|start| shell_word(text, start));
    }
    for (option, sign) in rule.half {
        let start = match word.strip_prefix(option) {
            Some("") => next,
            // `--user=name:secret`, and `-uname:secret` after one dash.
            Some(rest) if rest.starts_with('=') => Some(run.start + option.len() + 1),
            Some(_) if !option.starts_with("--") && option.len() == 2 => {
                Some(run.start + option.len())
            }
            _ => None,
        };
        let Some(start) = start else { continue };
        let whole = shell_word(text, start);
        return text[whole.clone()]
            .find(*sign)
            .map(|at| whole.start + at + sign.len_utf8()..whole.end);
    }
    let glued = rule
        .glued
        .iter()
        .filter(|option| word.len() > option.len() && word.starts_with(**option))
        .max_by_key(|option| option.len())?;
    Some(shell_word(text, run.start + glued.len()))
}

/// What a program reads from a pipe or a here-string: `echo secret | sudo -S ls`, `chpasswd <<< name:secret`.
pub(super) fn piped(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (at, _) in text.match_indices('|') {
        let is_or = text[at + 1..].starts_with('|') || text[..at].ends_with('|');
        let reader = &text[at + 1..];
        let reader = &reader[..reader.find(['|', ';', '\n']).unwrap_or(reader.len())];
        if !is_or && reads_secret(reader) {
            spans.extend(said_before(text, at));
        }
    }
    for (at, _) in text.match_indices("<<<") {
        let reader = text[..at]
            .rsplit(['|', ';', '\n'])
            .next()
            .unwrap_or_default();
        if reads_secret(reader) {
            let value = text[at + 3..].trim_start();
            spans.push(shell_word(text, text.len() - value.len()));
        }
    }
    spans
}

/// Whether a command takes a secret from its standard input.
fn reads_secret(command: &str) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    let short_s = words
        .iter()
        .any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('S'));
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

/// What `echo` or `printf` says before a pipe.
fn said_before(text: &str, pipe: usize) -> Option<Range<usize>> {
    let before = &text[..pipe];
    let word_at = |program: &str| {
        before
            .rmatch_indices(program)
            .map(|(at, _)| at)
            .find(|at| {
                before[..*at]
                    .chars()
                    .next_back()
                    .is_none_or(|c| !c.is_alphanumeric() && c != '-')
            })
            .map(|at| at + program.len())
    };
    let mut start = word_at("echo ").max(word_at("printf "))?;
    loop {
        let rest = before[start..].trim_start();
        start = before.len() - rest.len();
        let word = rest.split_whitespace().next()?;
        if !matches!(word, "-n" | "-e" | "-ne" | "-en" | "-E" | "--") {
            break;
        }
        start += word.len();
    }
    let said = before[start..].trim_end();
    let whole = shell_word(text, start);
    // One quoted word stays in its quotes; several words go together.
    Some(
        if whole.end + 1 == start + said.len() && whole.start > start {
            whole
        } else {
            start..start + said.len()
        },
    )
}

/// The word of a shell that begins here, without its quotes.
fn shell_word(text: &str, start: usize) -> Range<usize> {
    let rest = &text[start..];
    if let Some(quote @ ('"' | '\'')) = rest.chars().next() {
        let end = rest[1..]
            .find(quote)
            .map_or(text.len(), |at| start + 1 + at);
        return start + 1..end;
    }
    let end =
        rest.find(|c: char| c.is_whitespace() || matches!(c, ';' | '|' | '&' | ')' | '"' | '\''));
    start..end.map_or(text.len(), |at| start + at)
}
