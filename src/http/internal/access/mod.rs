//! Authorization on the internal API: API keys with scopes, and sessions of the dashboard, each of
//! which stands for an API key. Without any keys, only programs on this machine are admitted.

mod host;
pub mod origin;
pub mod request_id;
pub mod request_log;
pub mod session;
pub mod wait_permits;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, header};

use super::error::ApiError;
use crate::config::{ApiKey, KeyDigest, Scope};
use crate::domain::key_use::KeyLimits;
use crate::turns;
use host::Authority;
use request_log::Authorized;
use session::Sessions;

/// The accepted API keys, and the sessions that stand for them. If there are no keys, the listener
/// is on loopback and admits every program on this machine.
/// Clones share the keys.
#[derive(Clone, Debug)]
pub struct Gate {
    keys: Arc<ArcSwap<Vec<ApiKey>>>,
    sessions: Sessions,
    /// `internal.isolate_keys`.
    isolates: bool,
}

/// The authenticated client. `name` is that of its API key; `None` if no keys are configured.
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: Option<Arc<str>>,
    pub scopes: Vec<Scope>,
    /// Its limits on submits.
    pub limits: KeyLimits,
    /// The most of its requests that may wait at the same time.
    pub max_waiting: Option<usize>,
    /// The client whose tasks it may see. `None`: it may see all.
    pub sees_only: Option<Arc<str>>,
}

impl Caller {
    /// A client of this machine, where no keys are configured.
    pub fn local() -> Self {
        Self {
            name: None,
            scopes: Scope::ALL.to_vec(),
            limits: KeyLimits {
                submits_per_second: None,
                daily_submits: None,
                daily_credits: None,
            },
            max_waiting: None,
            sees_only: None,
        }
    }

    fn of(key: &ApiKey, isolates: bool) -> Self {
        let name: Arc<str> = Arc::from(key.name.as_str());
        let is_admin = key.scopes.contains(&Scope::Admin);
        Self {
            sees_only: (isolates && !is_admin).then(|| Arc::clone(&name)),
            name: Some(name),
            scopes: key.scopes.clone(),
            limits: key.limits(),
            max_waiting: key.max_waiting,
        }
    }

    /// The key under which its work takes turns with that of others.
    pub fn key(&self) -> Arc<str> {
        self.name.clone().unwrap_or_else(|| Arc::from(""))
    }

    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// A caller, and how it is kept signed in.
#[derive(Clone, Debug)]
pub struct Admission {
    pub caller: Caller,
    pub proof: Proof,
}

/// What a request has shown.
#[derive(Clone, Debug)]
pub enum Proof {
    /// No keys are configured.
    ThisMachine,
    ApiKey,
    /// `renewal` is the cookie that makes the session last longer, if it is time for that.
    Session {
        renewal: Option<HeaderValue>,
    },
}

/// A gate together with the scope that a group of routes requires.
#[derive(Clone, Debug)]
pub struct ScopedGate {
    gate: Gate,
    /// `None` admits every key.
    scope: Option<Scope>,
}

impl ScopedGate {
    /// # Errors
    /// 401 without a known key, 403 if the key lacks the scope, or if a session changes something
    /// and does not say from which page.
    pub fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Admission, ApiError> {
        let admission = self.gate.identify(headers)?;
        let is_session = matches!(admission.proof, Proof::Session { .. });
        if is_session && !origin::is_safe(method) && !origin::is_named(headers) {
            return Err(ApiError::cross_site());
        }
        match self.scope.filter(|scope| !admission.caller.may(*scope)) {
            Some(scope) => Err(ApiError::missing_scope(scope.as_str())),
            None => Ok(admission),
        }
    }
}

impl Gate {
    /// `isolates`: whether each key sees only its own tasks.
    pub fn new(keys: Vec<ApiKey>, sessions: Sessions, isolates: bool) -> Self {
        let keys = Arc::new(ArcSwap::from_pointee(keys));
        Self {
            keys,
            sessions,
            isolates,
        }
    }

    /// Returns the accepted keys.
    pub fn keys(&self) -> Arc<Vec<ApiKey>> {
        self.keys.load_full()
    }

    /// Accepts these keys from now on. Requests that were admitted go on.
    pub fn replace(&self, keys: Vec<ApiKey>) {
        self.keys.store(Arc::new(keys));
    }

    pub fn for_scope(&self, scope: Scope) -> ScopedGate {
        ScopedGate {
            gate: self.clone(),
            scope: Some(scope),
        }
    }

    /// Requires a key, whatever its scopes are.
    pub fn for_any_scope(&self) -> ScopedGate {
        ScopedGate {
            gate: self.clone(),
            scope: None,
        }
    }

    pub fn has_keys(&self) -> bool {
        !self.keys.load().is_empty()
    }

    /// Returns the cookie of a new session that stands for the API key `text`.
    ///
    /// # Errors
    /// 401 if there is no such key, or if it is disabled or has expired.
    pub fn sign_in(&self, text: &str) -> Result<HeaderValue, ApiError> {
        let keys = self.keys.load();
        let key = find(&keys, text).ok_or_else(ApiError::unauthorized)?;
        self.check(key)?;
        Ok(self.sessions.begin(key))
    }

    /// Returns the cookie that makes a browser forget its session.
    pub fn sign_out(&self) -> HeaderValue {
        self.sessions.end()
    }

    /// Returns who sends the request, whatever its scopes.
    ///
    /// # Errors
    /// 401 without a known key and without a session, or if the key is disabled or has expired.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Admission, ApiError> {
        let keys = self.keys.load();
        if keys.is_empty() {
            return Ok(Admission {
                caller: Caller::local(),
                proof: Proof::ThisMachine,
            });
        }
        // A request that names an API key is never admitted for another reason.
        let (key, proof) = if headers.contains_key(header::AUTHORIZATION) {
            let text = bearer(headers).ok_or_else(ApiError::unauthorized)?;
            (find(&keys, text), Proof::ApiKey)
        } else {
            let session = self.sessions.find(headers, &keys);
            let (key, renewal) = session.ok_or_else(ApiError::unauthorized)?;
            (Some(key), Proof::Session { renewal })
        };
        let key = key.ok_or_else(ApiError::unauthorized)?;
        self.check(key)?;
        Ok(Admission {
            caller: Caller::of(key, self.isolates),
            proof,
        })
    }

    /// # Errors
    /// 401 if the key is disabled or has expired.
    fn check(&self, key: &ApiKey) -> Result<(), ApiError> {
        if key.disabled {
            return Err(ApiError::key_not_valid("is disabled"));
        }
        let now = self.sessions.clock.wall_now();
        if let Some(end) = key.expires_at.filter(|end| *end <= now) {
            return Err(ApiError::key_not_valid(&format!("expired at {end}")));
        }
        Ok(())
    }
}

/// Compares every key, each in constant time, so that the response time reveals nothing.
fn find<'a>(keys: &'a [ApiKey], text: &str) -> Option<&'a ApiKey> {
    let digest = KeyDigest::of(text);
    let known = keys.iter().filter(|key| key.sha256.matches(&digest));
    known.fold(None, |_, key| Some(key))
}

/// Without API keys, answers 403 to every request whose `Host`, or whose absolute target, is not a
/// loopback name or address.
///
/// This prevents DNS rebinding. A page in a local browser can make its own domain name resolve to
/// this machine, but it cannot choose the `Host` header: the browser sends that domain name.
pub async fn require_loopback_host(
    State(gate): State<Gate>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let is_loopback = |request: &Request| {
        host::targets(request).is_some_and(|hosts| hosts.iter().all(Authority::is_loopback))
    };
    if gate.keys.load().is_empty() && !is_loopback(&request) {
        return Err(ApiError::foreign_host());
    }
    Ok(next.run(request).await)
}

/// Adds the `Caller` to an authorized request. Otherwise answers 401 or 403 before the handler
/// runs.
pub async fn require(
    State(scoped): State<ScopedGate>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Admission { caller, proof } = scoped.admit(request.method(), request.headers())?;
    let key = caller.key();
    request.extensions_mut().insert(caller);
    let mut response = turns::working_for(key, next.run(request)).await;
    proof.mark(&mut response);
    Ok(response)
}

impl Proof {
    /// Marks the answer to an authorized request, and renews the session.
    pub fn mark(self, response: &mut Response) {
        response.extensions_mut().insert(Authorized);
        if let Self::Session {
            renewal: Some(cookie),
        } = self
            && !response.headers().contains_key(header::SET_COOKIE)
        {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(key.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_key_is_a_bearer_token() {
        let key = |value: &str| bearer(&headers(header::AUTHORIZATION, value)).map(str::to_owned);
        assert_eq!(key("Bearer k"), Some("k".to_owned()));
        assert_eq!(key("bearer k"), Some("k".to_owned()));
        assert_eq!((key("Basic k"), key("k"), key("")), (None, None, None));
    }
}
