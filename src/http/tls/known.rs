//! TLS of commands that run on the service's own machine. They know the certificate from the
//! service's configuration, so its names, dates and issuer need not be checked.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::TlsError;
use crate::secret_file::shown_path;

/// The certificate that a client accepts.
#[derive(Clone, Debug)]
pub enum Known {
    /// This one.
    Certificate(CertificateDer<'static>),
    /// Any. Only for a client that sends nothing secret and believes no more than "ready".
    Any,
}

impl Known {
    /// The leaf in the file, which is the first certificate.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate.
    pub fn in_file(file: &Path) -> Result<Self, TlsError> {
        let pem = std::fs::read(file).map_err(|source| TlsError::Read {
            file: shown_path(file),
            source,
        })?;
        match CertificateDer::pem_slice_iter(&pem).next() {
            Some(Ok(certificate)) => Ok(Self::Certificate(certificate)),
            Some(Err(_)) | None => Err(TlsError::NoCertificate {
                file: file.to_owned(),
            }),
        }
    }

    /// A client's configuration that accepts this certificate only.
    ///
    /// # Errors
    /// The cryptography in use has no protocol version in common with TLS 1.2 and 1.3.
    pub fn client_config(self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(default_provider());
        let verifier = Verifier {
            known: self,
            provider: Arc::clone(&provider),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(config)
    }
}

#[derive(Debug)]
struct Verifier {
    known: Known,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.known {
            Known::Certificate(known) if known != end_entity => Err(Error::General(
                "the certificate is not the one in the file that the configuration names".into(),
            )),
            Known::Certificate(_) | Known::Any => Ok(ServerCertVerified::assertion()),
        }
    }

    // The handshake proves that the server has the certificate's key.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
