//! Sessions of the dashboard. A browser cannot send an API key with each page and picture, so it
//! gets a cookie that stands for the key.
//!
//! A session is a signed text and is stored nowhere. So it survives a restart, every replica with
//! the same key ring accepts it, and no number of them takes memory. The cookie contains neither
//! the key nor its hash: its signature covers the hash, so it is valid for that key alone, and ends
//! when the key is no longer configured.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use crate::clock::Clock;
use crate::config::{ApiKey, KeyDigest};
use crate::domain::callback::KeyRing;
use crate::domain::timestamp::Timestamp;

/// How long a session lasts without requests.
const IDLE_MAX: Duration = Duration::from_hours(1);

/// How long a session lasts in all. Then its key must be given again.
const LIFETIME_MAX: Duration = Duration::from_hours(12);

/// A session that is older than this gets a new cookie with the next answer.
const RENEWED_AFTER: Duration = Duration::from_mins(5);

/// How far the clock of the replica that made the cookie may be ahead of ours.
const CLOCK_AHEAD_MAX: Duration = Duration::from_mins(1);

/// Cookies are not separated by port. So a session of another receiver on this host may have the
/// same name; it does not verify here, and one of the two has to sign in again.
const NAME: &str = "evolink_receiver_session";

/// Browsers accept this prefix only from https, for the whole host, and not from a subdomain.
const NAME_ON_HTTPS: &str = "__Host-evolink_receiver_session";

/// How browsers reach the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Http,
    Https,
}

/// Makes and verifies sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub key_ring: Arc<KeyRing>,
    pub clock: Clock,
    pub transport: Transport,
}

/// The two times of a session, in seconds of the system's clock.
#[derive(Clone, Copy, Debug)]
struct Times {
    signed_in: i64,
    renewed: i64,
}

impl Sessions {
    /// Returns the cookie of a new session for `key`.
    pub fn begin(&self, key: &ApiKey) -> HeaderValue {
        let now = self.clock.wall_now().as_seconds();
        let times = Times {
            signed_in: now,
            renewed: now,
        };
        self.cookie(times, key)
    }

    /// Returns the cookie that deletes a session.
    pub fn end(&self) -> HeaderValue {
        self.set_cookie("", Duration::ZERO)
    }

    /// Returns the key that the request's session stands for. Also the cookie that makes the
    /// session last longer, if it is time for that.
    pub fn find<'a>(
        &self,
        headers: &HeaderMap,
        keys: &'a [ApiKey],
    ) -> Option<(&'a ApiKey, Option<HeaderValue>)> {
        let (times, signature) = parse(cookie(headers, self.name())?)?;
        let now = self.clock.wall_now();
        if !times.is_valid(now) {
            return None;
        }
        // The signature says which key it is. Every key is compared, so that the time reveals
        // nothing.
        let is_of = |key: &&ApiKey| {
            let text = times.text(&key.sha256);
            self.key_ring.is_session(&text, signature)
        };
        let key = keys.iter().filter(is_of).fold(None, |_, key| Some(key))?;
        let renewed = Timestamp::from_millis(times.renewed.saturating_mul(1000));
        let renewal = (now.since(renewed) >= RENEWED_AFTER).then(|| {
            let renewed = now.as_seconds();
            self.cookie(Times { renewed, ..times }, key)
        });
        Some((key, renewal))
    }

    fn cookie(&self, times: Times, key: &ApiKey) -> HeaderValue {
        let signature = self.key_ring.sign_session(&times.text(&key.sha256));
        let Times { signed_in, renewed } = times;
        let value = format!("{signed_in}.{renewed}.{signature}");
        self.set_cookie(&value, IDLE_MAX)
    }

    fn set_cookie(&self, value: &str, lifetime: Duration) -> HeaderValue {
        let (name, seconds) = (self.name(), lifetime.as_secs());
        let secure = match self.transport {
            Transport::Http => "",
            Transport::Https => "; Secure",
        };
        let text =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(text).expect("digits, dots and base64 are header values")
    }

    const fn name(&self) -> &'static str {
        match self.transport {
            Transport::Http => NAME,
            Transport::Https => NAME_ON_HTTPS,
        }
    }
}

impl Times {
    /// The text that is signed.
    fn text(self, key: &KeyDigest) -> String {
        let Self { signed_in, renewed } = self;
        format!("{signed_in}.{renewed}.{key}")
    }

    fn is_valid(self, now: Timestamp) -> bool {
        let now = now.as_seconds();
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let is_past = |time: i64| time <= now.saturating_add(seconds(CLOCK_AHEAD_MAX));
        let is_within = |time: i64, most| now.saturating_sub(time) < seconds(most) && is_past(time);
        is_within(self.signed_in, LIFETIME_MAX) && is_within(self.renewed, IDLE_MAX)
    }
}

/// The value of the cookie `name`. The first counts, as everywhere.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

fn parse(value: &str) -> Option<(Times, &str)> {
    let mut parts = value.splitn(3, '.');
    let (signed_in, renewed, signature) = (parts.next()?, parts.next()?, parts.next()?);
    // Only our own spelling is accepted, so no sign.
    let is_digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| Some(text).filter(is_digits)?.parse().ok();
    let times = Times {
        signed_in: number(signed_in)?,
        renewed: number(renewed)?,
    };
    Some((times, signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scope;

    const START: Timestamp = Timestamp::from_millis(1_757_165_031_000);

    fn sessions() -> Sessions {
        Sessions {
            key_ring: Arc::new(KeyRing::parse(&format!("k1 {}\n", "ab".repeat(32))).unwrap()),
            clock: Clock::manual(START),
            transport: Transport::Http,
        }
    }

    fn key(text: &str) -> ApiKey {
        ApiKey::new(text, KeyDigest::of(text), &[Scope::Read])
    }

    /// The request of a browser that has stored `cookie`.
    fn request(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        let all = format!("other=1; {pair}; last=2");
        HeaderMap::from_iter([(header::COOKIE, all.parse().unwrap())])
    }

    fn name_of(sessions: &Sessions, headers: &HeaderMap, keys: &[ApiKey]) -> Option<String> {
        let (key, _) = sessions.find(headers, keys)?;
        Some(key.name.clone())
    }

    #[test]
    fn a_session_stands_for_its_key_and_ends_with_it() {
        let (sessions, keys) = (sessions(), [key("first"), key("second")]);
        let cookie = sessions.begin(&keys[1]);
        let request = request(&cookie);
        assert_eq!(
            name_of(&sessions, &request, &keys).as_deref(),
            Some("second")
        );
        assert_eq!(name_of(&sessions, &request, &keys[..1]), None);
        let text = cookie.to_str().unwrap();
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600"] {
            assert!(text.contains(attribute), "{text}");
        }
        assert!(!text.contains("Secure"), "{text}");
        let hash = keys[1].sha256.to_string();
        assert!(!text.contains(&hash) && !text.contains("second"), "{text}");
    }

    #[test]
    fn on_https_the_cookie_is_secure_and_of_this_host() {
        let sessions = Sessions {
            transport: Transport::Https,
            ..sessions()
        };
        let cookie = sessions.begin(&key("first"));
        let text = cookie.to_str().unwrap();
        assert!(
            text.starts_with("__Host-") && text.ends_with("; Secure"),
            "{text}"
        );
    }

    #[test]
    fn it_ends_after_an_hour_without_requests_and_after_twelve_in_any_case() {
        let (sessions, keys) = (sessions(), [key("first")]);
        let mut cookie = sessions.begin(&keys[0]);
        let almost = Duration::from_mins(59);
        for hour in 0..13 {
            let found = sessions.find(&request(&cookie), &keys);
            let lasts = Duration::from_mins(59) * hour < LIFETIME_MAX;
            assert_eq!(found.is_some(), lasts, "{hour}");
            let Some((_, renewal)) = found else { break };
            cookie = renewal.unwrap_or(cookie);
            sessions.clock.advance(almost);
        }
        let cookie = sessions.begin(&keys[0]);
        sessions.clock.advance(IDLE_MAX);
        assert!(sessions.find(&request(&cookie), &keys).is_none());
    }

    #[test]
    fn no_changed_cookie_is_a_session() {
        let (sessions, keys) = (sessions(), [key("first")]);
        let cookie = sessions.begin(&keys[0]);
        let value = cookie.to_str().unwrap().split(['=', ';']).nth(1).unwrap();
        let (times, signature) = value.rsplit_once('.').unwrap();
        let later = START.as_seconds() + 30;
        for forged in [
            format!("{}.{later}.{signature}", START.as_seconds()),
            format!("{later}.{later}.{signature}"),
            format!("{times}.{}", &signature[1..]),
            format!("{times}."),
            times.to_owned(),
            format!("+{value}"),
            format!("-1.{value}"),
            String::new(),
        ] {
            let header = format!("{NAME}={forged}").parse().unwrap();
            let headers = HeaderMap::from_iter([(header::COOKIE, header)]);
            assert!(sessions.find(&headers, &keys).is_none(), "{forged}");
        }
    }
}
