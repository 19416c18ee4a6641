//! Certificates as an operator would have them: valid, expired, not yet valid, and in files.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::http::serve::limits::Limits;
use evolink_receiver::http::tls::{TlsError, TlsSource};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::echo::{EchoServer, HELLO};
use super::raw::RawClient;
use super::tls::client_config;

#[derive(Clone, Debug)]
pub struct Pem {
    pub cert: String,
    pub key: String,
}

impl Pem {
    /// A pair for `localhost`, valid from the first of January of one year to that of another.
    pub fn valid(from_year: i32, to_year: i32) -> Self {
        Self::valid_for(&["localhost"], from_year, to_year)
    }

    /// A pair for these names, which may begin with `*.`.
    pub fn good_for(names: &[&str]) -> Self {
        Self::valid_for(names, 2020, 2099)
    }

    fn valid_for(names: &[&str], from_year: i32, to_year: i32) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(from_year, 1, 1);
        params.not_after = date_time_ymd(to_year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        Self {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A CA certificate for `localhost`, which a server must not present as its own.
    pub fn of_ca() -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        Self {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn good() -> Self {
        Self::valid(2020, 2099)
    }

    /// A chain: a pair for `name`, its intermediate authority, and the root.
    pub fn chain(name: &str) -> [Self; 3] {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            (params, KeyPair::generate().expect("a key"))
        };
        let pem = |cert: rcgen::Certificate, key: &KeyPair| Self {
            cert: cert.pem(),
            key: key.serialize_pem(),
        };
        let (root, root_key) = authority("a root");
        let root_cert = root.self_signed(&root_key).expect("a certificate");
        let root_issuer = Issuer::from_params(&root, &root_key);
        let (middle, middle_key) = authority("an intermediate");
        let middle_cert = middle
            .signed_by(&middle_key, &root_issuer)
            .expect("a certificate");
        let issuer = Issuer::from_params(&middle, &middle_key);
        let mut leaf = CertificateParams::new([name.to_owned()]).expect("a name");
        leaf.distinguished_name.push(DnType::CommonName, "a host");
        let leaf_key = KeyPair::generate().expect("a key");
        let leaf_cert = leaf.signed_by(&leaf_key, &issuer).expect("a certificate");
        [
            pem(leaf_cert, &leaf_key),
            pem(middle_cert, &middle_key),
            pem(root_cert, &root_key),
        ]
    }

    /// Accepts connections with this pair.
    pub fn acceptor(&self) -> TlsAcceptor {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has these versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert], key);
        TlsAcceptor::from(Arc::new(config.expect("a pair")))
    }
}

pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
    _dir: TempDir,
}

impl Files {
    pub fn with(pem: &Pem) -> Self {
        let dir = TempDir::new().expect("a folder");
        let files = Self {
            cert: dir.path().join("tls.crt"),
            key: dir.path().join("tls.key"),
            _dir: dir,
        };
        fs::write(&files.cert, &pem.cert).expect("written");
        fs::write(&files.key, &pem.key).expect("written");
        files
    }

    pub fn source(&self) -> Result<TlsSource, TlsError> {
        TlsSource::from_files(&self.cert, &self.key, Clock::System)
    }
}

pub async fn serve_tls(source: &Arc<TlsSource>) -> EchoServer {
    let seconds = Duration::from_secs(5);
    EchoServer::start_tls(Some(Arc::clone(source)), Limits::public(), seconds, seconds).await
}

pub async fn connects(server: &EchoServer, pem: &Pem) -> bool {
    let client =
        RawClient::try_connect_tls(server.address, client_config(&pem.cert), "localhost").await;
    let Ok(mut client) = client else { return false };
    client.send(HELLO).await;
    client.read_response().await.status == 200
}
