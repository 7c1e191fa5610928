//! A certificate authority of the test's own, and certificates for any host, made when asked for.
//!
//! It must hold that nobody trusts it unless told to: its certificate lies in a file that a client
//! has to be given, and a client that is not given it must fail. Keys live in memory only.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// A throw-away certificate authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    hosts: Mutex<HashMap<String, TlsAcceptor>>,
    pem_path: PathBuf,
    _scratch: TempDir,
}

impl Authority {
    pub(crate) fn new() -> io::Result<Authority> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Syncline test authority");
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        let scratch = tempfile::Builder::new().prefix("syncline-ca-").tempdir()?;
        let pem_path = scratch.path().join("test-ca.pem");
        std::fs::write(&pem_path, issuer.pem())?;
        Ok(Authority {
            issuer,
            hosts: Mutex::default(),
            pem_path,
            _scratch: scratch,
        })
    }

    pub(crate) fn pem_path(&self) -> &Path {
        &self.pem_path
    }

    /// An acceptor that shows a certificate for this host.
    pub(crate) fn acceptor(&self, host: &str) -> io::Result<TlsAcceptor> {
        let mut hosts = self
            .hosts
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(acceptor) = hosts.get(host) {
            return Ok(acceptor.clone());
        }
        let acceptor = TlsAcceptor::from(Arc::new(self.config(host)?));
        hosts.insert(host.to_owned(), acceptor.clone());
        Ok(acceptor)
    }

    fn config(&self, host: &str) -> io::Result<ServerConfig> {
        let mut names = vec![host.to_owned()];
        if host == "127.0.0.1" {
            names.push("localhost".to_owned());
        }
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(names).map_err(io::Error::other)?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(io::Error::other)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(io::Error::other)?;
        // Only what this proxy speaks.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
