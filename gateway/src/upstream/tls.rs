//! TLS to backends: whom the gateway believes, and what it shows them. One for all backends; its files are followed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{InvalidMessage, RootCertStore};

/// What the operator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificates of the authorities that sign the backends'.
    pub ca: PathBuf,
    /// The name that a backend's certificate must have; none: the host of its address.
    pub server_name: Option<ServerName<'static>>,
    /// The gateway's own certificate and key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Why there is no TLS to be had from these files. The operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds something else.
    #[error("{}: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// They don't fit together.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// What is spoken with backends now.
#[derive(Debug, Default)]
pub struct Tls(ArcSwapOption<Spoken>);

/// How TLS is spoken.
#[derive(Debug)]
pub(super) struct Spoken {
    /// None where the files are no good: nobody is spoken to then, least of all without TLS.
    pub(super) config: Result<Arc<ClientConfig>, String>,
    server_name: Option<ServerName<'static>>,
    seen: Seen,
}

/// What was read, so that it is known when that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    files: Files,
    stamps: Vec<Option<(SystemTime, u64)>>,
}

impl Files {
    /// Reads them.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|error| bad(&self.ca, error))?;
        }
        let verifier = verifier(roots, &provider).map_err(|error| bad(&self.ca, error))?;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((own, key)) => {
                let (chain, key_der) = (certificates(own)?, PrivateKeyDer::from_pem_file(key));
                let key_der = key_der.map_err(|error| bad(key, error))?;
                builder.with_client_auth_cert(chain, key_der).map_err(|error| bad(own, error))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn seen(&self) -> Seen {
        let own = self.own.iter().flat_map(|(own, key)| [own, key]);
        let stamp = |path: &PathBuf| {
            let data = std::fs::metadata(path).ok()?;
            Some((data.modified().ok()?, data.len()))
        };
        Seen { files: self.clone(), stamps: [&self.ca].into_iter().chain(own).map(stamp).collect() }
    }
}

fn verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Box<dyn std::error::Error>> {
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()?)
}

impl Tls {
    /// Takes the files as they are now, where they changed; whether anything did. It reads files.
    pub fn follow(&self, files: Option<&Files>) -> bool {
        let before = self.0.load();
        let Some(files) = files else {
            return self.0.swap(None).is_some();
        };
        let seen = files.seen();
        if before.as_ref().is_some_and(|before| before.seen == seen) {
            return false;
        }
        let server_name = files.server_name.clone();
        let config = files.load().map_err(|error| error.to_string());
        match (&config, before.as_ref()) {
            (Ok(_), None) => tracing::info!("backends are spoken to by TLS"),
            (Ok(_), Some(_)) => tracing::info!("certificates for backends reloaded"),
            // What was good of the same files is kept: the new ones may be half written.
            (Err(error), Some(before)) if before.config.is_ok() && before.seen.files == *files => {
                tracing::warn!(error, "certificates for backends not reloaded: those before stand");
                let (config, server_name) = (before.config.clone(), before.server_name.clone());
                self.0.store(Some(Arc::new(Spoken { config, server_name, seen })));
                return false;
            }
            (Err(error), _) => tracing::error!(error, "no TLS with backends"),
        }
        self.0.store(Some(Arc::new(Spoken { config, server_name, seen })));
        true
    }

    /// How TLS is spoken; none: it is not.
    pub(super) fn spoken(&self) -> Option<Arc<Spoken>> {
        self.0.load_full()
    }
}

impl Spoken {
    /// The name that the certificate of a backend at `host:port` must have.
    pub(super) fn name(&self, address: &str) -> Result<ServerName<'static>, String> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host.to_owned()).map_err(|_| format!("'{host}' is no name that a certificate can have"))
    }
}

/// Why a connection broke while TLS was agreed on, or by what the other side said of it.
pub(super) fn words(error: &std::io::Error) -> String {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "it does not speak TLS, which 'fleet.tls' asks for".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("it refused TLS, or the gateway's certificate: {alert:?}"),
        Some(error) => error.to_string(),
        None => format!("while TLS was agreed on: {error}"),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read.map_err(|error| bad(path, error))? {
        none if none.is_empty() => Err(bad(path, "no certificate in it")),
        some => Ok(some),
    }
}

fn bad(path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), why: why.to_string() }
}
