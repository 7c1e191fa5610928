//! Encrypted connections to PostgreSQL, as `sslmode` asks for them.
//!
//! What must hold: `require` never falls back to plain text; `verify-ca` and `verify-full` check the certificate, as in
//! PostgreSQL's own clients; the weaker modes encrypt without checking, as there.
//!
//! It deliberately reads no files but the certificates that the URL names, and offers no client certificates.

use super::{DbError, DbErrorKind};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How much a connection has to be protected: the values of `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Not at all.
    Disable,
    /// Encrypted if the server can.
    Prefer,
    /// Encrypted; whose certificate it is does not matter.
    Require,
    /// Encrypted; the certificate comes from an authority that we trust.
    VerifyCa,
    /// The same, and it names the host.
    VerifyFull,
}

/// The protection that a database URL asks for.
pub(super) struct Tls {
    mode: Mode,
    roots: Option<PathBuf>,
}

impl Tls {
    /// Takes `sslmode` and `sslrootcert` out of a URL, by their names in PostgreSQL and in the application; returns the rest.
    pub(super) fn from_url(url: &str) -> Result<(String, Tls), DbError> {
        let mut tls = Tls {
            mode: Mode::Prefer,
            roots: None,
        };
        let Some((start, query)) = url.split_once('?') else {
            return Ok((url.to_owned(), tls));
        };
        let mut kept = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "sslmode" | "ssl-mode" => tls.mode = mode(value)?,
                "sslrootcert" if value == "system" => tls.roots = None,
                "sslrootcert" | "ssl-root-cert" | "ssl-ca" => {
                    tls.roots = Some(PathBuf::from(decoded(value)))
                }
                "sslcert" | "sslkey" => {
                    return Err(unsupported("client certificates (sslcert, sslkey)"));
                }
                // A setting of the application's own client, which means nothing to ours.
                "statement-cache-capacity" => {}
                _ => kept.push(pair),
            }
        }
        // As PostgreSQL's own clients do: a root certificate that is named is meant to be used.
        if tls.mode == Mode::Require && tls.roots.is_some() {
            tls.mode = Mode::VerifyCa;
        }
        let rest = if kept.is_empty() {
            start.to_owned()
        } else {
            format!("{start}?{}", kept.join("&"))
        };
        Ok((rest, tls))
    }

    /// Returns what `sslmode` said.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Makes what the client encrypts with.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, DbError> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self.mode {
            Mode::Disable | Mode::Prefer | Mode::Require => {
                Arc::new(Unchecked(Arc::clone(&provider)))
            }
            Mode::VerifyCa => Arc::new(AnyName(self.checked(&provider)?)),
            Mode::VerifyFull => self.checked(&provider)?,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| trouble("set up encryption").with_source(error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }

    fn checked(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<WebPkiServerVerifier>, DbError> {
        let mut roots = RootCertStore::empty();
        match &self.roots {
            Some(path) => {
                let action = format!("read the root certificate {}", path.display());
                let read = CertificateDer::pem_file_iter(path)
                    .map_err(|error| trouble(&action).with_source(error))?;
                for certificate in read {
                    let certificate =
                        certificate.map_err(|error| trouble(&action).with_source(error))?;
                    roots
                        .add(certificate)
                        .map_err(|error| trouble(&action).with_source(error))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| trouble("find certificates to trust").with_source(error))
    }
}

fn mode(value: &str) -> Result<Mode, DbError> {
    match value {
        "disable" => Ok(Mode::Disable),
        "allow" | "prefer" => Ok(Mode::Prefer),
        "require" => Ok(Mode::Require),
        "verify-ca" => Ok(Mode::VerifyCa),
        "verify-full" => Ok(Mode::VerifyFull),
        other => Err(unsupported(&format!("sslmode={other}"))),
    }
}

fn decoded(value: &str) -> String {
    let pair = format!("v={value}");
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn unsupported(what: &str) -> DbError {
    DbError::new(
        DbErrorKind::Unsupported,
        "read the database URL",
        format!(
            "{what} is not supported; sslmode is one of disable, prefer, require, verify-ca, verify-full"
        ),
    )
}

fn trouble(action: &str) -> DbError {
    DbError::new(DbErrorKind::Connection, action, "")
}

/// Encrypts and asks nobody who the other side is: what `prefer` and `require` mean.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

/// Trusts an authority, whatever host its certificate names: what `verify-ca` means.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self.0.verify_server_cert(end, between, name, ocsp, now) {
            // The chain was checked before the name.
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
