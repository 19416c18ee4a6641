//! What `/readyz?verbose` shows of the way from EvoLink to us.

use std::sync::Arc;
use std::time::Duration;

use super::detail::Detail;
use crate::domain::timestamp::Timestamp;
use crate::http::tls::expiry::Left;
use crate::http::tls::{Listener, TlsSource};
use crate::observe::callback_path::CallbackPath;
use crate::self_test::{LastSelfTest, StepState};

/// What is known of the way from EvoLink to us.
#[derive(Clone)]
pub struct Outside {
    pub has_callbacks: bool,
    /// `None` if a proxy terminates TLS.
    pub tls: Option<Arc<TlsSource>>,
    /// The internal listener's; `None` if it has none.
    pub internal_tls: Option<Arc<TlsSource>>,
    pub callback_path: CallbackPath,
    pub self_tested: LastSelfTest,
    /// The time between two self-tests. Zero if there are none.
    pub self_test: Duration,
}

impl Outside {
    pub fn callbacks(&self, now: Timestamp) -> Detail {
        if !self.has_callbacks {
            return Detail::ok("public.mode is poll-only: outcomes are found by polling");
        }
        let path = &self.callback_path;
        if let Some(why) = path.poll_only() {
            return Detail::warning(why.as_str());
        }
        match path.seen().last_callback {
            Some(last) => {
                let seconds = now.since(last).as_secs();
                Detail::ok(format!("the last callback came {seconds} s ago"))
            }
            None => Detail::ok("no callback has come since the start"),
        }
    }

    pub fn self_test(&self, now: Timestamp) -> Detail {
        if !self.has_callbacks || self.self_test.is_zero() {
            return Detail::ok("off: see public.self_test");
        }
        let Some(tested) = self.self_tested.load() else {
            return Detail::ok("the first one is under way");
        };
        let failing = tested.steps.iter();
        let failing = failing.filter(|step| step.state == StepState::Failing);
        let failing = failing.map(|step| format!("{}: {}", step.name.into_str(), step.message));
        let failing: Vec<String> = failing.collect();
        if failing.is_empty() {
            let seconds = now.since(tested.at).as_secs();
            return Detail::ok(format!("all was good {seconds} s ago"));
        }
        Detail::failing(failing.join("; "))
    }

    /// When the certificate of the public listener expires, if there is one.
    pub fn certificate_expiry(&self) -> Option<Timestamp> {
        let tls = self.tls.as_ref().filter(|_| self.has_callbacks)?;
        Some(Timestamp::from_millis(tls.not_after().as_millisecond()))
    }

    pub fn certificate(&self) -> Detail {
        if !self.has_callbacks {
            return Detail::ok("public.mode is poll-only: there is none");
        }
        let Some(tls) = &self.tls else {
            return Detail::ok("TLS ends at a proxy, whose certificate is not known here");
        };
        validity(tls, "EvoLink's callbacks do not arrive")
    }

    /// The internal listener's certificate. `None` if it has none.
    pub fn internal_certificate(&self) -> Option<Detail> {
        let tls = self.internal_tls.as_ref()?;
        Some(validity(tls, Listener::Internal.consequence()))
    }
}

/// How long the certificate is valid. `lost` is what does not work if it is not valid now.
fn validity(tls: &TlsSource, lost: &str) -> Detail {
    let not_after = tls.not_after();
    match tls.left() {
        Left::Enough => Detail::ok(format!("valid until {not_after}")),
        Left::Days(days) => {
            Detail::warning(format!("expires in {days} days or less, at {not_after}"))
        }
        Left::Expired => Detail::failing(format!("the certificate expired at {not_after}: {lost}")),
        Left::NotYet => Detail::failing(format!(
            "the certificate is not valid before {}: {lost}",
            tls.not_before()
        )),
    }
}
