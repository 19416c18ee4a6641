//! What every answer to a callback needs: its deadline, its count, and the answer that asks EvoLink
//! to send the callback again.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::state::PublicState;
use crate::observe::metrics::{CallbackEnd, Metrics};
use crate::retry_after;

pub fn try_again() -> Response {
    let retry_after = [(header::RETRY_AFTER, HeaderValue::from(retry_after::SOON))];
    (StatusCode::SERVICE_UNAVAILABLE, retry_after).into_response()
}

/// The time by which our answer must be sent.
pub fn deadline(state: &PublicState) -> Instant {
    Instant::now() + state.request_timeout
}

/// Counts each callback once, whatever its result, also if the client disconnects and the handler's
/// future is dropped.
pub struct Counted {
    metrics: Metrics,
    began: Instant,
    end: CallbackEnd,
}

impl Counted {
    pub fn begin(state: &PublicState) -> Self {
        state.metrics.callback_received();
        state.callback_path.came(state.clock.wall_now());
        Self {
            metrics: state.metrics.clone(),
            began: Instant::now(),
            end: CallbackEnd::Aborted,
        }
    }

    pub fn end(&mut self, end: CallbackEnd) {
        self.end = end;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.callback_ended(self.end);
        if self.end != CallbackEnd::Aborted {
            self.metrics.callback_answered_after(self.began.elapsed());
        }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
