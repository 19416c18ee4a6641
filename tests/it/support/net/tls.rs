//! Clients of TLS as tests need them.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// A TLS client that trusts only `roots_pem` and offers no ALPN, as we assume of EvoLink's callback
/// client.
pub fn client_config(roots_pem: &str) -> ClientConfig {
    client_config_for(roots_pem, rustls::DEFAULT_VERSIONS)
}

pub fn client_config_for(
    roots_pem: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
        roots
            .add(root.expect("a PEM certificate"))
            .expect("a usable root");
    }
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .expect("the provider has these versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
