//! `GET /v1/credits`: EvoLink's answer, passed through.

use axum::extract::State;
use axum::response::Response;

use super::error::ApiError;
use super::internal::InternalState;
use super::passed_on::pass_on;
use crate::evolink::NoAnswer;

pub async fn show(State(state): State<InternalState>) -> Result<Response, ApiError> {
    match state.evolink.credits().await {
        Ok(answer) => Ok(pass_on(answer)),
        Err(NoAnswer::Unreachable { .. }) => Err(ApiError::evolink_unreachable()),
        Err(NoAnswer::Unreadable { .. }) => Err(ApiError::evolink_unreadable()),
    }
}
