//! Whether a callback that is sent to the public URL reaches us.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Client, Response, redirect};
use rustls::CertificateError;
use serde::Deserialize;
use url::Url;

use super::{Step, StepName};
use crate::clock::Clock;
use crate::domain::callback::KeyRing;
use crate::domain::callback::probe::Probe;
use crate::evolink::USER_AGENT;
use crate::observe::untrusted::Untrusted;

/// EvoLink hangs up after 10 s, too.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Our own answer has a hundred bytes.
const ANSWER_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
struct Answer {
    proof: String,
}

pub async fn tls_and_route(base_url: &Url, key_ring: Option<&KeyRing>, clock: &Clock) -> [Step; 2] {
    let Some(key_ring) = key_ring else {
        let message = "there is no key ring yet: start the service once";
        return [StepName::Tls, StepName::Route].map(|name| Step::skipped(name, message));
    };
    let probe = key_ring.probe(clock.now(), fastrand::u32(..));
    let sent = match client() {
        Ok(client) => {
            let base_url = base_url.as_str().trim_end_matches('/');
            let url = format!("{base_url}/callbacks/{}", probe.token);
            client.post(url).send().await
        }
        Err(error) => Err(error),
    };
    match sent {
        Ok(response) => [
            Step::ok(StepName::Tls, "the certificate is one that EvoLink accepts"),
            route(response, &probe).await,
        ],
        Err(error) => {
            let name = StepName::Route;
            let skipped = |what| Step::skipped(name, format!("not tested: {what}"));
            match certificate_fault(&error) {
                Some(fault) => [
                    Step::failing(StepName::Tls, advice(fault)),
                    skipped("the certificate is not accepted"),
                ],
                None => [
                    Step::failing(StepName::Tls, not_reached(&error)),
                    skipped("the public URL was not reached"),
                ],
            }
        }
    }
}

/// Trusts what the system trusts, as EvoLink would.
fn client() -> reqwest::Result<Client> {
    let builder = Client::builder().user_agent(USER_AGENT).timeout(TIMEOUT);
    builder
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
}

/// Judges the answer to the probe.
async fn route(response: Response, probe: &Probe) -> Step {
    let name = StepName::Route;
    let status = response.status();
    let advice = match status.as_u16() {
        200 => {
            return if is_proof(response, probe).await {
                Step::ok(name, "a probe reached a receiver with this key ring")
            } else {
                Step::failing(name, "something else answers at public.base_url")
            };
        }
        300..=399 => {
            let location = response.headers().get(LOCATION);
            let location = location.map_or("?".into(), |to| String::from_utf8_lossy(to.as_bytes()));
            format!(
                "a redirect to {}. EvoLink follows none: put the final address into public.base_url",
                Untrusted(&location)
            )
        }
        401 | 403 => "something in front wants credentials, and EvoLink has none".to_owned(),
        404 => "another service, a receiver with another key ring or another clock, or a proxy that changes paths"
            .to_owned(),
        502..=504 => "a proxy in front does not reach the receiver: is it running?".to_owned(),
        _ => "something in front does not pass callbacks on".to_owned(),
    };
    Step::failing(name, format!("it answered {}: {advice}", status.as_u16()))
}

async fn is_proof(mut response: Response, probe: &Probe) -> bool {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return false;
        }
    }
    serde_json::from_slice(&body).is_ok_and(|answer: Answer| answer.proof == probe.proof)
}

/// Why the certificate is not accepted. `None` if that is not the reason of the error.
fn certificate_fault(error: &reqwest::Error) -> Option<&CertificateError> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(fault)) = error.downcast_ref() {
            return Some(fault);
        }
        next = inner(error);
    }
    None
}

/// The cause of an error. That of an I/O error is the error that it wraps, which `source` skips.
fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapping) => wrapping.get_ref().map(|inner| inner as _),
        None => error.source(),
    }
}

fn advice(fault: &CertificateError) -> String {
    match fault {
        CertificateError::UnknownIssuer => {
            "the issuer of the certificate is not known to this system, and hardly to EvoLink: is the chain complete? The file has the leaf first, then its intermediates. A self-signed certificate is never accepted"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is not for the host of public.base_url".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired: renew it".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet: look at the clock".to_owned()
        }
        other => format!("the certificate is not accepted: {other}"),
    }
}

fn not_reached(error: &reqwest::Error) -> String {
    let mut last = error.source();
    while let Some(next) = last.and_then(inner) {
        last = Some(next);
    }
    let cause = last.map_or_else(|| "no answer".to_owned(), ToString::to_string);
    let cause = if error.is_timeout() {
        "timed out".to_owned()
    } else {
        cause
    };
    format!(
        "public.base_url was not reached from this machine ({cause}): is the service running? Look at the port, the firewall and the proxy. Some networks let no machine reach its own public address: then try from outside"
    )
}
