//! TLS on the one port, for all that it speaks: HTTP/2 is told by ALPN then, and not by its preface.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoClientAuth, ServerConfig, WebPkiClientVerifier};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::socket::Socket;
use crate::config::Tls as Files;

/// How often it is looked whether the files changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest that a peer may take to agree.
const AGREEMENT_MAX: Duration = Duration::from_secs(10);
/// What a TLS connection's first byte is.
const HANDSHAKE: u8 = 0x16;
/// What a peer is told that speaks without.
const PLAIN: &str = "{\"error\":\"this port speaks TLS\"}";

/// Why the files are no good. The operator's fault.
#[derive(Debug, thiserror::Error)]
#[error("'tls': {}: {why}", .path.display())]
pub struct TlsError {
    path: PathBuf,
    why: String,
}

/// What the port shows, and whom it believes.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    current: ArcSwap<ServerConfig>,
}

/// A connection that speaks TLS.
pub(super) struct Agreed {
    pub(super) socket: Socket,
    pub(super) is_http2: bool,
}

impl Tls {
    /// Reads the files.
    pub fn load(files: &Files) -> Result<Arc<Self>, TlsError> {
        let config = read(files)?;
        Ok(Arc::new(Self { files: files.clone(), current: ArcSwap::from(config) }))
    }

    /// Reads them again whenever they change, until `stopped`. Those that are no good change nothing.
    pub async fn follow(self: Arc<Self>, stopped: CancellationToken) {
        let mut seen = stamps(&self.files);
        while stopped.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let files = self.files.clone();
            let looked = tokio::task::spawn_blocking(move || (stamps(&files), files)).await;
            let Ok((stamps, files)) = looked else { continue };
            if stamps == seen {
                continue;
            }
            seen = stamps;
            match tokio::task::spawn_blocking(move || read(&files)).await {
                Ok(Ok(config)) => {
                    self.current.store(config);
                    tracing::info!("certificates reloaded");
                }
                Ok(Err(error)) => tracing::warn!(%error, "certificates not reloaded: those before stand"),
                Err(error) => tracing::warn!(%error, "certificates not reloaded: those before stand"),
            }
        }
    }

    /// Agrees on TLS with a peer; none where that fails, which is logged.
    pub(super) async fn accept(&self, stream: TcpStream, peer: SocketAddr, patience: Duration) -> Option<Agreed> {
        match tokio::time::timeout(patience.min(AGREEMENT_MAX), self.agree(stream)).await {
            Ok(Ok(agreed)) => agreed,
            Ok(Err(error)) => {
                refused(peer, &error.to_string());
                None
            }
            Err(_) => {
                tracing::debug!(%peer, "TLS was not agreed on in time");
                None
            }
        }
    }

    async fn agree(&self, mut stream: TcpStream) -> io::Result<Option<Agreed>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first != [HANDSHAKE] {
            let length = PLAIN.len();
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n{PLAIN}"
            );
            // What it sent is taken, or the close would take the answer with it.
            let mut sent = [0; 4096];
            let _ = stream.try_read(&mut sent);
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("it does not speak TLS"));
        }
        let stream = TlsAcceptor::from(self.current.load_full()).accept(stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Some(Agreed { socket: Socket::Tls(Box::new(stream)), is_http2 }))
    }
}

/// Says that a peer's connection was refused: at most once a second, as anyone can cause it.
pub(super) fn refused(peer: SocketAddr, error: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if LAST.swap(now, Relaxed) == now {
        tracing::debug!(%peer, error, "connection refused");
    } else {
        tracing::warn!(%peer, error, "connection refused");
    }
}

/// Whether these are the first bytes of a connection that speaks TLS.
pub(super) fn is_spoken(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE, 3, ..])
}

fn read(files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let clients = match &files.client_ca {
        None => Arc::new(NoClientAuth),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|error| bad(ca, error))?;
            }
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            builder.build().map_err(|error| bad(ca, error))?
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| bad(&files.key, error))?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| bad(&files.cert, error))?.with_client_cert_verifier(clients);
    let config = builder.with_single_cert(certificates(&files.cert)?, key);
    let mut config = config.map_err(|error| bad(&files.cert, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read.map_err(|error| bad(path, error))? {
        none if none.is_empty() => Err(bad(path, "no certificate in it")),
        some => Ok(some),
    }
}

fn bad(path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError { path: path.to_owned(), why: why.to_string() }
}

fn stamps(files: &Files) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    [&files.cert, &files.key].into_iter().chain(&files.client_ca).map(stamp).collect()
}
