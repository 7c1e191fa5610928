//! After the faults: everybody syncs until nothing changes, and then every promise is looked at.

use std::collections::BTreeSet;

use vault::{NodeId, PullMode, PushMode, RecordId, Replica};

use super::World;
use super::act::Act;
use super::keys::Keys;
use super::replica::{SimRecord, SimReplica};
use testkit::Faults;

/// So often every device syncs while the grace periods pass: a line that was left is seen, taken over, removed.
const SEASONS: usize = 5;
/// So often before that, all at once and with faults.
const STORMS: usize = 3;
/// Whatever was under way has arrived after so many ticks: a folder is late, but not by a grace period.
const DELIVERED_TICKS: u64 = 1_000;
/// So often a device may run into a conflict before it must be out of it.
const ATTEMPTS_MAX: usize = 6;

impl World {
    /// The faults stop; everybody syncs until nothing changes; then the promises are checked.
    pub(super) fn settle(&mut self) -> Result<usize, String> {
        self.store.set_faults(Faults::none());
        self.store.heal();
        self.log.push("the faults stop".into());
        let living = self.living();
        self.all_come_in(&living)?;
        for _ in 0..3 {
            for index in living.iter().copied() {
                self.sync_until_quiet(index)?;
            }
        }
        if self.damage.has_happened {
            self.repair_damage(&living)?;
            for index in living.iter().copied() {
                self.sync_until_quiet(index)?;
            }
        }
        let newcomer = self.newcomer()?;
        self.sync_until_quiet(newcomer)?;
        // A newcomer may be the first to tell of a rotation that nobody finished: whoever has the older key comes in again.
        for index in living.iter().copied().chain([newcomer]) {
            self.sync_until_quiet(index)?;
        }
        self.check_keys(&living)?;
        self.check_same(&living, newcomer)?;
        self.check_promises(newcomer)?;
        self.check_quiet(&living)?;
        self.check_erasure(&living)?;
        self.check_oblivion(&living, newcomer)?;
        Ok(self.machines[newcomer].replica.content().0.len())
    }

    fn sync_until_quiet(&mut self, index: usize) -> Result<(), String> {
        for attempt in 0..ATTEMPTS_MAX {
            let mode = if attempt > 0 {
                PullMode::Force
            } else {
                PullMode::New
            };
            let returned = self.ways.returns;
            let pulled = self.together(vec![(index, Act::Pull(mode))])?;
            let before = self.conflicts;
            let pushed = self.together(vec![(index, Act::Push(PushMode::Pending))])?;
            match (pulled, pushed) {
                (true, true) => return Ok(()),
                _ if self.ways.returns > returned => {}
                _ if self.machines[index].is_locked_out => {
                    let act = self.come_in();
                    self.perform(index, act)?;
                }
                (_, false) if self.conflicts > before => {}
                _ => return Err(format!("machine {index} cannot sync on a healthy store")),
            }
        }
        Err(format!("machine {index} never gets out of its conflict"))
    }

    /// A device that comes into the vault with a passphrase.
    fn newcomer(&mut self) -> Result<usize, String> {
        let keys = self.newest_keys().ok_or("nothing opens the vault")?;
        Ok(self.join(SimReplica::default(), Keys::new(keys)))
    }

    /// Opens an object with the keys of whoever can.
    fn open(&self, key: &str, object: &[u8]) -> Result<Vec<u8>, String> {
        let opened = self.machines.iter();
        let mut opened = opened.map(|machine| vault::open(&machine.keys.kept, key, object));
        let first = opened.next().ok_or("no machines")?;
        let opened = first.or_else(|error| opened.find_map(Result::ok).ok_or(error));
        opened.map_err(|error| format!("{key}: {}", error.detail))
    }

    fn check_same(&self, living: &[usize], newcomer: usize) -> Result<(), String> {
        let (kept, forgotten) = self.machines[newcomer].replica.content();
        for index in living {
            let (their_kept, their_forgotten) = self.machines[*index].replica.content();
            if their_kept != kept {
                let missing = their_kept.keys().find(|id| !kept.contains_key(id));
                let extra = kept.keys().find(|id| !their_kept.contains_key(id));
                let places = missing
                    .or(extra)
                    .map(|id| self.places(*id))
                    .unwrap_or_default();
                return Err(format!(
                    "a newcomer and machine {index} differ: the newcomer lacks {missing:?}, the machine lacks {extra:?}\n  {places}"
                ));
            }
            if their_forgotten != forgotten {
                return Err(format!(
                    "a newcomer and machine {index} differ in what was forgotten"
                ));
            }
        }
        Ok(())
    }

    /// Where a record is: in which databases, in which objects.
    fn places(&self, id: RecordId) -> String {
        let all = || 0..self.machines.len();
        let content = |index: &usize| self.machines[*index].replica.content();
        let machines: Vec<usize> = all()
            .filter(|index| content(index).0.contains_key(&id))
            .collect();
        let gone: Vec<usize> = all()
            .filter(|index| content(index).1.contains(&id))
            .collect();
        let mut keys = vec![];
        for (key, object) in self.store.objects() {
            let records = self.open(&key, &object).ok();
            let records = records.and_then(|plaintext| SimReplica::decode(&plaintext).ok());
            let is_it = |record: &SimRecord| matches!(record, SimRecord::Put(put, _) if *put == id);
            if records.is_some_and(|records| records.iter().any(is_it)) {
                keys.push(key);
            }
        }
        let own: Vec<String> = all()
            .map(|index| format!("{:?}", self.own(index)))
            .collect();
        format!(
            "{id} is in the databases of {machines:?}, forgotten in {gone:?}, in the objects {keys:#?}\n  {}",
            own.join("\n  ")
        )
    }

    fn check_promises(&self, newcomer: usize) -> Result<(), String> {
        let (kept, forgotten) = self.machines[newcomer].replica.content();
        for (id, value) in &self.acknowledged {
            match kept.get(id) {
                Some(found) if found == value => {}
                Some(found) => return Err(format!("{id} became {found}, was {value}")),
                None if forgotten.contains(id) => {}
                None => {
                    let places = self.places(*id);
                    return Err(format!("{id} was acknowledged and is lost\n  {places}"));
                }
            }
        }
        match kept.keys().find(|id| forgotten.contains(id)) {
            Some(id) => Err(format!("{id} was forgotten and is back")),
            None => Ok(()),
        }
    }

    /// Nothing to do costs one request, unless there is something that a person has to look at; and one more while nobody has published
    /// anything: then nothing but `vault.json` shows that this is the place.
    fn check_quiet(&mut self, living: &[usize]) -> Result<(), String> {
        let mut keys = self.store.objects().into_keys();
        let is_empty = !keys.any(|key| key.starts_with("manifests/") && !key.contains("/epoch-"));
        let expected = 1 + u64::from(is_empty);
        for index in living {
            self.perform(*index, Act::Pull(PullMode::New))?;
            let before = self.machines[*index].store.operations();
            self.perform(*index, Act::Pull(PullMode::New))?;
            let cost = self.machines[*index].store.operations() - before;
            // What could not be read is asked for again: it may have arrived.
            if cost != expected && self.problems(*index).is_empty() {
                return Err(format!(
                    "an idle pull of machine {index} cost {cost} operations"
                ));
            }
        }
        Ok(())
    }

    fn problems(&self, index: usize) -> Vec<vault::Problem> {
        let vault = self.machines[index].keys.kept.vault();
        let key = vault::StateKeys::new(vault).quarantine();
        let bytes = self.machines[index].replica.load(&key).ok().flatten();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Once the grace periods are over, no object that a device which still works wrote, under whatever identity, holds what was
    /// forgotten; and nothing else went with it.
    fn check_oblivion(&mut self, living: &[usize], newcomer: usize) -> Result<(), String> {
        for _ in 0..STORMS {
            self.storm(&[living, &[newcomer]].concat())?;
        }
        self.store.heal();
        self.log.push("the grace periods pass".into());
        for _ in 0..SEASONS {
            for index in living.iter().copied().chain([newcomer]) {
                let clock = &self.machines[index].clock;
                clock.fetch_add(2 * super::GRACE_MS, super::Ordering::Relaxed);
                self.sync_until_quiet(index)?;
            }
        }
        let last = self.newcomer()?;
        self.sync_until_quiet(last)?;
        self.check_keys(living)?;
        self.check_same(living, last)?;
        self.check_promises(last)?;
        let forgotten = self.machines[last].replica.content().1;
        let identities = self.identities(living);
        for (key, object) in self.store.objects() {
            let Some((place, _)) = vault::Place::parse(&key) else {
                continue;
            };
            let is_excused = self.damage.lines.contains(&place.node);
            if place.kind != vault::ObjectKind::Segment
                || !identities.contains(&place.node)
                || is_excused
            {
                continue;
            }
            let plaintext = self.open(&key, &object)?;
            for record in SimReplica::decode(&plaintext).map_err(|error| error.to_string())? {
                if let SimRecord::Put(id, _) = record
                    && forgotten.contains(&id)
                {
                    let line = format!("/{}/", place.node);
                    let all = self.store.objects().into_keys();
                    let line: Vec<_> = all.filter(|key| key.contains(&line)).collect();
                    return Err(format!(
                        "{id} was forgotten and is still in {key}\n  of {line:#?}\n  {}",
                        self.places(id)
                    ));
                }
            }
        }
        Ok(())
    }

    /// A grace period passes; then everybody is at work at once on a store with faults.
    fn storm(&mut self, machines: &[usize]) -> Result<(), String> {
        let faults = match self.rng.below(4) {
            0 => Faults::mild(),
            1 => Faults::harsh(),
            _ => Faults::synced_folder(),
        };
        self.log.push("a grace period passes, and a storm".into());
        self.store.set_faults(faults);
        for index in machines.iter().copied() {
            let clock = &self.machines[index].clock;
            clock.fetch_add(2 * super::GRACE_MS, super::Ordering::Relaxed);
            match self.rng.below(4) {
                0 | 1 => self.import(index),
                2 => self.forget(index),
                _ => {}
            }
        }
        for _ in 0..2 {
            let mut acts = vec![];
            for index in machines.iter().copied() {
                let pulls = self.rng.chance(400);
                let pull = Act::Pull(PullMode::New);
                let push = Act::Push(PushMode::Pending);
                acts.push((index, if pulls { pull } else { push }));
            }
            self.crowds += 1;
            self.together(acts)?;
        }
        self.store.set_faults(Faults::none());
        self.store.advance(DELIVERED_TICKS);
        Ok(())
    }

    /// All identities that these machines have, had, or took over.
    fn identities(&self, machines: &[usize]) -> BTreeSet<NodeId> {
        machines
            .iter()
            .filter_map(|index| self.own(*index))
            .flat_map(|own| {
                let taken = own.removed.into_iter();
                let gone = taken.filter(|(node, takeover)| self.is_all_of(*node, takeover));
                let gone: Vec<NodeId> = gone.map(|(node, _)| node).collect();
                gone.into_iter().chain(own.earlier).chain([own.node])
            })
            .collect()
    }

    /// Whether nothing was written to a line after a takeover: else a device came back, and was lost again.
    fn is_all_of(&self, node: NodeId, takeover: &vault::Takeover) -> bool {
        let prefix = format!("manifests/{node}/");
        let objects = self.store.objects();
        let mut refs = objects.keys().filter_map(|key| {
            let (place, hash) = key
                .starts_with(&prefix)
                .then(|| vault::Place::parse(key))??;
            Some((place.first, hash))
        });
        let at = takeover.at;
        refs.all(|(number, hash)| {
            number < at.sequence
                || (number == at.sequence && (hash == at.hash || takeover.twins.contains(&hash)))
        })
    }

    /// What was forgotten is in no live segment of a device that still works.
    fn check_erasure(&mut self, living: &[usize]) -> Result<(), String> {
        let forgotten = self.machines[living[0]].replica.content().1;
        let objects = self.store.objects();
        for other in living {
            let Some(own) = self.own(*other) else {
                continue;
            };
            for segment in &own.live {
                let key = segment.entry.key(own.node);
                let object = objects
                    .get(&key)
                    .ok_or_else(|| format!("{key} of machine {other} is gone"))?;
                let plaintext = self.open(&key, object)?;
                for record in SimReplica::decode(&plaintext).map_err(|error| error.to_string())? {
                    if let SimRecord::Put(id, _) = record
                        && forgotten.contains(&id)
                    {
                        return Err(format!(
                            "{id} was forgotten and is still in {key}, a live segment of machine {other}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
