//! The self-test of the cryptography: published vectors first, then a round trip through the very functions that push and pull use.
//!
//! What must hold: it can fail; each check compares with a value that somebody else published. Sources: draft-irtf-cfrg-xchacha-03
//! appendix A.3.1, RFC 9106 section 5.3, the BLAKE3 team's test vectors, the BIP-39 reference vectors.
//! What it deliberately does not do: touch keys or stores of the person.

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::ids::{NodeId, from_hex, to_hex};
use crate::keys::{KdfCost, Keyring, Secret, VaultFile, new_recovery_phrase};
use crate::seal::{ObjectKind, Place, open, seal};

/// One check of the self-test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfTest {
    /// What was checked, and against what.
    pub name: &'static str,
    /// Whether it held.
    pub passed: bool,
}

/// Runs every check.
pub fn self_test() -> Vec<SelfTest> {
    let check = |name, passed| SelfTest { name, passed };
    vec![
        check(
            "XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03, A.3.1)",
            xchacha_vector(),
        ),
        check("Argon2id (RFC 9106, 5.3)", argon2_vector()),
        check(
            "BLAKE3 hash, keyed hash and key derivation (the BLAKE3 team's vectors)",
            blake3_vectors(),
        ),
        check(
            "BIP-39 recovery phrase (reference vector, 24 words)",
            bip39_vector(),
        ),
        check("seal and open an object", round_trip()),
        check("a changed object is refused", tampering_is_noticed()),
        check(
            "a vault opens with its passphrase and recovery phrase and with nothing else",
            slots(),
        ),
    ]
}

fn xchacha_vector() -> bool {
    let key: Vec<u8> = (0x80..=0x9f).collect();
    let nonce: Vec<u8> = (0x40..=0x57).collect();
    let aad = from_hex("50515253c0c1c2c3c4c5c6c7").unwrap_or_default();
    let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let expected = concat!(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb",
        "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452",
        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9",
        "21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49"
    );
    let (Ok(key), Ok(nonce)) = (<[u8; 32]>::try_from(key), <[u8; 24]>::try_from(nonce)) else {
        return false;
    };
    let sealed = XChaCha20Poly1305::new(&key.into()).encrypt(
        &XNonce::from(nonce),
        Payload {
            msg: plaintext,
            aad: &aad,
        },
    );
    sealed.is_ok_and(|sealed| to_hex(&sealed) == expected)
}

fn argon2_vector() -> bool {
    let params = AssociatedData::new(&[4; 12]).and_then(|data| {
        let mut builder = ParamsBuilder::new();
        builder
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .output_len(32)
            .data(data);
        builder.build()
    });
    let Ok(params) = params else { return false };
    let Ok(argon2) = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
    else {
        return false;
    };
    let mut tag = [0; 32];
    argon2
        .hash_password_into(&[1; 32], &[2; 16], &mut tag)
        .is_ok()
        && to_hex(&tag) == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
}

fn blake3_vectors() -> bool {
    let input = [0, 1, 2];
    let key = b"whats the Elvish word for friend";
    let context = "BLAKE3 2019-12-27 16:29:52 test vectors context";
    blake3::hash(&[]).to_hex().as_str()
        == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        && blake3::hash(&input).to_hex().as_str()
            == "e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f"
        && blake3::keyed_hash(key, &input).to_hex().as_str()
            == "39e67b76b5a007d4921969779fe666da67b5213b096084ab674742f0d5ec62b9"
        && to_hex(&blake3::derive_key(context, &input))
            == "440aba35cb006b61fc17c0529255de438efc06a8c9ebf3f2ddac3b5a86705797"
}

fn bip39_vector() -> bool {
    let words = "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless";
    bip39::Mnemonic::parse(words).is_ok_and(|phrase| phrase.to_entropy() == [0x80; 32])
}

const PLACE: Place = Place {
    kind: ObjectKind::Segment,
    node: NodeId([7; 16]),
    first: 1,
    last: 2,
};

fn round_trip() -> bool {
    let keys = Keyring::generate();
    let plaintext = b"git status ".repeat(100);
    [None, Some(3)].into_iter().all(|level| {
        let sealed = seal(&keys, PLACE, &plaintext, level);
        open(&keys, &sealed.key, &sealed.bytes).as_deref() == Ok(&plaintext[..])
    })
}

fn tampering_is_noticed() -> bool {
    let keys = Keyring::generate();
    let sealed = seal(&keys, PLACE, b"git status", None);
    (0..sealed.bytes.len()).all(|at| {
        let mut changed = sealed.bytes.to_vec();
        changed[at] ^= 1;
        open(&keys, &sealed.key, &changed).is_err()
    })
}

fn slots() -> bool {
    let keys = Keyring::generate();
    let passphrase = Secret::Passphrase("correct horse".into());
    let phrase = Secret::from_input(&new_recovery_phrase());
    let cost = KdfCost::CHEAP_FOR_TESTS;
    let Ok(file) = VaultFile::build(&keys, "self-test", 1, &[&passphrase, &phrase], cost) else {
        return false;
    };
    file.unlock(&passphrase).is_ok()
        && file.unlock(&phrase).is_ok()
        && file.unlock(&Secret::Passphrase("wrong".into())).is_err()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_check_holds() {
        for check in super::self_test() {
            assert!(check.passed, "{}", check.name);
        }
    }
}
