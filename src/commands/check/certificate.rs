//! Checks the public listener's certificate: whether the service could use it, and how long it is
//! valid.

use std::path::Path;

use super::files::will_be_made;
use super::found;
use super::secrets::readable_by_others;
use crate::clock::Clock;
use crate::config::{Finding, Level, Public, TlsMode};
use crate::http::tls::TlsSource;
use crate::http::tls::expiry::Left;

/// Returns nothing if the findings about the configuration already cover it.
pub(super) fn certificate(public: &Public, clock: &Clock) -> Vec<Finding> {
    if !public.has_callbacks() {
        let message = "poll-only: no callback URL is attached, and no certificate is needed";
        return vec![Finding::ok("public.mode", message)];
    }
    let tls = &public.tls;
    match tls.mode {
        TlsMode::Off => vec![Finding::ok("public.tls.mode", "off: a proxy ends TLS")],
        TlsMode::Acme => Vec::new(),
        TlsMode::Files => {
            let (Some(cert), Some(key)) = (tls.cert_file.as_deref(), tls.key_file.as_deref())
            else {
                return Vec::new();
            };
            match TlsSource::from_files(cert, key, clock.clone()) {
                Ok(source) => {
                    let mut findings = vec![lasts(&source, cert)];
                    findings.extend(faults(&source, cert, public));
                    findings.extend(readable_by_others("public.tls.key_file", key));
                    findings
                }
                Err(error) => vec![found(Level::Error, "public.tls", error.to_string())],
            }
        }
        TlsMode::SelfSigned => vec![self_signed(&tls.self_signed_dir, clock)],
    }
}

/// Warns if EvoLink would not accept the certificate.
fn faults(source: &TlsSource, cert: &Path, public: &Public) -> Vec<Finding> {
    let host = public.base_url.host_str().unwrap_or_default();
    let faults = source.faults(host.trim_matches(['[', ']']));
    let said = |fault| {
        found(
            Level::Warning,
            "public.tls",
            format!("{}: {fault}", cert.display()),
        )
    };
    faults.into_iter().map(said).collect()
}

fn self_signed(folder: &Path, clock: &Clock) -> Finding {
    let (cert, key) = TlsSource::self_signed_files(folder);
    if !(cert.exists() && key.exists()) {
        return will_be_made("public.tls.self_signed_dir", &cert);
    }
    match TlsSource::from_files(&cert, &key, clock.clone()) {
        Ok(source) => match source.left() {
            Left::Enough | Left::Days(_) => lasts(&source, &cert),
            Left::Expired | Left::NotYet => {
                let message = format!(
                    "{}: is not valid now; the start makes a new pair",
                    cert.display()
                );
                found(Level::Warning, "public.tls.self_signed_dir", message)
            }
        },
        Err(error) => {
            let message = format!("{error}; the start makes a new pair");
            found(Level::Warning, "public.tls.self_signed_dir", message)
        }
    }
}

fn lasts(source: &TlsSource, cert: &Path) -> Finding {
    const LOST: &str = "callbacks do not arrive, and outcomes are found by polling";
    let (file, not_after) = (cert.display(), source.not_after());
    let (level, message) = match source.left() {
        Left::Enough => (Level::Ok, format!("{file}: valid until {not_after}")),
        Left::Expired => {
            let message = format!(
                "the certificate in {file} expired at {not_after}: {LOST} until it is renewed"
            );
            (Level::Error, message)
        }
        Left::NotYet => {
            let not_before = source.not_before();
            let message = format!(
                "the certificate in {file} is not valid before {not_before}: until then {LOST}"
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
    found(level, "public.tls", message)
}
