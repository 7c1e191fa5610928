//! The envelope around an API file: a JSON Web Signature in the general JSON form (RFC 7515, 7.2.1) with an unencoded payload
//! (RFC 7797), signed with PS512 (RFC 7518, 3.5) by the key `homebrew-1`.
//!
//! What must hold: what a client would refuse is refused here.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use ring::signature::{RSA_PSS_2048_8192_SHA512, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use std::borrow::Cow;

/// The name of the key that Homebrew's client trusts.
const KEY_ID: &str = "homebrew-1";

/// Why a signature does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    /// Nobody signed with the key that clients trust.
    #[error("it is not signed with the key {KEY_ID}")]
    NoKey,
    /// The header names something else than PS512 over the bare payload.
    #[error("its signature is not PS512 over an unencoded payload")]
    Algorithm,
    /// The signature does not fit: the file was changed, or signed by somebody else.
    #[error(
        "its signature does not fit: the file was changed on the way, or another key signed it"
    )]
    Mismatch,
    /// The key itself is none.
    #[error("the public key is no RSA key in PEM form")]
    PublicKey,
}

/// A signed file, taken apart.
#[derive(Deserialize)]
pub struct Envelope<'f> {
    /// The text that is signed.
    #[serde(borrow)]
    pub payload: Cow<'f, str>,
    #[serde(default)]
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
    #[serde(default)]
    header: Header,
    signature: String,
}

#[derive(Default, Deserialize)]
struct Header {
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Protected {
    alg: Option<String>,
    b64: Option<bool>,
}

impl Envelope<'_> {
    /// Takes a file apart.
    ///
    /// # Errors
    /// If it is no JSON, or has no payload.
    pub fn parse(file: &[u8]) -> Result<Envelope<'_>, serde_json::Error> {
        serde_json::from_slice(file)
    }

    /// Compares the signature with a public key.
    ///
    /// # Errors
    /// If a client with this key would refuse the file.
    pub fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        let wanted = |signature: &&Signature| signature.header.kid.as_deref() == Some(KEY_ID);
        let signature = self.signatures.iter().find(wanted);
        let signature = signature.ok_or(SignatureError::NoKey)?;
        let header = base64_url(&signature.protected).ok_or(SignatureError::Algorithm)?;
        let header: Protected =
            serde_json::from_slice(&header).map_err(|_| SignatureError::Algorithm)?;
        if header.alg.as_deref() != Some("PS512") || header.b64 != Some(false) {
            return Err(SignatureError::Algorithm);
        }
        let found = base64_url(&signature.signature).ok_or(SignatureError::Mismatch)?;
        let signed = format!("{}.{}", signature.protected, self.payload);
        key.key
            .verify(signed.as_bytes(), &found)
            .map_err(|_| SignatureError::Mismatch)
    }
}

/// The key that API files are checked with.
pub struct PublicKey {
    key: UnparsedPublicKey<Vec<u8>>,
    name: String,
}

impl PublicKey {
    /// Reads a key from a PEM file such as the client's own `api/homebrew-1.pem`.
    ///
    /// # Errors
    /// If it holds no RSA key.
    pub fn from_pem(pem: &[u8]) -> Result<PublicKey, SignatureError> {
        let info = SubjectPublicKeyInfoDer::from_pem_slice(pem);
        let info = info.map_err(|_| SignatureError::PublicKey)?;
        let key = rsa_key(&info).ok_or(SignatureError::PublicKey)?;
        let sum = transfer::Digest::of(key).to_string();
        Ok(PublicKey {
            key: UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA512, key.to_vec()),
            name: sum[..16].to_owned(),
        })
    }

    /// Names the key: a part of its digest.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Takes the RSAPublicKey out of a SubjectPublicKeyInfo (RFC 5280, 4.1): a sequence of an algorithm and a string of bits.
fn rsa_key(info: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let (inside, _) = der(info, SEQUENCE)?;
    let (_algorithm, rest) = der(inside, SEQUENCE)?;
    let (bits, _) = der(rest, BIT_STRING)?;
    // The first byte says how many bits of the last one do not count.
    bits.strip_prefix(&[0])
}

/// Reads one value of a tag; returns its contents and what follows.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Decodes base64url (RFC 4648, 5), with or without padding, as the client does.
fn base64_url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_changed_file_and_a_foreign_key_are_refused() {
        let key = PublicKey::from_pem(sample::PUBLIC_KEY.as_bytes()).expect("a key");
        let file = sample::signed(r#"{"formulae":{}}"#);
        let envelope = Envelope::parse(&file).expect("an envelope");
        assert_eq!(envelope.payload, r#"{"formulae":{}}"#);
        assert_eq!(envelope.verify(&key), Ok(()));

        let text = String::from_utf8(file).expect("text");
        let changed = text.replace("formulae", "formulas");
        let changed = Envelope::parse(changed.as_bytes()).expect("an envelope");
        assert_eq!(changed.verify(&key), Err(SignatureError::Mismatch));
        let other = text.replace("homebrew-1", "homebrew-2");
        let other = Envelope::parse(other.as_bytes()).expect("an envelope");
        assert_eq!(other.verify(&key), Err(SignatureError::NoKey));
        let bare = Envelope::parse(br#"{"payload":"[]"}"#).expect("an envelope");
        assert_eq!(bare.verify(&key), Err(SignatureError::NoKey));
        assert!(matches!(
            PublicKey::from_pem(b"no key"),
            Err(SignatureError::PublicKey)
        ));
    }
}
