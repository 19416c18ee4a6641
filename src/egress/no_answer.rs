//! Why a delivery got no answer, for the operator. Shows no URL.

use std::error::Error;
use std::fmt;

use super::resolver::Unresolved;
use crate::domain::egress::Refused;

/// The maximum number of causes that are followed.
const CAUSES_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// Our own rules refused the address. No connection was made.
    Refused(Refused),
    /// The name could not be resolved now. No connection was made.
    Unresolved(String),
    /// If `connected`, the request may have arrived.
    TimedOut { connected: bool },
    /// Any other failure, in one line.
    Failed(String),
}

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if let Some(refused) = cause::<Refused>(&error) {
            return Self::Refused(refused.clone());
        }
        if let Some(unresolved) = cause::<Unresolved>(&error) {
            return Self::Unresolved(unresolved.to_string());
        }
        if error.is_timeout() {
            let connected = !error.is_connect();
            return Self::TimedOut { connected };
        }
        let texts: Vec<_> = causes(&error).map(ToString::to_string).collect();
        Self::Failed(if texts.is_empty() {
            error.to_string()
        } else {
            texts.join(": ")
        })
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => write!(f, "not called: {refused}"),
            Self::Unresolved(why) | Self::Failed(why) => f.write_str(why),
            Self::TimedOut { connected: true } => f.write_str("timed out waiting for the answer"),
            Self::TimedOut { connected: false } => f.write_str("timed out connecting"),
        }
    }
}

impl Error for NoAnswer {}

/// Returns the first cause of `error` that is an `E`.
pub(crate) fn cause<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Returns the causes of `error`, the outermost first.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source()).take(CAUSES_MAX)
}
