//! Reads request bodies within bounds of size and time. Extractors call this. Nothing else in the
//! program reads a request body, so no body is ever buffered without a limit.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, StatusCode, header};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Bytes of request bodies that all requests of a listener together may hold in memory. It counts
/// bytes and not requests: a client that sends slowly holds little and must not keep out faster
/// clients.
#[derive(Debug, Clone)]
pub struct BodyBudget(Arc<Semaphore>);

/// Bytes taken from the budget. Dropping this returns them.
#[derive(Debug, Default)]
pub struct BudgetShare(Option<OwnedSemaphorePermit>);

impl BodyBudget {
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    fn take(&self, bytes: usize, share: &mut BudgetShare) -> Result<(), BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::NoRoom)?;
        let taken = Arc::clone(&self.0).try_acquire_many_owned(bytes);
        let taken = taken.map_err(|_| BodyError::NoRoom)?;
        match &mut share.0 {
            Some(held) => held.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }
}

/// Why a body could not be read. Unless the body had already arrived completely, the listener
/// closes the connection once the answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyError {
    /// 413.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// 408.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// 503: other bodies use up the whole memory budget.
    #[error("too many bodies are on their way at once")]
    NoRoom,
    /// 503: too many requests with the same callback token are waiting for the rest of their
    /// bodies.
    #[error("too many requests with this token are unfinished")]
    TooManyUnfinished,
    /// 400: the body was cut off, or its chunks are malformed.
    #[error("the body is incomplete or malformed")]
    Broken,
}

impl BodyError {
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoom | Self::TooManyUnfinished => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// Whether the body has no content encoding. Bodies are never decompressed, so a small body can
/// never become a large one.
pub fn is_identity(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The body length that the client declared; `None` for a chunked body and for no body. Check it
/// before `read_body`, so that an oversized body is refused before the client sends it.
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    // hyper has already refused values that are not plain numbers and repeated headers that differ.
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Returns the whole body if it has at most `bytes_max` bytes and is complete within `time_max`
/// from now. Hold the returned share of the budget for as long as the bytes.
///
/// If the body is not available immediately, the request needs a slot from `take_slot` to wait for
/// it.
pub async fn read_body<Slot>(
    body: Body,
    bytes_max: usize,
    time_max: Duration,
    budget: &BodyBudget,
    take_slot: impl FnOnce() -> Option<Slot>,
) -> Result<(Bytes, BudgetShare), BodyError> {
    let deadline = Instant::now() + time_max;
    let mut chunks = body.into_data_stream();
    let mut read = BytesMut::new();
    let mut share = BudgetShare::default();
    let (mut take_slot, mut _slot) = (Some(take_slot), None);
    loop {
        let next = if let Some(next) = chunks.next().now_or_never() {
            next
        } else {
            if let Some(take_slot) = take_slot.take() {
                _slot = Some(take_slot().ok_or(BodyError::TooManyUnfinished)?);
            }
            timeout_at(deadline, chunks.next())
                .await
                .map_err(|_| BodyError::TooSlow)?
        };
        let Some(chunk) = next else {
            return Ok((read.freeze(), share));
        };
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if read.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLarge);
        }
        budget.take(chunk.len(), &mut share)?;
        read.extend_from_slice(&chunk);
    }
}
