//! Authorization on the internal API: API keys with scopes. Without any keys, only programs on this
//! machine are admitted.

mod host;
pub mod origin;
pub mod request_id;
pub mod request_log;
pub mod wait_permits;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, header};

use super::error::ApiError;
use crate::clock::Clock;
use crate::config::{ApiKey, KeyDigest, Scope};
use crate::domain::key_use::KeyLimits;
use crate::turns;
use host::Authority;
use request_log::Authorized;

/// The accepted API keys. If there are none, the listener is on loopback and admits every program
/// on this machine.
/// Clones share the keys.
#[derive(Clone, Debug)]
pub struct Gate {
    keys: Arc<ArcSwap<Vec<ApiKey>>>,
    clock: Clock,
    /// `internal.isolate_keys`.
    isolates: bool,
}

/// The authenticated client. `name` is that of its API key; `None` if no keys are configured.
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: Option<Arc<str>>,
    /// Whether it has the scope `read`.
    pub may_read: bool,
    /// Whether it has the scope `admin`.
    pub is_admin: bool,
    /// Its limits on submits.
    pub limits: KeyLimits,
    /// The most of its requests that may wait at the same time.
    pub max_waiting: Option<usize>,
    /// The client whose tasks it may see. `None`: it may see all.
    pub sees_only: Option<Arc<str>>,
}

impl Caller {
    /// A client of this machine, where no keys are configured.
    pub const fn local() -> Self {
        Self {
            name: None,
            may_read: true,
            is_admin: true,
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
            may_read: key.scopes.contains(&Scope::Read),
            is_admin,
            limits: key.limits(),
            max_waiting: key.max_waiting,
        }
    }

    /// The key under which its work takes turns with that of others.
    pub fn key(&self) -> Arc<str> {
        self.name.clone().unwrap_or_else(|| Arc::from(""))
    }
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
    /// 401 without a known key, 403 if the key lacks the scope.
    pub fn admit(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        self.gate.admit(headers, self.scope)
    }
}

impl Gate {
    /// `isolates`: whether each key sees only its own tasks.
    pub fn new(keys: Vec<ApiKey>, clock: Clock, isolates: bool) -> Self {
        let keys = Arc::new(ArcSwap::from_pointee(keys));
        Self {
            keys,
            clock,
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

    fn admit(&self, headers: &HeaderMap, scope: Option<Scope>) -> Result<Caller, ApiError> {
        let keys = self.keys.load();
        if keys.is_empty() {
            return Ok(Caller::local());
        }
        let digest = KeyDigest::of(bearer(headers).ok_or_else(ApiError::unauthorized)?);
        // Compare every key, each in constant time, so that the response time reveals nothing.
        let known = keys
            .iter()
            .filter(|key| key.sha256.matches(&digest))
            .fold(None, |_, key| Some(key));
        let key = known.ok_or_else(ApiError::unauthorized)?;
        if key.disabled {
            return Err(ApiError::key_not_valid("is disabled"));
        }
        if let Some(end) = key.expires_at.filter(|end| *end <= self.clock.wall_now()) {
            return Err(ApiError::key_not_valid(&format!("expired at {end}")));
        }
        if let Some(scope) = scope.filter(|scope| !key.scopes.contains(scope)) {
            return Err(ApiError::missing_scope(scope.as_str()));
        }
        Ok(Caller::of(key, self.isolates))
    }
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
    let caller = scoped.admit(request.headers())?;
    let key = caller.key();
    request.extensions_mut().insert(caller);
    let mut response = turns::working_for(key, next.run(request)).await;
    response.extensions_mut().insert(Authorized);
    Ok(response)
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
