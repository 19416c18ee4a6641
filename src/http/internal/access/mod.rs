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
use crate::config::{ApiKey, KeyDigest, Scope};
use host::Authority;
use request_log::Authorized;

/// The accepted API keys. If there are none, the listener is on loopback and admits every program
/// on this machine.
/// Clones share the keys.
#[derive(Clone, Debug)]
pub struct Gate {
    keys: Arc<ArcSwap<Vec<ApiKey>>>,
}

/// The authenticated client. `name` is that of its API key; `None` if no keys are configured.
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: Option<String>,
    /// Whether it has the scope `read`.
    pub may_read: bool,
}

/// A gate together with the scope that a group of routes requires.
#[derive(Clone, Debug)]
pub struct ScopedGate {
    gate: Gate,
    scope: Scope,
}

impl ScopedGate {
    /// # Errors
    /// 401 without a known key, 403 if the key lacks the scope.
    pub fn admit(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        self.gate.admit(headers, self.scope)
    }
}

impl Gate {
    pub fn new(keys: Vec<ApiKey>) -> Self {
        let keys = Arc::new(ArcSwap::from_pointee(keys));
        Self { keys }
    }

    /// Accepts these keys from now on. Requests that were admitted go on.
    pub fn replace(&self, keys: Vec<ApiKey>) {
        self.keys.store(Arc::new(keys));
    }

    pub fn for_scope(&self, scope: Scope) -> ScopedGate {
        ScopedGate {
            gate: self.clone(),
            scope,
        }
    }

    fn admit(&self, headers: &HeaderMap, scope: Scope) -> Result<Caller, ApiError> {
        let keys = self.keys.load();
        if keys.is_empty() {
            return Ok(Caller {
                name: None,
                may_read: true,
            });
        }
        let digest = KeyDigest::of(bearer(headers).ok_or_else(ApiError::unauthorized)?);
        // Compare every key, each in constant time, so that the response time reveals nothing.
        let known = keys
            .iter()
            .filter(|key| key.sha256.matches(&digest))
            .fold(None, |_, key| Some(key));
        let key = known.ok_or_else(ApiError::unauthorized)?;
        if !key.scopes.contains(&scope) {
            return Err(ApiError::missing_scope(scope.as_str()));
        }
        Ok(Caller {
            name: Some(key.name.clone()),
            may_read: key.scopes.contains(&Scope::Read),
        })
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
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
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
