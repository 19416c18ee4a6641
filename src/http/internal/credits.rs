//! `GET /v1/credits`: returns EvoLink's answer.

use axum::extract::State;
use axum::response::Response;
use serde::de::IgnoredAny;
use tracing::warn;

use super::InternalState;
use super::error::ApiError;
use super::passed_on::{pass_on, unchanged};
use crate::evolink::{Answer, NoAnswer};
use crate::submit::KeyRejection;

pub async fn show(State(state): State<InternalState>) -> Result<Response, ApiError> {
    state.rate_limits.count_read();
    match state.evolink.credits().await {
        Ok(answer) if answer.is_about_key() => Err(ApiError::evolink_key_rejected(KeyRejection {
            is_by_evolink: answer.is_in_envelope(),
            key_source: state.evolink.health().key_source(),
        })),
        Ok(answer) if answer.status >= 400 => Ok(pass_on(answer)),
        Ok(answer) if is_json(&answer) => Ok(unchanged(answer)),
        Ok(_) => Err(ApiError::evolink_unreadable()),
        Err(error) => {
            warn!(error = %error, "could not ask for credits");
            Err(match error {
                NoAnswer::Unreachable { .. } => ApiError::evolink_unreachable(),
                NoAnswer::Unreadable { .. } => ApiError::evolink_unreadable(),
            })
        }
    }
}

fn is_json(answer: &Answer) -> bool {
    serde_json::from_slice::<IgnoredAny>(&answer.body).is_ok()
}
