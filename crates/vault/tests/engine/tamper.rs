//! Tampering: every byte of every object flipped, every object cut at every length, any two swapped, each put back to an older state,
//! each deleted. What was done is named, everything else stays readable, nothing panics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use store::Store;
use testkit::{Faults, FaultyStore};
use vault::{ObjectKind, Place, Problem, ProblemKind, Replica, Vault, VaultError};

use crate::desk::{Desk, keys, perfect_store, wait};
use crate::replica::{SimRecord, SimReplica};

type Objects = BTreeMap<String, Bytes>;

/// A small vault of two devices, with merged, rewritten and older objects in it.
struct Room {
    objects: Objects,
    /// The device that published the most.
    one: Desk,
    /// A device that has seen everything.
    two: Desk,
    /// What every live segment holds, by its key.
    records: BTreeMap<String, BTreeSet<u64>>,
    /// The newest manifest of each line.
    newest: BTreeSet<String>,
}

fn room() -> Room {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    wait(async {
        one.add(0..6);
        one.push().await?;
        two.add(20..24);
        two.pull().await?;
        two.push().await?;
        one.pull().await?;
        one.add(6..10);
        one.forget(2);
        one.push().await?;
        two.pull().await
    })
    .expect("a perfect store");
    let objects = store.objects();
    let live = |desk: &Desk| {
        let own = desk.own();
        own.live
            .iter()
            .map(|segment| segment.entry.key(own.node))
            .collect::<Vec<_>>()
    };
    let mut records = BTreeMap::new();
    for key in live(&one).into_iter().chain(live(&two)) {
        let plaintext = vault::open(&keys(), &key, &objects[&key]).expect("opens");
        let puts = SimReplica::decode(&plaintext)
            .expect("decodes")
            .into_iter()
            .filter_map(|record| match record {
                SimRecord::Put(_, value) => Some(value),
                SimRecord::Forget(_) => None,
            });
        records.insert(key, puts.collect());
    }
    let newest = [&one, &two].map(|desk| {
        let own = desk.own();
        own.newest.expect("published").key(own.node)
    });
    Room {
        objects,
        one,
        two,
        records,
        newest: newest.into(),
    }
}

impl Room {
    /// The same devices over other objects.
    fn store(&self, objects: &Objects) -> FaultyStore {
        let store = FaultyStore::new(1, Faults::none());
        for (key, object) in objects {
            store.put_raw(key, object.clone());
        }
        store
    }

    fn again(desk: &Desk, store: &FaultyStore) -> Desk {
        let mut desk = desk.clone();
        desk.vault = Vault::new(
            Store::from_object_store(Arc::new(store.for_device(7)), ""),
            keys(),
        );
        desk
    }

    fn with(&self, changes: &[(&String, Option<Bytes>)]) -> Objects {
        let mut objects = self.objects.clone();
        for (key, bytes) in changes {
            match bytes {
                Some(bytes) => objects.insert((*key).clone(), bytes.clone()),
                None => objects.remove(*key),
            };
        }
        objects
    }

    /// After `touched` were changed: each is named by a verification, and by whoever needs it; nothing else is lost.
    fn expect(&self, objects: &Objects, touched: &[&String], what: &str) {
        let store = self.store(objects);
        let mut old = Self::again(&self.two, &store);
        let before = old.kept();
        let pulled = wait(old.pull()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(old.kept(), before, "{what}: {:?}", pulled.problems);

        let verified = wait(Self::again(&self.two, &store).verify());
        match verified {
            Ok(report) => {
                for key in touched.iter().copied() {
                    assert!(
                        self.is_named(key, objects, touched, &report.problems),
                        "{what}: verification does not name {key}: {:?}",
                        report.problems
                    );
                }
            }
            Err(error) => {
                assert!(
                    touched.iter().any(|key| *key == "vault.json"),
                    "{what}: {error}"
                );
                assert!(
                    error.to_string().contains("vault") || error.to_string().contains("newer"),
                    "{what}: {error}"
                );
            }
        }

        let mut fresh = Desk::at(9, &store);
        let report = wait(fresh.pull()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut unreadable = BTreeSet::new();
        for key in touched
            .iter()
            .copied()
            .filter(|key| self.records.contains_key(*key) || self.newest.contains(*key))
        {
            let named = report.problems.iter().any(|problem| problem.key == *key);
            let gone = !objects.contains_key(key) && self.newest.contains(key);
            assert!(
                named || gone || self.lost_with_manifest(key, touched),
                "{what}: a newcomer's pull does not name {key}: {:?}",
                report.problems
            );
            unreadable.extend(self.holds(key));
        }
        for record in self.two.kept() {
            assert!(
                unreadable.contains(&record) || fresh.kept().contains(&record),
                "{what}: record {record} is not readable any more"
            );
        }
        // Where the manifest that speaks of the forgetting cannot be read, an older one speaks for that device; that is named.
        let forgetter = self.one.own();
        let forgetting = forgetter.newest.expect("published").key(forgetter.node);
        let forgetting_unreadable = touched.contains(&&forgetting);
        assert!(
            forgetting_unreadable || !fresh.kept().contains(&2),
            "{what}: a forgotten record is back"
        );
    }

    /// Whether a verification names what was done to `key`, as gravely as it is: damage to what somebody needs is a failure; damage to
    /// what no newest manifest names is a remark under that object's name, since the vault is whole without it. What nobody needs
    /// may be absent.
    fn is_named(
        &self,
        key: &String,
        objects: &Objects,
        touched: &[&String],
        problems: &[Problem],
    ) -> bool {
        let is_there = objects.contains_key(key);
        let is_it =
            |named: &String| named == key || (!is_there && key.starts_with(&format!("{named}/")));
        let is_needed = key == "vault.json"
            || self.newest.contains(key)
            || (self.records.contains_key(key) && !self.lost_with_manifest(key, touched));
        if !is_needed && !is_there {
            return true;
        }
        problems.iter().any(|problem| {
            let is_remark =
                problem.kind == ProblemKind::Orphan && problem.detail.starts_with("damaged");
            is_it(&problem.key) && (problem.kind.is_serious() || (!is_needed && is_remark))
        })
    }

    /// What cannot be reached without this object.
    fn holds(&self, key: &str) -> BTreeSet<u64> {
        if let Some(records) = self.records.get(key) {
            return records.clone();
        }
        let node = Place::parse(key).expect("one of ours").0.node;
        let of_node =
            |segment: &&String| Place::parse(segment).expect("one of ours").0.node == node;
        self.records
            .keys()
            .filter(of_node)
            .flat_map(|segment| self.records[segment].clone())
            .collect()
    }

    /// Whether a segment is not asked for because its manifest was touched as well.
    fn lost_with_manifest(&self, key: &str, touched: &[&String]) -> bool {
        let node = |key: &str| Place::parse(key).map(|(place, _)| place.node);
        touched
            .iter()
            .any(|other| self.newest.contains(*other) && node(other) == node(key))
    }
}

#[test]
fn every_byte_flipped_is_found() {
    let room = room();
    for (key, object) in &room.objects {
        for place in 0..object.len() {
            let mut bytes = object.to_vec();
            // Another bit at every place; all eight of each byte of the small objects would only take longer.
            bytes[place] ^= 1 << (place % 8);
            let objects = room.with(&[(key, Some(bytes.into()))]);
            room.expect(&objects, &[key], &format!("byte {place} of {key}"));
        }
    }
}

#[test]
fn every_cut_is_found() {
    let room = room();
    for (key, object) in &room.objects {
        for length in 0..object.len() {
            // The file ends in a newline that says nothing.
            if key == "vault.json" && length + 1 == object.len() {
                continue;
            }
            let objects = room.with(&[(key, Some(object.slice(..length)))]);
            room.expect(&objects, &[key], &format!("{length} bytes of {key}"));
        }
        let longer = [&object[..], b"x"].concat();
        room.expect(
            &room.with(&[(key, Some(longer.into()))]),
            &[key],
            &format!("one byte more of {key}"),
        );
    }
}

#[test]
fn any_two_swapped_are_found() {
    let room = room();
    for (one, first) in &room.objects {
        for (other, second) in room.objects.range(one.clone()..).skip(1) {
            let objects = room.with(&[(one, Some(second.clone())), (other, Some(first.clone()))]);
            room.expect(
                &objects,
                &[one, other],
                &format!("{one} and {other} swapped"),
            );
        }
    }
}

#[test]
fn each_deleted_is_found() {
    let room = room();
    for key in room.objects.keys().filter(|key| *key != "vault.json") {
        room.expect(
            &room.with(&[(key, None)]),
            &[key],
            &format!("{key} deleted"),
        );
    }
    let store = room.store(&room.with(&[(&"vault.json".to_owned(), None)]));
    let error = wait(Room::again(&room.two, &store).verify()).expect_err("there is none");
    assert!(matches!(error, VaultError::NoVaultFile(_)), "{error}");
}

#[test]
fn an_object_under_another_name_is_found() {
    // An object renamed to a place of its own kind, with the hash of its bytes: only the header gives it away.
    let room = room();
    for (key, object) in room.objects.iter().filter(|(key, _)| *key != "vault.json") {
        let (place, hash) = Place::parse(key).expect("one of ours");
        for moved in [
            Place {
                first: place.first + 1,
                ..place
            },
            Place {
                node: vault::NodeId([7; 16]),
                ..place
            },
        ] {
            let name = moved.key(hash);
            let error = vault::open(&keys(), &name, object).expect_err("it is not from there");
            assert_eq!(error.kind, ProblemKind::Corrupt, "{name}");
        }
        assert!(matches!(
            place.kind,
            ObjectKind::Segment | ObjectKind::Manifest
        ));
    }
}

#[test]
fn an_older_state_put_back_is_found() {
    let store = perfect_store();
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    one.add(0..5);
    wait(one.push()).expect("a perfect store");
    let before = store.objects();
    one.add(5..9);
    wait(one.push()).expect("a perfect store");
    wait(two.pull()).expect("a perfect store");
    for key in store
        .objects()
        .keys()
        .filter(|key| !before.contains_key(*key))
    {
        store.remove_raw(key);
    }
    let line = format!("manifests/{}", one.own().node);
    let regressed = |report: &vault::PullReport| {
        report
            .problems
            .iter()
            .any(|problem| problem.kind == ProblemKind::Regression && problem.key == line)
    };
    for desk in [&mut one, &mut two] {
        let kept = desk.kept();
        let report = wait(desk.pull()).expect("readable");
        assert!(regressed(&report), "{:?}", report.problems);
        assert_eq!(desk.kept(), kept);
    }
    let error = wait(one.push()).expect_err("somebody has to decide");
    assert!(error.to_string().contains("regression"), "{error}");
    // Whoever accepts it publishes what only the lost part held; so nothing is lost even without its author.
    wait(two.pull_as(vault::PullMode::Force)).expect("accepted");
    wait(two.push()).expect("publishes the rest");
    let mut newcomer = Desk::at(3, &store);
    wait(newcomer.pull()).expect("readable");
    assert_eq!(newcomer.kept(), (0..9).collect());
}

#[test]
fn an_older_vault_file_put_back_is_found() {
    let room = room();
    let store = room.store(&room.objects);
    let mut desk = Room::again(&room.one, &store);
    let secret = vault::Secret::Passphrase("another".into());
    let file = wait(desk.vault.check_file()).expect("sound");
    let newer = file
        .with_slot(&keys(), &secret, vault::KdfCost::CHEAP_FOR_TESTS)
        .expect("builds");
    wait(desk.vault.write_file(&newer)).expect("a perfect store");
    assert!(wait(desk.verify()).expect("sound").is_sound());
    store.put_raw("vault.json", file.to_bytes());
    let report = wait(desk.verify()).expect("readable");
    let named = report
        .problems
        .iter()
        .any(|problem| problem.key == "vault.json" && problem.kind == ProblemKind::Regression);
    assert!(named, "{:?}", report.problems);
}

#[test]
fn another_vaults_objects_are_named_and_ignored() {
    let (store, strangers) = (perfect_store(), FaultyStore::new(2, Faults::none()));
    let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
    one.add(0..5);
    wait(one.push()).expect("a perfect store");
    let inner = Store::from_object_store(Arc::new(strangers.clone()), "");
    let other_keys = vault::Keyring::generate();
    strangers.put_raw(
        "vault.json",
        crate::desk::vault_file(&other_keys).to_bytes(),
    );
    let mut stranger = Desk::with_keys(5, inner, other_keys);
    stranger.add(50..55);
    wait(stranger.push()).expect("a perfect store");
    for (key, object) in strangers
        .objects()
        .into_iter()
        .filter(|(key, _)| key != "vault.json")
    {
        store.put_raw(&key, object);
    }
    let report = wait(two.pull()).expect("readable");
    assert_eq!(two.kept(), (0..5).collect());
    assert!(
        report
            .problems
            .iter()
            .all(|problem| problem.kind == ProblemKind::OtherVault),
        "{:?}",
        report.problems
    );
    assert!(!report.problems.is_empty());
}
