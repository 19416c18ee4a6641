//! Checks the certificates of the listeners: whether the service could use them, and how long
//! they are valid.

use std::path::Path;

use super::files::will_be_made;
use super::found;
use super::secrets::readable_by_others;
use crate::clock::Clock;
use crate::config::{Finding, Internal, Level, Public, Tls, TlsMode};
use crate::http::tls::expiry::Left;
use crate::http::tls::{Listener, TlsSource};

/// Returns nothing if the findings about the configuration already cover it.
pub(super) fn certificate(public: &Public, clock: &Clock) -> Vec<Finding> {
    if !public.has_callbacks() {
        let message = "poll-only: no callback URL is attached, and no certificate is needed";
        return vec![Finding::ok("public.mode", message)];
    }
    let of = Of {
        listener: Listener::Public,
        tls: &public.tls,
        host: public.base_url.host_str(),
        off: "off: a proxy ends TLS",
    };
    of.findings(clock)
}

/// The same for the internal listener.
pub(super) fn internal_certificate(internal: &Internal, clock: &Clock) -> Vec<Finding> {
    let of = Of {
        listener: Listener::Internal,
        tls: &internal.tls,
        host: internal.base_url.as_ref().and_then(|url| url.host_str()),
        off: "off: apps call over http",
    };
    of.findings(clock)
}

/// A certificate of the configuration.
struct Of<'a> {
    listener: Listener,
    tls: &'a Tls,
    /// The host that clients call, if it is known.
    host: Option<&'a str>,
    /// What mode `off` means.
    off: &'a str,
}

impl Of<'_> {
    fn findings(&self, clock: &Clock) -> Vec<Finding> {
        let tls = self.tls;
        match tls.mode {
            TlsMode::Off => vec![Finding::ok(self.key(".mode"), self.off)],
            TlsMode::Acme => Vec::new(),
            TlsMode::Files => {
                let (Some(cert), Some(key)) = (tls.cert_file.as_deref(), tls.key_file.as_deref())
                else {
                    return Vec::new();
                };
                match TlsSource::from_files(cert, key, clock.clone()) {
                    Ok(source) => {
                        let source = source.of(self.listener);
                        let mut findings = vec![self.lasts(&source, cert)];
                        findings.extend(self.faults(&source, cert));
                        findings.extend(readable_by_others(&self.key(".key_file"), key));
                        findings
                    }
                    Err(error) => vec![found(Level::Error, self.key(""), error.to_string())],
                }
            }
            TlsMode::SelfSigned => vec![self.self_signed(clock)],
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.tls{name}", self.listener.as_str())
    }

    /// Warns if clients would not accept the certificate.
    fn faults(&self, source: &TlsSource, cert: &Path) -> Vec<Finding> {
        let host = self.host.map(|host| host.trim_matches(['[', ']']));
        let said = |fault| {
            let message = format!("{}: {fault}", cert.display());
            found(Level::Warning, self.key(""), message)
        };
        source.faults(host).into_iter().map(said).collect()
    }

    fn self_signed(&self, clock: &Clock) -> Finding {
        let key = self.key(".self_signed_dir");
        let folder = &self.tls.self_signed_dir;
        let (cert, key_file) = self.listener.self_signed_files(folder);
        if !(cert.exists() && key_file.exists()) {
            return will_be_made(&key, &cert);
        }
        match TlsSource::from_files(&cert, &key_file, clock.clone()) {
            Ok(source) => match source.left() {
                Left::Enough | Left::Days(_) => self.lasts(&source, &cert),
                Left::Expired | Left::NotYet => {
                    let message = format!(
                        "{}: is not valid now; the start makes a new pair",
                        cert.display()
                    );
                    found(Level::Warning, key, message)
                }
            },
            Err(error) => {
                let message = format!("{error}; the start makes a new pair");
                found(Level::Warning, key, message)
            }
        }
    }

    fn lasts(&self, source: &TlsSource, cert: &Path) -> Finding {
        let (file, not_after) = (cert.display(), source.not_after());
        let lost = self.listener.consequence();
        let (level, message) = match source.left() {
            Left::Enough => (Level::Ok, format!("{file}: valid until {not_after}")),
            Left::Expired => {
                let message = format!(
                    "the certificate in {file} expired at {not_after}: {lost} until it is renewed"
                );
                (Level::Error, message)
            }
            Left::NotYet => {
                let not_before = source.not_before();
                let message = format!(
                    "the certificate in {file} is not valid before {not_before}: until then {lost}"
                );
                (Level::Error, message)
            }
            Left::Days(1) => (
                Level::Warning,
                format!("{file}: expires within a day, at {not_after}"),
            ),
            Left::Days(days) => {
                let message = format!("{file}: expires within {days} days, at {not_after}");
                (Level::Warning, message)
            }
        };
        found(level, self.key(""), message)
    }
}
