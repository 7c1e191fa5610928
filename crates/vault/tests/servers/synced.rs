//! A folder that Syncthing or Dropbox serves: two folders, and a model of the tool between them that copies files in any order, leaves
//! parts and conflict copies lying about, and carries removals over late. Both folders are valid stores at any moment.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use testkit::Rng;

use super::open;
use crate::desk::{Desk, keys, vault_file, wait};

/// A sync tool between two folders.
struct SyncTool {
    rng: Rng,
    sides: [PathBuf; 2],
    /// What both sides had when they last agreed.
    agreed: BTreeSet<PathBuf>,
}

fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root).expect("below it").to_owned());
            }
        }
    }
    found
}

fn is_litter(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(".syncthing.") || name.contains(".sync-conflict-")
}

impl SyncTool {
    /// Carries some of what differs over, or all of it.
    fn run(&mut self, all: bool) {
        let [one, two] = [0, 1].map(|side| {
            files(&self.sides[side])
                .into_iter()
                .filter(|file| !is_litter(file))
                .collect::<BTreeSet<_>>()
        });
        let mut differing: Vec<PathBuf> = one.symmetric_difference(&two).cloned().collect();
        self.rng.shuffle(&mut differing);
        for file in differing {
            if !all && self.rng.chance(500) {
                continue;
            }
            let from = usize::from(!one.contains(&file));
            if self.agreed.contains(&file) {
                fs::remove_file(self.sides[from].join(&file)).expect("removes");
                self.agreed.remove(&file);
            } else {
                self.copy(&file, from, all);
            }
        }
    }

    fn copy(&mut self, file: &Path, from: usize, all: bool) {
        let bytes = fs::read(self.sides[from].join(file)).expect("reads");
        let target = self.sides[1 - from].join(file);
        let folder = target.parent().expect("below the root");
        fs::create_dir_all(folder).expect("creates");
        let name = target
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let part = folder.join(format!(".syncthing.{name}.tmp"));
        if !all && self.rng.chance(300) {
            let length = self.rng.index(bytes.len());
            fs::write(part, &bytes[..length]).expect("writes");
            return;
        }
        if self.rng.chance(100) {
            let conflict = folder.join(format!("{name}.sync-conflict-20260102-030405-ABCDEFG"));
            fs::write(conflict, &bytes[..self.rng.index(bytes.len())]).expect("writes");
        }
        fs::write(&part, &bytes).expect("writes");
        fs::rename(&part, &target).expect("renames");
        self.agreed.insert(file.to_owned());
    }
}

async fn play(seed: u64) {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let sides = ["one", "two"].map(|name| scratch.path().join(name));
    let mut desks = vec![];
    for (number, side) in sides.iter().enumerate() {
        fs::create_dir_all(side).expect("creates");
        let store = open(&format!("folder:{}", side.display())).await;
        desks.push(Desk::new(number as u64 + 1, store));
    }
    fs::write(sides[0].join("vault.json"), vault_file(&keys()).to_bytes()).expect("writes");
    let mut tool = SyncTool {
        rng: Rng::new(seed),
        sides,
        agreed: BTreeSet::new(),
    };
    tool.run(true);
    let mut rng = Rng::new(seed + 1);
    let mut expected = BTreeSet::new();
    for step in 0..60 {
        let side = rng.index(2);
        let desk = &mut desks[side];
        match rng.below(10) {
            0..4 => {
                let first = step * 100;
                desk.add(first..first + 1 + rng.below(5));
                expected.extend(desk.kept());
            }
            4 => {
                let kept: Vec<u64> = desk.kept().into_iter().collect();
                if !kept.is_empty() {
                    let gone = kept[rng.index(kept.len())];
                    desk.forget(gone);
                    expected.remove(&gone);
                }
                desk.days_pass(3);
            }
            5..8 => drop(
                desk.push()
                    .await
                    .unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}")),
            ),
            _ => drop(
                desk.pull()
                    .await
                    .unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}")),
            ),
        }
        tool.run(false);
    }
    tool.run(true);
    for _ in 0..2 {
        for desk in &mut desks {
            desk.pull().await.expect("a whole folder");
            desk.push().await.expect("a whole folder");
            tool.run(true);
        }
    }
    judge(seed, &mut desks, &tool, &expected).await;
}

/// Both sides hold the same, nothing is lost, and the tool's litter was there and did no harm.
async fn judge(seed: u64, desks: &mut [Desk], tool: &SyncTool, expected: &BTreeSet<u64>) {
    for desk in desks.iter_mut() {
        let report = desk.pull().await.expect("a whole folder");
        assert_eq!(report.problems, [], "seed {seed}");
        let verified = desk.verify().await.expect("a whole folder");
        assert!(verified.is_sound(), "seed {seed}: {:?}", verified.problems);
    }
    assert_eq!(desks[0].kept(), desks[1].kept(), "seed {seed}");
    let lost: Vec<_> = expected.difference(&desks[0].kept()).copied().collect();
    let forgotten = desks[0].replica.content().1;
    let lost: Vec<_> = lost
        .into_iter()
        .filter(|n| !forgotten.contains(&crate::desk::id(*n)))
        .collect();
    assert!(lost.is_empty(), "seed {seed} lost {lost:?}");
    assert!(
        files(&tool.sides[0])
            .iter()
            .chain(&files(&tool.sides[1]))
            .any(|file| is_litter(file)),
        "seed {seed}: the tool left nothing about"
    );
}

#[test]
fn a_folder_that_a_sync_tool_serves() {
    for seed in 0..8 {
        wait(play(seed));
    }
}
