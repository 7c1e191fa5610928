//! The simulated world: several devices on one faulty store, everything decided by a seed.
//!
//! What must hold: one seed is one run, step by step; once the faults stop, every device has the same records, nothing that a push
//! acknowledged is missing, nothing forgotten is back, and a device that joins then sees it all.
//! What it deliberately does not do: wall clocks, threads, real randomness.

pub(crate) mod replica;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use futures::FutureExt;
use store::Store;
use testkit::{Faults, FaultyStore, Rng};
use vault::{Device, KdfCost, Keyring, NodeId, Options, PullMode, PushMode, RecordId, Replica, ResetMode, Secret, Vault, VaultError, VaultFile};

use replica::{SimRecord, SimReplica};

const GRACE_MS: i64 = 7 * 24 * 3600 * 1000;

/// What a run showed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Store operations.
    pub operations: u64,
    /// Records that survived.
    pub records: usize,
    /// A digest of every store operation.
    pub digest: u64,
    /// How often a device had to give its identity up.
    pub conflicts: u64,
    /// How often a device died in the middle of something.
    pub crashes: u64,
}

struct Machine {
    store: FaultyStore,
    vault: Vault,
    replica: SimReplica,
    options: Options,
    clock: Arc<AtomicI64>,
    alive: bool,
}

/// All devices and what they were promised.
pub(crate) struct World {
    rng: Rng,
    store: FaultyStore,
    keys: Keyring,
    nodes: Arc<AtomicU64>,
    machines: Vec<Machine>,
    acknowledged: BTreeMap<RecordId, u64>,
    forgotten: BTreeSet<RecordId>,
    born: Vec<(RecordId, u64)>,
    conflicts: u64,
    crashes: u64,
    log: Vec<String>,
}

/// Runs one seed.
///
/// # Errors
/// What was promised and not kept, with the steps that led there.
pub(crate) fn run(seed: u64) -> Result<Outcome, String> {
    let mut world = World::new(seed);
    let verdict = world.play().and_then(|()| world.settle());
    match verdict {
        Ok(records) => Ok(Outcome {
            operations: world.machines.iter().map(|machine| machine.store.operations()).sum(),
            records,
            digest: world.store.trace_digest(),
            conflicts: world.conflicts,
            crashes: world.crashes,
        }),
        Err(broken) => Err(format!("seed {seed}: {broken}\nsteps:\n  {}", world.log.join("\n  "))),
    }
}

/// A future over the simulated store never waits: it is done at the first poll.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the simulated store answers at once")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let faults = match rng.below(4) {
            0 => Faults::none(),
            1 => Faults::mild(),
            2 => Faults::harsh(),
            _ => Faults::synced_folder(),
        };
        let store = FaultyStore::new(rng.next_u64(), faults);
        let text = format!(r#"{{"vault":"{:032x}","keys":["{:064x}"]}}"#, u128::from(seed) + 1, u128::from(seed) + 7);
        let keys = Keyring::from_secret_json(&text).expect("well formed");
        let secret = Secret::Passphrase("simulated".into());
        let file = VaultFile::build(&keys, "sim", 1, &[&secret], KdfCost::CHEAP_FOR_TESTS).expect("builds");
        store.put_raw("vault.json", file.to_bytes());
        let mut world = Self {
            rng,
            store,
            keys,
            nodes: Arc::new(AtomicU64::new(1)),
            machines: vec![],
            acknowledged: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            born: vec![],
            conflicts: 0,
            crashes: 0,
            log: vec![],
        };
        for _ in 0..2 + world.rng.below(7) {
            world.join(SimReplica::default());
        }
        world
    }

    fn join(&mut self, replica: SimReplica) -> usize {
        let index = self.machines.len();
        let store = self.store.for_device(index);
        let skew_ms = self.rng.below(20 * 365 * 24 * 3600 * 1000) as i64 - 10 * 365 * 24 * 3600 * 1000;
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000 + skew_ms));
        let nodes = Arc::clone(&self.nodes);
        let time = Arc::clone(&clock);
        let options = Options {
            node_name: format!("machine {index}"),
            segment_raw_bytes_max: 25 * (1 + self.rng.below(40) as usize),
            segment_records_max: 1 + self.rng.below(40) as usize,
            batch_records: 1 + self.rng.below(20) as usize,
            uploads: 1 + self.rng.below(4) as usize,
            downloads: 1 + self.rng.below(4) as usize,
            memory_bytes_max: 1 << 20,
            compression: self.rng.chance(500).then_some(1),
            grace_ms: GRACE_MS,
            now_ms: Arc::new(move || time.load(Ordering::Relaxed)),
            new_node: Arc::new(move || NodeId(u128::from(nodes.fetch_add(1, Ordering::Relaxed)).to_be_bytes())),
        };
        let vault = Vault::new(Store::from_object_store(Arc::new(store.clone()), ""), self.keys.clone());
        self.machines.push(Machine { store, vault, replica, options, clock, alive: true });
        index
    }

    fn play(&mut self) -> Result<(), String> {
        let steps = 20 + self.rng.below(100);
        for _ in 0..steps {
            let living: Vec<usize> = (0..self.machines.len()).filter(|index| self.machines[*index].alive).collect();
            let index = living[self.rng.index(living.len())];
            self.tick(index);
            self.step(index, living.len())?;
        }
        Ok(())
    }

    fn tick(&mut self, index: usize) {
        let elapsed_ms = match self.rng.below(10) {
            0 => self.rng.below(200 * 24 * 3600 * 1000) as i64,
            1 => -(self.rng.below(24 * 3600 * 1000) as i64),
            _ => self.rng.below(3600 * 1000) as i64,
        };
        self.machines[index].clock.fetch_add(elapsed_ms, Ordering::Relaxed);
        let ticks = self.rng.below(20);
        self.store.advance(ticks);
    }

    fn step(&mut self, index: usize, living: usize) -> Result<(), String> {
        if self.rng.chance(150) {
            let left = self.rng.below(12);
            if self.rng.chance(500) {
                self.machines[index].store.crash_after(left);
            } else {
                self.machines[index].replica.fuse = Some(left);
            }
        }
        match self.rng.below(100) {
            0..25 => self.import(index),
            25..32 => self.forget(index),
            32..60 => self.push(index)?,
            60..88 => self.pull(index, PullMode::New)?,
            88..90 => self.pull(index, PullMode::Full)?,
            90..92 => self.reset(index),
            92..94 => self.maintain(index)?,
            94..96 if self.machines.len() < 10 => self.clone_machine(index),
            96..97 if living > 2 => self.die(index),
            97..98 => self.full_push(index)?,
            _ => self.import(index),
        }
        self.restart(index);
        self.watch();
        Ok(())
    }

    /// TEMPORARY
    fn watch(&mut self) {
        let Ok(text) = std::env::var("WATCH") else { return };
        let id: RecordId = text.parse().unwrap();
        let Some((_, value)) = self.born.iter().find(|(born, _)| *born == id).copied() else { return };
        let objects = self.store.objects();
        let mut newest: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
        for (key, object) in &objects {
            if key.starts_with("manifests/") {
                let m: vault::Manifest = serde_json::from_slice(&vault::open(&self.keys, key, object).unwrap()).unwrap();
                let node = key.split('/').nth(1).unwrap().to_owned();
                newest.insert(node.clone(), (key.clone(), m.segments.iter().map(|s| s.key(node.parse().unwrap())).collect()));
            }
        }
        let mut line = String::new();
        for (key, object) in &objects {
            if key.starts_with("objects/") {
                let records = SimReplica::decode(&vault::open(&self.keys, key, object).unwrap()).unwrap();
                if records.contains(&SimRecord::Put(id, value)) {
                    let live = newest.values().any(|(_, keys)| keys.contains(key));
                    line += &format!(" {}{}", &key[46..62], if live {"*"} else {""}); line += &key[key.len()-5..];
                }
            }
        }
        line += " |";
        for (i, m) in self.machines.iter().enumerate() {
            if let Some((n, l)) = m.replica.row(id) { line += &format!(" {i}:{n}{}", if l {"L"} else {""}); }
        }
        if self.log.iter().rev().find(|l| l.starts_with("   WATCH")).map(|l| &l[9..]) != Some(&line) { self.log.push(format!("   WATCH {line}")); }
    }

    fn restart(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        if machine.store.is_crashed() || machine.replica.fuse == Some(0) {
            self.crashes += 1;
            self.log.push(format!("{index} died and restarts"));
        }
        let machine = &mut self.machines[index];
        machine.store.revive();
        machine.replica.fuse = None;
    }

    fn import(&mut self, index: usize) {
        let count = if self.rng.chance(100) { 1 + self.rng.below(150) } else { 1 + self.rng.below(6) };
        self.log.push(format!("{index} imports {count}"));
        for _ in 0..count {
            // Some records are the same on several machines, as an imported file's are.
            let (id, value) = if !self.born.is_empty() && self.rng.chance(100) {
                self.born[self.rng.index(self.born.len())]
            } else {
                let mut id = [0; 16];
                self.rng.fill(&mut id);
                (RecordId(id), self.rng.next_u64() >> 1)
            };
            if self.machines[index].replica.add(SimRecord::Put(id, value)).is_ok() {
                self.born.push((id, value));
            }
        }
    }

    fn forget(&mut self, index: usize) {
        let (kept, _) = self.machines[index].replica.content();
        if kept.is_empty() {
            return;
        }
        let nth = self.rng.index(kept.len());
        let id = *kept.keys().nth(nth).expect("counted");
        self.log.push(format!("{index} forgets {id}"));
        if self.machines[index].replica.add(SimRecord::Forget(id)).is_ok() {
            self.forgotten.insert(id);
        }
    }

    fn device<T>(&mut self, index: usize, work: impl AsyncFnOnce(&mut Device<'_, SimReplica>) -> Result<T, VaultError>) -> Result<T, VaultError> {
        let machine = &mut self.machines[index];
        let mut silent = ();
        let mut device = Device::new(&machine.vault, &mut machine.replica, &machine.options, &mut silent);
        now(work(&mut device))
    }

    fn push(&mut self, index: usize) -> Result<(), String> {
        let (held, _) = self.machines[index].replica.content();
        let outcome = self.device(index, async |device| device.push(PushMode::Pending).await);
        self.log.push(format!("{index} pushes: {}", brief(&outcome)));
        match outcome {
            Ok(_) => self.acknowledged.extend(held),
            Err(error) if error.is_conflict() && self.rng.chance(500) => {
                self.conflicts += 1;
                if self.rng.chance(500) {
                    self.pull(index, PullMode::Force)?;
                } else {
                    let outcome = self.device(index, async |device| device.push(PushMode::Force).await);
                    self.log.push(format!("{index} pushes by force: {}", brief(&outcome)));
                    if outcome.is_ok() {
                        self.acknowledged.extend(held);
                    }
                }
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn full_push(&mut self, index: usize) -> Result<(), String> {
        let outcome = self.device(index, async |device| device.push(PushMode::Full).await);
        self.log.push(format!("{index} pushes everything: {}", brief(&outcome)));
        Ok(())
    }

    fn pull(&mut self, index: usize, mode: PullMode) -> Result<(), String> {
        let (before, _) = self.machines[index].replica.content();
        let outcome = self.device(index, async |device| device.pull(mode).await);
        self.log.push(format!("{index} pulls ({mode:?}): {}", brief(&outcome)));
        let (after, gone) = self.machines[index].replica.content();
        match before.keys().find(|id| !after.contains_key(id) && !gone.contains(id)) {
            Some(lost) => Err(format!("a pull lost {lost}")),
            None => Ok(()),
        }
    }

    fn reset(&mut self, index: usize) {
        let mode = if self.rng.chance(500) { ResetMode::LocalOnly } else { ResetMode::NewIdentity };
        let machine = &mut self.machines[index];
        let mut silent = ();
        let outcome = Device::new(&machine.vault, &mut machine.replica, &machine.options, &mut silent).reset(mode);
        self.log.push(format!("{index} resets ({mode:?}): {}", brief(&outcome)));
    }

    fn maintain(&mut self, index: usize) -> Result<(), String> {
        if self.rng.chance(600) {
            let outcome = self.device(index, async |device| device.repair().await);
            self.log.push(format!("{index} repairs: {}", brief(&outcome)));
            return Ok(());
        }
        let dead: Vec<usize> = (0..self.machines.len()).filter(|other| !self.machines[*other].alive).collect();
        if dead.is_empty() {
            return Ok(());
        }
        let other = dead[self.rng.index(dead.len())];
        let keys = vault::StateKeys::new(self.keys.vault());
        let Some(own) = self.machines[other].replica.load(&keys.own()).ok().flatten() else { return Ok(()) };
        let own: vault::OwnState = serde_json::from_slice(&own).map_err(|error| error.to_string())?;
        let outcome = self.device(index, async |device| device.remove_device(own.node).await);
        self.log.push(format!("{index} removes {other} ({}): {}", own.node, brief(&outcome)));
        Ok(())
    }

    fn clone_machine(&mut self, index: usize) {
        let mut copy = self.machines[index].replica.clone();
        copy.fuse = None;
        let clone = self.join(copy);
        self.log.push(format!("{clone} is made from a copy of {index}"));
    }

    fn die(&mut self, index: usize) {
        self.log.push(format!("{index} is lost for ever"));
        self.machines[index].alive = false;
    }

    /// The faults stop; everybody syncs until nothing changes; then the promises are checked.
    fn settle(&mut self) -> Result<usize, String> {
        self.store.set_faults(Faults::none());
        self.store.heal();
        self.log.push("the faults stop".into());
        let living: Vec<usize> = (0..self.machines.len()).filter(|index| self.machines[*index].alive).collect();
        for _ in 0..3 {
            for index in living.iter().copied() {
                self.sync_until_quiet(index)?;
            }
        }
        let newcomer = self.join(SimReplica::default());
        self.sync_until_quiet(newcomer)?;
        self.check_same(&living, newcomer)?;
        self.check_promises(newcomer)?;
        self.check_quiet(&living)?;
        self.check_erasure(&living)?;
        Ok(self.machines[newcomer].replica.content().0.len())
    }

    fn sync_until_quiet(&mut self, index: usize) -> Result<(), String> {
        for attempt in 0..6 {
            let pulled = self.device(index, async |device| device.pull(if attempt > 0 { PullMode::Force } else { PullMode::New }).await);
            let pushed = self.device(index, async |device| device.push(PushMode::Pending).await);
            self.log.push(format!("{index} syncs: {} / {}", brief(&pulled), brief(&pushed)));
            self.watch();
            match (pulled, pushed) {
                (Ok(_), Ok(_)) => return Ok(()),
                (_, Err(error)) if error.is_conflict() => self.conflicts += 1,
                (pulled, pushed) => return Err(format!("machine {index} cannot sync on a healthy store: {:?} {:?}", pulled.err(), pushed.err())),
            }
        }
        Err(format!("machine {index} never gets out of its conflict"))
    }

    fn check_same(&self, living: &[usize], newcomer: usize) -> Result<(), String> {
        let (kept, forgotten) = self.machines[newcomer].replica.content();
        for index in living {
            let (their_kept, their_forgotten) = self.machines[*index].replica.content();
            if their_kept != kept {
                let missing = their_kept.keys().find(|id| !kept.contains_key(id));
                let extra = kept.keys().find(|id| !their_kept.contains_key(id));
                let places = missing.map(|id| self.places(*id)).unwrap_or_default();
                return Err(format!("a newcomer and machine {index} differ: the newcomer lacks {missing:?}, the machine lacks {extra:?}\n  {places}"));
            }
            if their_forgotten != forgotten {
                return Err(format!("a newcomer and machine {index} differ in what was forgotten"));
            }
        }
        Ok(())
    }

    /// Where a record is: in which databases, in which objects.
    fn places(&self, id: RecordId) -> String {
        let holds = |machine: &Machine| machine.replica.content().0.contains_key(&id);
        let machines: Vec<usize> = (0..self.machines.len()).filter(|index| holds(&self.machines[*index])).collect();
        let objects = self.store.objects();
        let in_object = |(key, object): &(&String, &bytes::Bytes)| {
            let plaintext = vault::open(&self.keys, key, object).ok()?;
            let records = SimReplica::decode(&plaintext).ok()?;
            records.contains(&SimRecord::Put(id, *self.born.iter().find(|(born, _)| *born == id).map(|(_, value)| value)?)).then(|| (*key).clone())
        };
        let keys: Vec<String> = objects.iter().filter_map(|entry| in_object(&entry)).collect();
        let owns = self.machines.iter().map(|machine| {
            let own = machine.replica.load(&vault::StateKeys::new(self.keys.vault()).own()).ok().flatten().unwrap_or_default();
            String::from_utf8_lossy(&own).into_owned()
        });
        let own: Vec<String> = owns.collect();
        let gone: Vec<usize> = (0..self.machines.len()).filter(|index| self.machines[*index].replica.content().1.contains(&id)).collect();
        format!("in the databases of {machines:?}, forgotten in {gone:?}, in the objects {keys:#?}\n  {}", own.join("\n  "))
    }

    fn check_promises(&self, newcomer: usize) -> Result<(), String> {
        let (kept, forgotten) = self.machines[newcomer].replica.content();
        for (id, value) in &self.acknowledged {
            match kept.get(id) {
                Some(found) if found == value => {}
                Some(found) => return Err(format!("{id} became {found}, was {value}")),
                None if forgotten.contains(id) => {}
                None => return Err(format!("{id} was acknowledged and is lost")),
            }
        }
        match kept.keys().find(|id| forgotten.contains(id)) {
            Some(id) => Err(format!("{id} was forgotten and is back")),
            None => Ok(()),
        }
    }

    /// Nothing to do costs one request.
    fn check_quiet(&mut self, living: &[usize]) -> Result<(), String> {
        for index in living {
            let pull = self.device(*index, async |device| device.pull(PullMode::New).await).map_err(|error| error.to_string())?;
            let before = self.machines[*index].store.operations();
            let again = self.device(*index, async |device| device.pull(PullMode::New).await).map_err(|error| error.to_string())?;
            let cost = self.machines[*index].store.operations() - before;
            let serious = again.problems.iter().any(|problem| problem.kind.is_serious());
            if cost != 1 && !serious {
                return Err(format!("an idle pull of machine {index} cost {cost} operations, after {pull:?}"));
            }
        }
        Ok(())
    }

    /// What was forgotten is in no live segment of a device that still works.
    fn check_erasure(&mut self, living: &[usize]) -> Result<(), String> {
        let index = living[0];
        let forgotten = self.machines[index].replica.content().1;
        let keys = vault::StateKeys::new(self.keys.vault());
        for other in living {
            let Some(own) = self.machines[*other].replica.load(&keys.own()).ok().flatten() else { continue };
            let own: vault::OwnState = serde_json::from_slice(&own).map_err(|error| error.to_string())?;
            for segment in &own.live {
                let key = segment.entry.key(own.node);
                let objects = self.store.objects();
                let object = objects.get(&key).ok_or_else(|| format!("{key} of machine {other} is gone"))?;
                let plaintext = vault::open(&self.keys, &key, object).map_err(|error| error.detail)?;
                for record in SimReplica::decode(&plaintext).map_err(|error| error.to_string())? {
                    if let SimRecord::Put(id, _) = record {
                        if forgotten.contains(&id) {
                            return Err(format!("{id} was forgotten and is still in {key}, a live segment of machine {other}"));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn brief<T: std::fmt::Debug>(outcome: &Result<T, VaultError>) -> String {
    match outcome {
        Ok(report) => format!("{report:?}"),
        Err(error) => format!("failed: {error}"),
    }
}
