//! `GET /v1/usage`: how much each API key has used today, and its limits.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;

use super::InternalState;
use super::access::{Caller, Gate};
use super::error::ApiError;
use crate::config::{ApiKey, Scope};
use crate::domain::key_use::{Counted, Day};
use crate::domain::timestamp::Timestamp;

#[derive(Debug, Serialize)]
pub struct Usage {
    data: Vec<KeyUsage>,
    /// The day, in UTC, by its beginning and its end. Then the daily limits begin again.
    day_began_at: Timestamp,
    day_ends_at: Timestamp,
}

#[derive(Debug, Serialize)]
struct KeyUsage {
    /// `null` where no API keys are used.
    client: Option<String>,
    submits: i64,
    credits: f64,
    /// Requests that wait now, at this process.
    waiting: usize,
    /// `null` if the key is not in the configuration any more.
    limits: Option<Limits>,
}

#[derive(Debug, Serialize)]
struct Limits {
    submits_per_second: Option<u32>,
    max_waiting: Option<usize>,
    daily_submits: Option<u64>,
    daily_credits: Option<f64>,
    expires_at: Option<Timestamp>,
    disabled: bool,
}

/// Answers a key with its own use. A key with the scope `admin` gets that of all.
pub async fn show(
    State(state): State<InternalState>,
    Extension(gate): Extension<Gate>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Usage>, ApiError> {
    let day = Day::of(state.clock.now());
    let keys = gate.keys();
    let own = caller.key();
    let one = (!caller.may(Scope::Admin)).then_some(&*own);
    let mut used = state.store.list_key_use(day, one).await?;
    let configured = keys.iter().map(|key| key.name.as_str());
    let shown = configured.filter(|name| one.is_none_or(|one| one == *name));
    let missing: Vec<String> = shown
        .filter(|name| used.iter().all(|(client, _)| client != name))
        .map(str::to_owned)
        .collect();
    used.extend(missing.into_iter().map(|name| (name, Counted::default())));
    used.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let data = used.into_iter().map(|(client, counted)| KeyUsage {
        submits: counted.submits,
        credits: counted.credits.as_f64(),
        waiting: state.wait_permits.taken_by(&client),
        limits: (keys.iter()).find(|key| key.name == client).map(Limits::of),
        client: Some(client).filter(|client| !client.is_empty()),
    });
    Ok(Json(Usage {
        data: data.collect(),
        day_began_at: day.before(1).end(),
        day_ends_at: day.end(),
    }))
}

impl Limits {
    const fn of(key: &ApiKey) -> Self {
        Self {
            submits_per_second: key.submits_per_second,
            max_waiting: key.max_waiting,
            daily_submits: key.daily_submits,
            daily_credits: key.daily_credits,
            expires_at: key.expires_at,
            disabled: key.disabled,
        }
    }
}
