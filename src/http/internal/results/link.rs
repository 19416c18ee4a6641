//! Signed links: with one, a browser can open a result file without an API key.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Serialize;

use super::{file_of, parse_number};
use crate::clock::Clock;
use crate::domain::callback::KeyRing;
use crate::domain::timestamp::Timestamp;
use crate::http::internal::InternalState;
use crate::http::internal::access::{Admission, Caller, Proof, ScopedGate};
use crate::http::internal::error::ApiError;
use crate::http::internal::tasks;
use crate::turns;

/// The caller of all links. So links together share the waiting permits of one caller.
const CALLER: &str = "(link)";

/// A signed link.
#[derive(Debug, Serialize)]
pub struct Link {
    url: String,
    expires_at: Timestamp,
}

/// Admits an API key or a signed link.
#[derive(Clone, Debug)]
pub struct LinkGate {
    pub keys: ScopedGate,
    /// `None` if no results are archived.
    pub key_ring: Option<Arc<KeyRing>>,
    pub clock: Clock,
}

/// Creates a link to a result file, which may be archived only later.
pub async fn create(
    State(state): State<InternalState>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Link>, ApiError> {
    let archive = state
        .archive
        .clone()
        .ok_or_else(ApiError::archive_disabled)?;
    let Path((id, number)) = path.map_err(|_| ApiError::invalid_task_id())?;
    let number = parse_number(&number)?;
    let view = tasks::find(&state, &caller, Some(Path(id))).await?;
    if !view.files.is_empty() {
        file_of(&view, number)?;
    }
    let id = view.record.task.submission_id;
    // The link is used outside this process, so its expiry is in the system's time.
    let expires_at = state.clock.wall_now().after(archive.link_lifetime);
    let expires = expires_at.as_seconds();
    let signature =
        archive
            .key_ring
            .sign_link(&text(&id.to_string(), &number.to_string(), expires));
    let base_url = archive.base_url.trim_end_matches('/');
    Ok(Json(Link {
        url: format!(
            "{base_url}/v1/tasks/{id}/results/{number}?expires={expires}&signature={signature}"
        ),
        expires_at: Timestamp::from_millis(expires * 1000),
    }))
}

/// Admits the request, or answers 401 or 403 before the handler runs.
pub async fn require(
    State(gate): State<LinkGate>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let query = request.uri().query().unwrap_or_default();
    let Admission { caller, proof } = match signature(query) {
        None => gate.keys.admit(request.method(), request.headers())?,
        Some((expires, signature)) => {
            gate.check(request.uri().path(), expires, &signature)?;
            Admission {
                caller: Caller {
                    name: Some(CALLER.into()),
                    scopes: Vec::new(),
                    ..Caller::local()
                },
                proof: Proof::ApiKey,
            }
        }
    };
    let key = caller.key();
    request.extensions_mut().insert(caller);
    let mut response = turns::working_for(key, next.run(request)).await;
    proof.mark(&mut response);
    Ok(response)
}

impl LinkGate {
    fn check(&self, path: &str, expires: i64, signature: &str) -> Result<(), ApiError> {
        let parts: Vec<&str> = path.split('/').collect();
        let (["", "v1", "tasks", id, "results", number], Some(key_ring)) =
            (&parts[..], &self.key_ring)
        else {
            return Err(ApiError::invalid_link());
        };
        let is_ours = key_ring.is_link(&text(id, number, expires), signature);
        if !is_ours || self.clock.wall_now().as_seconds() >= expires {
            return Err(ApiError::invalid_link());
        }
        Ok(())
    }
}

/// The text of a link that is signed.
fn text(id: &str, number: &str, expires: i64) -> String {
    format!("{id}/{number}/{expires}")
}

/// Returns the parameters of a link, if the query has a signature. The last of several counts here;
/// the handler refuses them.
fn signature(query: &str) -> Option<(i64, String)> {
    let mut expires = 0;
    let mut signature = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "expires" => expires = value.parse().unwrap_or(0),
            "signature" => signature = Some(value.into_owned()),
            _ => {}
        }
    }
    signature.map(|signature| (expires, signature))
}
