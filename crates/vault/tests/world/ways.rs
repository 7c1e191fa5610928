//! The ways into the simulated vault: which passphrases were promised to open it, who races to change them, and what must hold of that.
//!
//! What must hold at the end: all devices' keys are those of one vault; a passphrase whose addition was acknowledged opens it if no key
//! was made since, and none from before the newest key does.
//! What it deliberately does not do: promise what the design does not. Where a file is seen late, where devices stall for longer than a
//! pause, or where `vault.json` was lost, a change may be written over after it was acknowledged; the vault is one and whole all the same.

use vault::{Keyring, VaultFile};

use super::World;
use super::act::Act;
use super::keys::{KeyAct, Way, chain, passphrase, unlock};

/// What people were told of ways in.
#[derive(Default)]
pub(super) struct Ways {
    pub(super) told: Vec<Way>,
    /// Whether they change at all.
    pub(super) change: bool,
    /// Whether what is told of them is promised to stay.
    pub(super) is_promised: bool,
    /// How often a device came in again.
    pub(super) returns: u64,
    /// How often a change ended otherwise than its device was about to make it.
    pub(super) refused: u64,
}

impl World {
    pub(super) fn random_key_act(&mut self) -> KeyAct {
        let number = self.about.typed;
        self.about.typed += 1;
        match self.rng.below(10) {
            0..4 => KeyAct::Rotate(number),
            4..8 => KeyAct::Add(number),
            _ => KeyAct::Init(number),
        }
    }

    pub(super) fn come_in(&mut self) -> Act {
        let number = self.about.typed;
        self.about.typed += 1;
        Act::Key(KeyAct::Init(number))
    }

    /// Several devices, of which at least one changes the keys, most of the time more.
    pub(super) fn key_crowd(&mut self, index: usize) -> Result<(), String> {
        let mut others = self.awake();
        others.retain(|other| *other != index);
        self.rng.shuffle(&mut others);
        others.truncate(1 + self.rng.index(3));
        let mut acts = vec![(index, Act::Key(self.random_key_act()))];
        for index in others.iter().copied() {
            self.tick(index);
            let act = match self.rng.chance(600) {
                true => Act::Key(self.random_key_act()),
                false => self.random_act(index),
            };
            acts.push((index, act));
        }
        for (index, _) in &acts {
            // In the middle of something, most of the time.
            if self.rng.chance(200) {
                let left = self.rng.below(8);
                self.machines[*index].store.crash_after(left);
            } else if self.rng.chance(100) {
                self.machines[*index].replica.fuse = Some(self.rng.below(3));
            }
        }
        self.crowds += 1;
        self.together(acts)?;
        for index in others {
            self.restart(index);
        }
        Ok(())
    }

    /// Somebody removes `vault.json`; a device that could put it back is there.
    pub(super) fn lose_description(&mut self) {
        let Some(newest) = self.newest_keys() else {
            return;
        };
        let is_guarded = self.living().into_iter().any(|index| {
            let keys = &self.machines[index].keys;
            chain(&keys.kept) == chain(&newest) && keys.has_copy_of(&newest)
        });
        if is_guarded {
            self.log.push("vault.json is removed by somebody".into());
            self.store.remove_raw(vault::VAULT_FILE);
            self.ways.is_promised = false;
        }
    }

    /// Whether a device may be lost for ever: not the only one that has a key which may not come to hold.
    pub(super) fn may_die(&self, index: usize) -> bool {
        let is_guarded = self.ways.is_promised || self.machines[index].keys.kept.epoch() == 1;
        is_guarded && self.description().is_some() && !self.damage.has_happened
    }

    pub(super) fn description(&self) -> Option<VaultFile> {
        let objects = self.store.objects();
        let bytes = objects.get(vault::VAULT_FILE)?;
        Some(VaultFile::parse(bytes).expect("whole objects are written"))
    }

    /// The keys that the store's description is under.
    pub(super) fn newest_keys(&self) -> Option<Keyring> {
        unlock(&self.description()?, self.about.typed).ok()
    }

    /// Everybody who was not told comes in again, where what was told need not have stayed.
    pub(super) fn all_come_in(&mut self, living: &[usize]) -> Result<(), String> {
        if self.ways.is_promised {
            return Ok(());
        }
        // The first round may have put back what shows in the second.
        for index in [living, living].concat() {
            let act = self.come_in();
            self.perform(index, act)?;
        }
        Ok(())
    }

    pub(super) fn check_keys(&self, living: &[usize]) -> Result<(), String> {
        let file = self.description().ok_or("vault.json is gone for good")?;
        let keys = unlock(&file, self.about.typed)
            .map_err(|error| format!("no passphrase opens the vault: {error}"))?;
        let chain_now = chain(&keys);
        for index in living {
            let theirs = chain(&self.machines[*index].keys.kept);
            if !chain_now.starts_with(&theirs) {
                return Err(format!(
                    "the vault is split: machine {index} has the keys {theirs:?}, vault.json has {chain_now:?}"
                ));
            }
        }
        for way in &self.ways.told {
            let opens = file.unlock(&passphrase(way.number)).is_ok();
            let is_newest = chain_now.last() == Some(&way.key);
            if self.ways.is_promised && way.is_rotation && !chain_now.contains(&way.key) {
                return Err(format!(
                    "the rotation of {way:?} was acknowledged and does not hold"
                ));
            }
            if self.ways.is_promised && is_newest && !opens {
                return Err(format!(
                    "{way:?} was acknowledged and does not open the vault"
                ));
            }
            if !is_newest && opens {
                return Err(format!("{way:?} ended with a rotation and opens the vault"));
            }
        }
        Ok(())
    }
}
