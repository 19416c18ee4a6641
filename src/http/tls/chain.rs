//! What is wrong with a chain of certificates so that EvoLink would refuse it, although this service
//! can serve it. Only the names in the certificates are compared: whether EvoLink trusts the last
//! issuer is not known here.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A fault of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// The first certificate is that of an authority.
    AuthorityFirst,
    /// There is one certificate, which nobody else signed.
    SelfSigned,
    /// There is one certificate, and that of its issuer is missing.
    IssuerMissing,
    /// The certificate of this number, counted from 1, is not followed by that of its issuer.
    Misordered(usize),
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorityFirst => f.write_str(
                "begins with the certificate of an authority (CA): put the host's own certificate first",
            ),
            Self::SelfSigned => f.write_str(
                "is signed by itself: EvoLink trusts certificates of publicly known authorities only",
            ),
            Self::IssuerMissing => f.write_str(
                "holds one certificate: append that of its issuer (the intermediate one), without which EvoLink refuses it",
            ),
            Self::Misordered(number) => write!(
                f,
                "certificate {number} is not followed by that of its issuer: put the host's own first, then its issuer's, and \
                 so on"
            ),
        }
    }
}

/// Returns the faults of `chain`, which is in the order of its file.
pub fn faults(chain: &[CertificateDer<'_>]) -> Vec<ChainFault> {
    let parsed = chain.iter().map(|der| X509Certificate::from_der(der));
    let chain: Vec<X509Certificate<'_>> = parsed.flatten().map(|(_rest, parsed)| parsed).collect();
    let mut faults = Vec::new();
    match &chain[..] {
        [leaf, ..] if leaf.is_ca() => faults.push(ChainFault::AuthorityFirst),
        [only] if only.issuer().as_raw() == only.subject().as_raw() => {
            faults.push(ChainFault::SelfSigned);
        }
        [_] => faults.push(ChainFault::IssuerMissing),
        _ => {}
    }
    let is_broken =
        |pair: &[X509Certificate<'_>]| pair[0].issuer().as_raw() != pair[1].subject().as_raw();
    let misordered = chain.windows(2).position(is_broken);
    faults.extend(misordered.map(|index| ChainFault::Misordered(index + 1)));
    faults
}
