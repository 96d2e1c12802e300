//! Certificates that are made for a test.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// Who signs, and a folder for what it signed.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: TempDir,
}

/// Files of a certificate and of its key.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        let name = format!("authority {:x}", rand::random::<u64>());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), dir }
    }

    /// The file of its own certificate.
    pub(crate) fn ca(&self) -> String {
        self.dir.path().join("ca.pem").display().to_string()
    }

    /// A certificate for this name or address.
    pub(crate) fn signs(&self, name: &str) -> Signed {
        self.write(name, CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// One that was good in the year 2000.
    pub(crate) fn signs_expired(&self, name: &str) -> Signed {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        self.write(name, params)
    }

    fn write(&self, name: &str, params: CertificateParams) -> Signed {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let file = |end: &str, text: String| {
            let path = self.dir.path().join(format!("{name}.{end}"));
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        Signed { cert: file("crt", cert.pem()), key: file("key", key.serialize_pem()) }
    }
}

impl Signed {
    /// A backend's flags.
    pub(crate) fn flags(&self) -> [(&str, &str); 2] {
        [("tls.cert", &self.cert), ("tls.key", &self.key)]
    }

    /// Puts these files where those are.
    pub(crate) fn replaces(&self, other: &Signed) {
        std::fs::copy(&self.cert, &other.cert).unwrap();
        std::fs::copy(&self.key, &other.key).unwrap();
    }
}

/// A client that believes this authority, and shows this certificate.
pub(crate) fn client(ca: &str, own: Option<&Signed>, protocol: &str) -> Arc<ClientConfig> {
    let certificates =
        |path: &str| CertificateDer::pem_file_iter(Path::new(path)).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let mut roots = RootCertStore::empty();
    certificates(ca).into_iter().for_each(|ca| roots.add(ca).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
            builder.with_client_auth_cert(certificates(&own.cert), key).unwrap()
        }
    };
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Arc::new(config)
}
