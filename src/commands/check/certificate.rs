//! Checks the public listener's certificate: whether the service could use it, and how long it is
//! valid.

use std::path::Path;

use jiff::Timestamp;

use super::files::will_be_made;
use super::found;
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
                    let mut findings = vec![lasts(&source, cert, clock)];
                    findings.extend(other_names(&source, cert, public));
                    findings
                }
                Err(error) => vec![found(Level::Error, "public.tls", error.to_string())],
            }
        }
        TlsMode::SelfSigned => vec![self_signed(&tls.self_signed_dir, clock)],
    }
}

/// Warns if EvoLink would not accept the certificate, because it is for other names than the one
/// that EvoLink calls.
fn other_names(source: &TlsSource, cert: &Path, public: &Public) -> Option<Finding> {
    let host = public.base_url.host_str()?.trim_matches(['[', ']']);
    if source.is_for(host) {
        return None;
    }
    let message = format!(
        "{}: is not for {host}, the host of public.base_url: EvoLink will refuse it, and callbacks will not arrive",
        cert.display()
    );
    Some(found(Level::Warning, "public.tls", message))
}

fn self_signed(folder: &Path, clock: &Clock) -> Finding {
    let (cert, key) = TlsSource::self_signed_files(folder);
    if !(cert.exists() && key.exists()) {
        return will_be_made("public.tls.self_signed_dir", &cert);
    }
    match TlsSource::from_files(&cert, &key, clock.clone()) {
        Ok(source) => lasts(&source, &cert, clock),
        Err(error) => {
            let message = format!("{error}; the start makes a new pair");
            found(Level::Warning, "public.tls.self_signed_dir", message)
        }
    }
}

fn lasts(source: &TlsSource, cert: &Path, clock: &Clock) -> Finding {
    let (file, not_after) = (cert.display(), source.not_after());
    let now = Timestamp::from_millisecond(clock.wall_now().as_millis()).unwrap_or(Timestamp::MAX);
    match Left::until(not_after, now) {
        Left::Enough => Finding::ok("public.tls", format!("{file}: valid until {not_after}")),
        Left::Expired => {
            let message = format!("{file}: expired at {not_after}");
            found(Level::Error, "public.tls", message)
        }
        Left::Days(1) => {
            let message = format!("{file}: expires within a day, at {not_after}");
            found(Level::Warning, "public.tls", message)
        }
        Left::Days(days) => {
            let message = format!("{file}: expires within {days} days, at {not_after}");
            found(Level::Warning, "public.tls", message)
        }
    }
}
