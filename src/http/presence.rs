//! Whether the app of a submit still waits, and whether it has its answer. The handler holds a
//! `Presence`; the submit, which runs on a worker of its own, holds an `Absence` and asks it before
//! it acts.
//!
//! An app has its answer when hyper has taken the body of the response to its end and the app is
//! still connected. If the handler or the body is dropped before that, the app has disconnected:
//! both are dropped as soon as its connection is seen to be closed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

use super::peer::Peer;
use crate::domain::ids::SubmissionId;
use crate::store::entry::Entry;
use crate::store::recorder::Recorder;

/// Cancelled when the app has disconnected.
pub type Absence = CancellationToken;

/// An app that waits for the answer to one submit.
#[derive(Debug)]
pub struct Presence {
    /// `None` once the app has its answer.
    waiting: Option<Waiting>,
    absence: Absence,
    /// `None` where there is no connection.
    peer: Option<Peer>,
}

#[derive(Debug)]
struct Waiting {
    recorder: Recorder,
    id: SubmissionId,
    /// Whether the repeat guard is to know.
    is_guarded: bool,
    /// The submit whose answer this is, if EvoLink accepted one: its own or the one that it
    /// repeats.
    accepted: Option<SubmissionId>,
}

impl Presence {
    /// `id` is what the submit is to be recorded as.
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
            absence: Absence::new(),
            peer,
        }
    }

    pub fn absence(&self) -> Absence {
        self.absence.clone()
    }

    /// The answer will be that the outcome is unknown. The app may well read it and repeat the
    /// submit all the same, so it counts as one that never had an answer.
    pub fn lose(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.lose();
        }
    }

    /// `response`, which tells of `accepted` once it was handed over whole.
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
        self.absence.cancel();
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
            self.recorder
                .hand_over(Entry::AppAnswered { submission_id });
        }
        // Of a refusal, or of a repeat, there is no row.
        if self.accepted != Some(self.id) {
            apps.leave(self.id);
        }
    }

    fn lose(self) {
        if self.is_guarded {
            self.recorder.apps().leave(self.id);
            // Other processes read it from the row.
            let submission_id = self.id;
            self.recorder.hand_over(Entry::AppLost { submission_id });
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
        // hyper does not ask for what comes after the last frame of a body whose length it knows.
        if !matches!(frame, Some(Err(_))) && self.body.is_end_stream() {
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
