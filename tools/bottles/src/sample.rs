//! A sample upstream: a handful of formulae with small bottles, manifests and signed API files, all made here, and a server that
//! serves them as formulae.brew.sh and ghcr.io would.
//!
//! What must hold: it is the same in every process, byte for byte; it has one of each kind that mirrors trip over (dependencies, a name
//! with `@`, one with `+`, a revision, a rebuild, an `all` bottle, an older macOS's bottle); a registry that is asked without a token
//! answers 401, as the real one does.
//!
//! It deliberately signs with a key of its own: no real client trusts it, and none should.

mod server;

pub use server::{SampleServer, Trouble};

use crate::names;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA512, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use transfer::Digest;

/// The key that the sample's API files are signed with.
const PRIVATE_KEY: &str = include_str!("sample/private.pem");

/// The public half of it.
pub const PUBLIC_KEY: &str = include_str!("sample/public.pem");

/// What the sample's tab and files say they were made at: nothing in it depends on a clock.
const MADE_AT: u64 = 1_700_000_000;

/// One formula of a sample.
#[derive(Clone, Debug)]
pub struct SampleFormula {
    /// Its name.
    pub name: String,
    /// The stable version.
    pub version: String,
    /// The revision.
    pub revision: u64,
    /// The rebuild.
    pub rebuild: u64,
    /// The platforms it has bottles for, in the order of the API file.
    pub tags: Vec<String>,
    /// What it needs.
    pub dependencies: Vec<String>,
    /// How many bytes of filling each bottle has.
    pub filling: usize,
}

/// Everything that an upstream serves, by path.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The files of the API, by their paths below its root.
    pub api: BTreeMap<String, Vec<u8>>,
    /// Manifests and blobs, by their paths below the registry's root.
    pub registry: BTreeMap<String, Vec<u8>>,
}

/// Returns the formulae of the embedded sample.
#[must_use]
pub fn formulae() -> Vec<SampleFormula> {
    let all_tags = [
        "arm64_tahoe",
        "arm64_sequoia",
        "arm64_sonoma",
        "sonoma",
        "arm64_linux",
        "x86_64_linux",
    ];
    let make = |name: &str, version: &str, dependencies: &[&str]| SampleFormula {
        name: name.to_owned(),
        version: version.to_owned(),
        revision: 0,
        rebuild: 0,
        tags: all_tags.iter().map(|tag| (*tag).to_owned()).collect(),
        dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
        filling: 2_000,
    };
    let mut found = vec![
        make("jq", "1.7.1", &["oniguruma"]),
        make("oniguruma", "6.9.9", &[]),
        make("openssl@3", "3.3.0", &["ca-certificates"]),
        make("ca-certificates", "2024-03-11", &[]),
        make("gtk+", "2.24.33", &["jq"]),
        make("wget", "1.24.5", &["openssl@3"]),
        make("tree", "2.1.1", &[]),
    ];
    for formula in &mut found {
        match formula.name.as_str() {
            "ca-certificates" => formula.tags = vec!["all".to_owned()],
            "oniguruma" => formula.rebuild = 1,
            "gtk+" => formula.revision = 1,
            // Its newest macOS has no bottle of its own yet: clients take the older one's.
            "tree" => formula.tags.retain(|tag| tag != "arm64_tahoe"),
            _ => {}
        }
    }
    found
}

impl Sample {
    /// Makes the embedded sample.
    #[must_use]
    pub fn embedded() -> Sample {
        Sample::of(&formulae())
    }

    /// Makes the embedded sample as it is a week later: `jq` has a new version, `oniguruma` one rebuild more, the rest stays.
    #[must_use]
    pub fn a_week_later() -> Sample {
        let mut formulae = formulae();
        for formula in &mut formulae {
            match formula.name.as_str() {
                "jq" => formula.version = "1.8.0".to_owned(),
                "oniguruma" => formula.rebuild += 1,
                _ => {}
            }
        }
        Sample::of(&formulae)
    }

    /// Makes an upstream that has these formulae: manifests and blobs, `formula.jws.json`, and a packages file for each platform.
    ///
    /// # Panics
    /// If a formula's tag is no platform.
    #[must_use]
    pub fn of(formulae: &[SampleFormula]) -> Sample {
        let mut sample = Sample::default();
        let mut entries = Vec::new();
        let mut digests = BTreeMap::new();
        for formula in formulae {
            let mut files = serde_json::Map::new();
            let mut of_manifest = Vec::new();
            for tag in &formula.tags {
                let bottle = bottle(formula, tag);
                let sha256 = Digest::of(&bottle).to_string();
                files.insert(tag.clone(), file_entry(&formula.name, &sha256));
                of_manifest.push(manifest_entry(formula, tag, &sha256, bottle.len()));
                let key = names::blob_key(&formula.name, &sha256);
                digests.insert((formula.name.clone(), tag.clone()), sha256);
                sample.registry.insert(key, bottle);
            }
            let index = json!({"schemaVersion": 2, "manifests": of_manifest});
            let tag = names::manifest_tag(&formula.package_version(), formula.rebuild);
            let key = names::manifest_key(&formula.name, &tag);
            sample.registry.insert(key, index.to_string().into_bytes());
            entries.push(formula_entry(formula, files));
        }
        let all = Value::Array(entries).to_string();
        sample
            .api
            .insert("formula.jws.json".to_owned(), signed(&all));
        for name in [
            "cask.jws.json",
            "formula_tap_migrations.jws.json",
            "cask_tap_migrations.jws.json",
        ] {
            let empty = if name.starts_with("cask.") {
                "[]"
            } else {
                "{}"
            };
            sample.api.insert(name.to_owned(), signed(empty));
        }
        let mut tags: Vec<&str> = formulae
            .iter()
            .flat_map(|formula| formula.tags.iter().map(String::as_str))
            .collect();
        tags.sort_unstable();
        tags.dedup();
        for tag in tags.into_iter().filter(|tag| *tag != crate::platform::ALL) {
            let path = format!("internal/packages.{tag}.jws.json");
            sample
                .api
                .insert(path, signed(&packages(formulae, tag, &digests)));
        }
        sample
    }
}

impl SampleFormula {
    /// Returns version and revision.
    #[must_use]
    pub fn package_version(&self) -> String {
        names::package_version(&self.version, self.revision)
    }
}

/// Signs a payload as Homebrew signs its API files.
///
/// # Panics
/// Never: the key is part of the program.
#[must_use]
pub fn signed(payload: &str) -> Vec<u8> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(PRIVATE_KEY.as_bytes()).expect("the embedded key");
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("the embedded key");
    let header = json!({"alg": "PS512", "b64": false, "crit": ["b64"]}).to_string();
    let protected = BASE64_URL_SAFE_NO_PAD.encode(header);
    let input = format!("{protected}.{payload}");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PSS_SHA512,
        &SystemRandom::new(),
        input.as_bytes(),
        &mut signature,
    )
    .expect("the embedded key signs");
    let signature = json!({
        "protected": protected,
        "header": {"kid": "homebrew-1"},
        "signature": BASE64_URL_SAFE_NO_PAD.encode(signature),
    });
    json!({"payload": payload, "signatures": [signature]})
        .to_string()
        .into_bytes()
}

/// Packs a bottle: one program that says what it is, and filling that does not compress.
fn bottle(formula: &SampleFormula, tag: &str) -> Vec<u8> {
    let program = formula.name.replace('@', "-");
    let keg = format!("{}/{}", formula.name, formula.package_version());
    let script = format!(
        "#!/bin/sh\necho {} {} built for {tag}, a sample\n",
        formula.name,
        formula.package_version()
    );
    let mut archive = tar::Builder::new(
        flate2::GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), flate2::Compression::new(1)),
    );
    let files = [
        (format!("{keg}/bin/{program}"), script.into_bytes(), 0o755),
        (
            format!("{keg}/share/{program}/filling"),
            filling(&format!("{keg}{tag}"), formula.filling),
            0o644,
        ),
    ];
    for (path, bytes, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_mtime(MADE_AT);
        header.set_uid(0);
        header.set_gid(0);
        let appended = archive.append_data(&mut header, path, bytes.as_slice());
        appended.expect("memory takes an archive");
    }
    let packed = archive.into_inner().and_then(|mut packed| {
        packed.flush()?;
        packed.finish()
    });
    packed.expect("memory takes an archive")
}

/// Makes bytes that are always the same for a name.
fn filling(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut block = Digest::of(name.as_bytes());
    while bytes.len() < length {
        bytes.extend_from_slice(&block.0);
        block = Digest::of(&block.0);
    }
    bytes.truncate(length);
    bytes
}

fn file_entry(formula: &str, sha256: &str) -> Value {
    let url = format!("https://ghcr.io/{}", names::blob_key(formula, sha256));
    json!({"cellar": ":any_skip_relocation", "url": url, "sha256": sha256})
}

fn manifest_entry(formula: &SampleFormula, tag: &str, sha256: &str, size: usize) -> Value {
    let tab = json!({
        "homebrew_version": "4.3.0",
        "changed_files": [],
        "source_modified_time": MADE_AT,
        "compiler": "gcc",
        "runtime_dependencies": [],
        "arch": "x86_64",
        // Clients of 5.0 read the system from here, and end with an error if nothing is said of it.
        "built_on": {"os": "Linux", "os_version": "Ubuntu 22.04", "cpu_family": "core2"},
    });
    json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{sha256}"),
        "size": 1,
        "annotations": {
            "org.opencontainers.image.ref.name": names::reference(&formula.package_version(), tag, formula.rebuild),
            "sh.brew.bottle.digest": sha256,
            "sh.brew.bottle.size": size.to_string(),
            "sh.brew.tab": tab.to_string(),
        },
    })
}

fn formula_entry(formula: &SampleFormula, files: serde_json::Map<String, Value>) -> Value {
    json!({
        "name": formula.name,
        "full_name": formula.name,
        "tap": "homebrew/core",
        "oldnames": [],
        "aliases": [],
        "desc": "A sample",
        "homepage": "https://brew.sh",
        "license": "MIT",
        "versions": {"stable": formula.version, "head": null, "bottle": true},
        "urls": {"stable": {"url": "https://brew.sh/sample.tar.gz", "checksum": Digest::of(b"").to_string()}},
        "revision": formula.revision,
        "version_scheme": 0,
        "post_install_defined": false,
        "bottle": {"stable": {"rebuild": formula.rebuild, "root_url": "https://ghcr.io/v2/homebrew/core", "files": files}},
        "dependencies": formula.dependencies,
        "build_dependencies": [],
        "uses_from_macos": [],
        "uses_from_macos_bounds": [],
        "variations": {},
        "ruby_source_path": format!("Formula/{}.rb", formula.name),
        "ruby_source_checksum": {"sha256": Digest::of(b"").to_string()},
        "tap_git_head": "0000000000000000000000000000000000000000",
    })
}

fn packages(
    formulae: &[SampleFormula],
    platform: &str,
    digests: &BTreeMap<(String, String), String>,
) -> String {
    let parsed: crate::platform::Platform =
        platform.parse().expect("the sample's tags are platforms");
    let mut found = serde_json::Map::new();
    for formula in formulae {
        let mut entry = json!({
            "desc": "A sample",
            "homepage": "https://brew.sh",
            "stable_version": formula.version,
            "ruby_source_checksum": Digest::of(b"").to_string(),
            "stable_dependencies": formula.dependencies,
            "stable_url_args": ["https://brew.sh/sample.tar.gz"],
        });
        if formula.revision > 0 {
            entry["revision"] = formula.revision.into();
        }
        if formula.rebuild > 0 {
            entry["bottle_rebuild"] = formula.rebuild.into();
        }
        if let Some(tag) = parsed.choose(formula.tags.iter().map(String::as_str)) {
            entry["bottle_checksum"] = digests[&(formula.name.clone(), tag.to_owned())]
                .clone()
                .into();
            if tag != platform {
                entry["bottle_tag"] = format!(":{tag}").into();
            }
        }
        found.insert(formula.name.clone(), entry);
    }
    json!({
        "metadata": {"homebrew_version": "6.0.18", "bottle_tag": platform, "generated_at": MADE_AT},
        "formulae": found,
        "casks": {},
        "formula_aliases": {},
        "formula_renames": {},
        "formula_tap_migrations": {},
    })
    .to_string()
}
