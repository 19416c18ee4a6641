//! Tracks whether the app of a submit is still waiting, and whether it has received its answer. The
//! handler holds a `Presence`. The submit runs on its own worker, holds a `Disconnected`, and
//! checks it before it acts.
//!
//! An app has its answer once hyper has taken the response body to its end and the app is still
//! connected. If the handler or the body is dropped before that, the app has disconnected: both are
//! dropped as soon as the connection is seen to be closed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::domain::ids::SubmissionId;
use crate::http::serve::peer::Peer;
use crate::store::recorder::Recorder;
use crate::submit::Disconnected;

/// An app that waits for the answer to one submit.
#[derive(Debug)]
pub struct Presence {
    /// `None` once the app has its answer.
    waiting: Option<Waiting>,
    disconnected: Disconnected,
    /// `None` where there is no connection.
    peer: Option<Peer>,
}

#[derive(Debug)]
struct Waiting {
    recorder: Recorder,
    id: SubmissionId,
    /// Whether the repeat guard tracks this app.
    is_guarded: bool,
    /// The accepted submit that this answer is about, if any: its own, or the earlier one that it
    /// repeats.
    accepted: Option<SubmissionId>,
}

impl Presence {
    /// `id` is the id that the submit will be recorded under.
    pub fn begin(
        recorder: &Recorder,
        id: SubmissionId,
        is_guarded: bool,
        peer: Option<Peer>,
    ) -> Self {
        if is_guarded {
            recorder.apps().enter(id);
        }
        let waiting = Waiting {
            recorder: recorder.clone(),
            id,
            is_guarded,
            accepted: None,
        };
        Self {
            waiting: Some(waiting),
            disconnected: Disconnected::new(),
            peer,
        }
    }

    pub fn disconnected(&self) -> Disconnected {
        self.disconnected.clone()
    }

    /// Reports that this app gets no usable answer, because the outcome is unknown. It may read
    /// that and repeat the submit all the same, so it counts like an app that never had an answer.
    pub fn lose(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.lose();
        }
    }

    /// Returns `response`, and reports `accepted` as answered once the whole body was handed to
    /// hyper.
    pub fn hand_over(mut self, response: Response, accepted: Option<SubmissionId>) -> Response {
        if let Some(waiting) = &mut self.waiting {
            waiting.accepted = accepted;
        }
        response.map(|body| {
            Body::new(WatchedBody {
                body,
                presence: self,
            })
        })
    }

    fn answered(&mut self) {
        if self.peer.as_ref().is_some_and(Peer::is_gone) {
            return self.lose();
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.answered();
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.disconnected.cancel();
        self.lose();
    }
}

impl Waiting {
    fn answered(self) {
        if !self.is_guarded {
            return;
        }
        let apps = self.recorder.apps();
        if let Some(submission_id) = self.accepted {
            apps.answered(submission_id);
            self.recorder.app_answered(submission_id);
        }
        // The repeat guard has no row for a refused or repeated submit, so the id is removed here.
        if self.accepted != Some(self.id) {
            apps.leave(self.id);
        }
    }

    fn lose(self) {
        if self.is_guarded {
            self.recorder.apps().left(self.id);
            // Other processes learn of it from the row.
            self.recorder.app_lost(self.id);
        }
    }
}

struct WatchedBody {
    body: Body,
    presence: Presence,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // hyper does not poll a body of known length again after its last frame.
        let is_whole = frame.is_none() || self.body.is_end_stream();
        if is_whole && !matches!(frame, Some(Err(_))) {
            self.presence.answered();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
