//! Shell histories that look like real ones, of any length, the same for the same seed.
//!
//! What must hold: `distinct` bounds the number of different commands, a few of them make up most
//! lines as in real life (Zipf's law), a line has about 40 bytes, and times rise. Nothing is kept in
//! memory but a counter, so a million lines cost no more than ten.

use crate::rng::{Rng, mix};

/// What a history is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The number of lines.
    pub lines: u64,
    /// At most so many different commands.
    pub distinct: u64,
    /// The seed.
    pub seed: u64,
    /// The second of the first command since the epoch.
    pub start: u64,
}

impl Shape {
    /// A history of so many lines and different commands, from January 2023 on.
    pub fn new(lines: u64, distinct: u64, seed: u64) -> Shape {
        Shape {
            lines,
            distinct,
            seed,
            start: 1_672_560_000,
        }
    }
}

/// One command of a generated history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// When it started, in seconds since the epoch.
    pub time: u64,
    /// How long it ran, in seconds.
    pub duration: u64,
    /// The command itself; one line.
    pub command: String,
}

/// Generates the entries of a history, oldest first.
pub fn entries(shape: Shape) -> impl Iterator<Item = Entry> {
    let mut rng = Rng::new(mix(shape.seed));
    let mut time = shape.start;
    (0..shape.lines).map(move |_| {
        time += pause(&mut rng);
        let number = zipf(&mut rng, shape.distinct);
        let duration = if rng.chance(850) {
            rng.below(3)
        } else {
            rng.below(600)
        };
        Entry {
            time,
            duration,
            command: command(shape.seed, number),
        }
    })
}

/// Generates the lines of a zsh history in extended format, without line ends.
pub fn zsh_extended(lines: u64, distinct: u64, seed: u64) -> impl Iterator<Item = String> {
    entries(Shape::new(lines, distinct, seed))
        .map(|entry| format!(": {}:{};{}", entry.time, entry.duration, entry.command))
}

/// Seconds between two commands: mostly a few, sometimes a night.
fn pause(rng: &mut Rng) -> u64 {
    match rng.below(100) {
        0 => 8 * 3600 + rng.below(8 * 3600),
        1..=9 => rng.between(60, 1800),
        10..=39 => rng.between(10, 60),
        _ => rng.between(0, 10),
    }
}

/// A number below `distinct`; small ones come more often, roughly as one over the number.
fn zipf(rng: &mut Rng, distinct: u64) -> u64 {
    // Half of the lines are everyday commands; the others spread over the whole range.
    if rng.chance(500) {
        let exponent = rng.unit();
        let number = (distinct.max(1) as f64).powf(exponent) - 1.0;
        return (number as u64).min(distinct.saturating_sub(1));
    }
    rng.below(distinct)
}

/// The command with this number; the same in every history of one seed.
fn command(seed: u64, number: u64) -> String {
    let mut rng = Rng::new(mix(seed) ^ mix(number.wrapping_add(1)));
    let template = TEMPLATES[rng.index(TEMPLATES.len())];
    let mut text = String::with_capacity(48);
    for part in template.split_inclusive(['@', '%', '#']) {
        let slot = part.chars().last();
        text.push_str(part.trim_end_matches(['@', '%', '#']));
        match slot {
            Some('@') => text.push_str(WORDS[rng.index(WORDS.len())]),
            Some('%') => text.push_str(PATHS[rng.index(PATHS.len())]),
            // The number makes commands of one template differ as real ones do.
            Some('#') => text.push_str(&number.to_string()),
            _ => {}
        }
    }
    text
}

/// Commands with slots: `@` a word, `%` a path, `#` the number of the command.
const TEMPLATES: [&str; 36] = [
    "git commit -m \"@ the @ of @ (#)\"",
    "git checkout -b feature/@-@-#",
    "git log --oneline --since=#.days -- %",
    "git diff HEAD~# -- %@.rs",
    "git push origin @-#",
    "git rebase -i HEAD~#",
    "cargo test -p @ @_#",
    "cargo build --release --bin @-#",
    "cargo run --example @ -- --seed #",
    "docker run --rm -it -p #:8080 @/@:latest",
    "docker compose -f %compose.yml up -d @-#",
    "docker logs -f --tail # @-@",
    "kubectl get pods -n @-# -o wide",
    "kubectl logs deploy/@ --since=#m -n @",
    "kubectl apply -f %@-#.yaml",
    "ssh deploy@@-#.example.net",
    "scp %@-#.tar.gz @@build-#.example.net:%",
    "rsync -av --delete %@-#/ backup:%",
    "grep -rn \"@_@\" % | head -#",
    "rg -l '@::@' % --max-count #",
    "find % -name '*@*' -mtime -#",
    "sed -n '#,+20p' %@.log",
    "tail -n # -f %@.log",
    "less +# %@.log",
    "vim +# %@.py",
    "curl -sS http://localhost:#/api/@/@ | jq .@",
    "python3 %@.py --@ # --@",
    "psql -d @ -c 'select * from @ where id = #'",
    "npm run @:@ -- --port #",
    "make -j4 @-#",
    "cd %@-#",
    "ls -la %@-#",
    "tar xzf %@-#.tar.gz -C %",
    "terraform plan -target=module.@[#]",
    "aws s3 cp %@-#.json s3://@-@/%",
    "journalctl -u @ -n # --no-pager",
];

const WORDS: [&str; 40] = [
    "api", "auth", "backup", "billing", "build", "cache", "client", "config", "core", "data",
    "deploy", "docs", "engine", "export", "fix", "gateway", "index", "ingest", "invoice", "login",
    "main", "metrics", "migrate", "monitor", "parser", "payment", "proxy", "queue", "release",
    "report", "router", "search", "server", "session", "staging", "storage", "sync", "test",
    "update", "worker",
];

const PATHS: [&str; 14] = [
    "src/",
    "./",
    "~/work/",
    "/var/log/",
    "infra/",
    "tests/",
    "scripts/",
    "/etc/nginx/",
    "docs/",
    "~/Downloads/",
    "crates/",
    "deploy/k8s/",
    "/tmp/",
    "data/",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn one_seed_is_one_history() {
        let first: Vec<String> = zsh_extended(500, 100, 9).collect();
        assert_eq!(first, zsh_extended(500, 100, 9).collect::<Vec<_>>());
        assert_ne!(first, zsh_extended(500, 100, 10).collect::<Vec<_>>());
    }

    #[test]
    fn it_looks_like_a_history() {
        let history: Vec<Entry> = entries(Shape::new(100_000, 24_000, 1)).collect();
        assert!(history.windows(2).all(|pair| pair[0].time <= pair[1].time));
        assert!(
            history
                .iter()
                .all(|entry| !entry.command.is_empty() && !entry.command.contains('\n'))
        );
        let distinct: BTreeSet<&str> = history.iter().map(|entry| entry.command.as_str()).collect();
        assert!(
            (15_000..=24_000).contains(&distinct.len()),
            "{}",
            distinct.len()
        );
        let bytes: usize = history.iter().map(|entry| entry.command.len()).sum();
        assert!(
            (28..45).contains(&(bytes / history.len())),
            "{}",
            bytes / history.len()
        );
        let commonest = history
            .iter()
            .filter(|entry| entry.command == command(1, 0))
            .count();
        assert!(commonest > 1_000, "{commonest}");
    }

    #[test]
    fn lines_are_in_the_extended_format() {
        let line = zsh_extended(1, 1, 1).next().expect("a line");
        let rest = line.strip_prefix(": ").expect("a leading colon");
        let (times, command) = rest.split_once(';').expect("a semicolon");
        assert!(
            times.split(':').all(|number| number.parse::<u64>().is_ok()),
            "{line}"
        );
        assert!(!command.is_empty());
    }
}
