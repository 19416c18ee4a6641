//! A certificate chain with its key: parses it, checks it, and builds the rustls configuration from
//! it. Apart from reading the files it does no I/O, and the caller passes the time. `tls` decides
//! where a pair comes from and when it is replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{Timestamp, ToSpan, Zoned, tz::TimeZone};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuiteCommon, InconsistentKeys, ServerConfig, SupportedCipherSuite, version};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::chain::{self, ChainFault};
use super::expiry::Left;
use crate::secret_file::shown_path;

/// Lifetime of a self-signed certificate. The first start after its expiry makes a new one.
const SELF_SIGNED_DAYS: i64 = 365;

/// Replaces the parser's own error text, which quotes the input and so might quote a key.
const NOT_PEM: &str = "it is not well-formed PEM";

/// Why a certificate cannot be served. The message is one line that names the file.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("could not read {file}: {source}")]
    Read {
        /// The path in a form that is safe to show.
        file: String,
        source: std::io::Error,
    },
    #[error("could not write {file}: {source}")]
    Write {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{file} holds no certificate in PEM form")]
    NoCertificate { file: PathBuf },
    #[error("{file} holds a certificate that cannot be used: {reason}")]
    BadCertificate { file: PathBuf, reason: String },
    #[error("{file} holds no private key in PEM form, or an encrypted one")]
    NoKey { file: PathBuf },
    #[error("{file} holds a private key that cannot be used: {reason}")]
    BadKey { file: PathBuf, reason: String },
    #[error("the key in {key_file} does not belong to the first certificate in {cert_file}")]
    Mismatch {
        cert_file: PathBuf,
        key_file: PathBuf,
    },
    #[error("the certificate in {file} expired at {not_after}")]
    Expired { file: PathBuf, not_after: Timestamp },
    #[error("the certificate in {file} is not valid before {not_before}")]
    NotYetValid {
        file: PathBuf,
        not_before: Timestamp,
    },
    #[error("could not make a self-signed certificate for {names}: {reason}")]
    SelfSigned { names: String, reason: String },
}

/// A certificate and its key as PEM text, with the files that they were read from or would be
/// stored in.
pub struct PemPair {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub cert_pem: Vec<u8>,
    pub key_pem: Vec<u8>,
}

/// A pair that can be served. The time may be outside its dates.
pub struct Identity {
    pub server_config: Arc<ServerConfig>,
    pub certificate_pem: String,
    pub chain_faults: Vec<ChainFault>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// DNS names and IP addresses, as text.
    pub names: Vec<String>,
}

impl PemPair {
    pub fn read(cert_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let read = |file: &Path| {
            std::fs::read(file).map_err(|source| TlsError::Read {
                file: shown_path(file),
                source,
            })
        };
        let (cert_pem, key_pem) = (read(cert_file)?, read(key_file)?);
        Ok(Self {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            cert_pem,
            key_pem,
        })
    }

    /// Creates a new pair for `names`. It is valid from yesterday on, because clocks differ.
    pub fn self_signed(
        names: &[String],
        cert_file: &Path,
        key_file: &Path,
        now: Timestamp,
    ) -> Result<Self, TlsError> {
        let made = || -> Result<_, rcgen::Error> {
            let today = now.to_zoned(TimeZone::UTC);
            // rcgen's own time type comes from a crate that we do not otherwise need.
            let midnight = |day: Zoned| {
                rcgen::date_time_ymd(
                    day.year().into(),
                    day.month().unsigned_abs(),
                    day.day().unsigned_abs(),
                )
            };
            let mut params = CertificateParams::new(names)?;
            params.not_before = midnight(today.saturating_sub(1.day()));
            params.not_after = midnight(today.saturating_add(SELF_SIGNED_DAYS.days()));
            params.distinguished_name = DistinguishedName::new();
            params
                .distinguished_name
                .push(DnType::CommonName, "evolink-receiver, self-signed");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let key = KeyPair::generate()?;
            Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
        };
        let (cert_pem, key_pem) = made().map_err(|error| TlsError::SelfSigned {
            names: names.join(", "),
            reason: error.to_string(),
        })?;
        let (cert_file, key_file) = (cert_file.to_owned(), key_file.to_owned());
        Ok(Self {
            cert_file,
            key_file,
            cert_pem: cert_pem.into(),
            key_pem: key_pem.into(),
        })
    }

    /// Runs all checks but that of the dates, the most useful error for an operator first.
    pub fn check(&self) -> Result<Identity, TlsError> {
        let chain = self.parse_chain()?;
        let leaf = chain.first().ok_or_else(|| TlsError::NoCertificate {
            file: self.cert_file.clone(),
        })?;
        let (_rest, leaf) = X509Certificate::from_der(leaf)
            .map_err(|_| self.bad_certificate(&"it is not a well-formed X.509 certificate"))?;
        let (not_before, not_after) = self.validity(&leaf)?;
        let names = subject_names(&leaf);
        let certified_key = self.certified_key(chain.clone())?;
        Ok(Identity {
            server_config: Arc::new(self.server_config(certified_key)?),
            certificate_pem: String::from_utf8_lossy(&self.cert_pem).into_owned(),
            chain_faults: chain::faults(&chain),
            not_before,
            not_after,
            names,
        })
    }

    /// Checks that the pair is valid `now`, by the dates of its certificate.
    pub fn check_dates(&self, identity: &Identity, now: Timestamp) -> Result<(), TlsError> {
        let file = self.cert_file.clone();
        let (not_before, not_after) = (identity.not_before, identity.not_after);
        match Left::until(not_before, not_after, now) {
            Left::Expired => Err(TlsError::Expired { file, not_after }),
            Left::NotYet => Err(TlsError::NotYetValid { file, not_before }),
            Left::Enough | Left::Days(_) => Ok(()),
        }
    }

    fn parse_chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        CertificateDer::pem_slice_iter(&self.cert_pem)
            .collect::<Result<_, _>>()
            // The parser's error quotes the faulty line, and the file may contain the key as well.
            .map_err(|_| self.bad_certificate(&NOT_PEM))
    }

    fn validity(&self, leaf: &X509Certificate<'_>) -> Result<(Timestamp, Timestamp), TlsError> {
        let validity = leaf.validity();
        let at = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|error| self.bad_certificate(&error))
        };
        Ok((at(validity.not_before)?, at(validity.not_after)?))
    }

    fn certified_key(&self, chain: Vec<CertificateDer<'static>>) -> Result<CertifiedKey, TlsError> {
        use rustls::Error::{InconsistentKeys as Inconsistent, InvalidCertificate};
        use rustls::pki_types::pem::Error as PemError;
        let file = || self.key_file.clone();
        let key = PrivateKeyDer::from_pem_slice(&self.key_pem).map_err(|error| match error {
            PemError::NoItemsFound => TlsError::NoKey { file: file() },
            // The parser's error quotes the faulty line.
            _ => TlsError::BadKey {
                file: file(),
                reason: NOT_PEM.to_owned(),
            },
        })?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            Inconsistent(InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
                cert_file: self.cert_file.clone(),
                key_file: file(),
            },
            InvalidCertificate(_) => self.bad_certificate(&error),
            _ => TlsError::BadKey {
                file: file(),
                reason: "it is no RSA, ECDSA or Ed25519 key in PKCS#8, PKCS#1 or SEC1 form"
                    .to_owned(),
            },
        })
    }

    /// Builds the configuration: TLS 1.2 and 1.3, HTTP/1.1 only. Early data stays off (rustls's
    /// default), because an attacker could replay a request in it.
    fn server_config(&self, key: CertifiedKey) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| self.bad_certificate(&error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ignore_client_order = true;
        Ok(config)
    }

    fn bad_certificate(&self, error: &dyn std::fmt::Display) -> TlsError {
        TlsError::BadCertificate {
            file: self.cert_file.clone(),
            reason: error.to_string(),
        }
    }
}

/// rustls's default cipher suites, all of them strong, with the SHA-384 ones last. A handshake
/// hashes a lot, and most processors have instructions for SHA-256 but few have them for SHA-384.
/// This order saves the server a seventh of the cost of a handshake (measured).
fn provider() -> CryptoProvider {
    let mut provider = default_provider();
    let is_dear = |suite: &SupportedCipherSuite| match suite {
        SupportedCipherSuite::Tls13(suite) => is_sha384(&suite.common),
        SupportedCipherSuite::Tls12(suite) => is_sha384(&suite.common),
    };
    provider.cipher_suites.sort_by_key(is_dear);
    provider
}

fn is_sha384(suite: &CipherSuiteCommon) -> bool {
    suite.hash_provider.algorithm() == HashAlgorithm::SHA384
}

fn subject_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(octets) => match octets.len() {
                4 => <[u8; 4]>::try_from(*octets)
                    .ok()
                    .map(|octets| std::net::IpAddr::from(octets).to_string()),
                _ => <[u8; 16]>::try_from(*octets)
                    .ok()
                    .map(|octets| std::net::IpAddr::from(octets).to_string()),
            },
            _ => None,
        })
        .collect()
}
