//! The calls to the recorder, as plain data that a trace can show, and as the product's entries.

use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::key_use::KeyLimits;
use evolink_receiver::domain::kind::Kind;
use evolink_receiver::domain::observation::{Observation, Source};
use evolink_receiver::store::recorder::entry::{
    Entry, Idempotency, Intent, PollEnded, SubmitEnded,
};
use http::HeaderMap;
use serde_json::json;

use super::guard::Guard;

/// How long a claim on a poll lasts.
pub const LEASE: Duration = Duration::from_secs(40);

/// The origin of apps' own addresses.
pub const OWN_ORIGIN: &str = "http://web.internal:8000";

/// The app's own address. Every other submission has one.
pub fn own_address(id: SubmissionId) -> Option<String> {
    id.low_bits()
        .is_multiple_of(2)
        .then(|| format!("{OWN_ORIGIN}/{id}"))
}

/// What EvoLink says about a task. Bodies with the same content differ in `number`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub task: String,
    pub status: &'static str,
    pub progress: Option<u8>,
    pub results: Vec<String>,
    pub number: u32,
    pub form: Form,
}

/// How the body is written. Only `Documented` follows EvoLink's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Documented,
    /// Wrapped in a member `data`.
    Wrapped,
    /// The outcome is spelt differently.
    Respelt,
}

/// The way by which a statement arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Submit,
    Callback,
    Poll,
    /// An operator replays it out of quarantine.
    Replay,
}

/// The callback URL at which it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Submission(SubmissionId),
    /// The standing URL of this history.
    Standing(u64),
}

/// An app's `Idempotency-Key`, and which body it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub body: u8,
}

/// One call of the recorder.
#[derive(Clone, Debug)]
pub enum Call {
    Intend(SubmissionId, Option<Key>),
    /// A submit without a key, under the repeat guard.
    IntendGuarded(SubmissionId, Guard),
    Hear(About, Way, Statement),
    Unreadable(About, Way, String),
    SubmitUnknown(SubmissionId),
    SubmitRefused(SubmissionId, Option<Key>),
    BeginPoll(SubmissionId),
    PollGone(SubmissionId),
    PollFailed(SubmissionId),
    PollPutOff(SubmissionId, Duration),
    /// The quarantine entry with this number, which arrived at this URL and says this.
    Replay(i64, About, Statement),
    GiveUp(SubmissionId),
    /// The complete answer was handed over to the app.
    AppAnswered(SubmissionId),
    /// The app has disconnected, or was answered that the outcome is unknown.
    AppLost(SubmissionId),
}

impl Statement {
    pub fn body(&self) -> String {
        let status = self.spelling();
        let mut body = json!({"id": self.task, "status": status, "n": self.number});
        if let Some(progress) = self.progress {
            body["progress"] = progress.into();
        }
        if !self.results.is_empty() {
            body["results"] = json!(self.results);
        }
        match self.form {
            Form::Wrapped => json!({"data": body}).to_string(),
            Form::Documented | Form::Respelt => body.to_string(),
        }
    }

    fn spelling(&self) -> &'static str {
        match (self.form, self.status) {
            (Form::Respelt, "completed") => "succeeded",
            (Form::Respelt, "failed") => "error",
            (Form::Respelt, "cancelled") => "canceled",
            (_, status) => status,
        }
    }

    /// Whether EvoLink documents this form.
    pub fn is_documented(&self) -> bool {
        self.form != Form::Wrapped && self.spelling() == self.status
    }
}

impl Way {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Callback => "callback",
            Self::Poll => "poll",
            Self::Replay => "replay",
        }
    }

    const fn source(self) -> Source {
        match self {
            Self::Submit => Source::Submit,
            Self::Callback => Source::Callback,
            Self::Poll => Source::Poll,
            Self::Replay => Source::Replay,
        }
    }
}

impl About {
    /// The subject as it is stored in quarantine.
    pub fn name(self) -> String {
        self.subject().to_string()
    }

    fn subject(self) -> Subject {
        match self {
            Self::Submission(id) => Subject::Submission(id),
            Self::Standing(history) => Subject::Standing(history.to_string().parse().unwrap()),
        }
    }
}

impl Key {
    fn idempotency(&self) -> Idempotency {
        Idempotency {
            name: self.name.clone(),
            fingerprint: [self.body; 32],
        }
    }
}

impl Call {
    /// The submission that the call can change, if it names one.
    pub const fn submission(&self) -> Option<SubmissionId> {
        match self {
            Self::Intend(id, _)
            | Self::IntendGuarded(id, _)
            | Self::AppAnswered(id)
            | Self::AppLost(id)
            | Self::SubmitUnknown(id)
            | Self::SubmitRefused(id, _)
            | Self::BeginPoll(id)
            | Self::PollGone(id)
            | Self::PollFailed(id)
            | Self::PollPutOff(id, _)
            | Self::GiveUp(id)
            | Self::Hear(About::Submission(id), ..)
            | Self::Replay(_, About::Submission(id), _)
            | Self::Unreadable(About::Submission(id), ..) => Some(*id),
            Self::Hear(About::Standing(_), ..)
            | Self::Replay(_, About::Standing(_), _)
            | Self::Unreadable(About::Standing(_), ..) => None,
        }
    }

    /// The task of a call that arrived at the standing URL.
    pub fn standing_task(&self) -> Option<&str> {
        match self {
            Self::Hear(About::Standing(_), _, said) | Self::Replay(_, About::Standing(_), said) => {
                Some(&said.task)
            }
            _ => None,
        }
    }

    pub fn entry(&self) -> Entry {
        match self.clone() {
            Self::Intend(submission_id, key) => Entry::Intent(Intent {
                submission_id,
                client: None,
                kind: Kind::Image,
                model: "z-image-turbo".to_owned(),
                reference: None,
                request: Bytes::from_static(b"{}"),
                callback_url: own_address(submission_id),
                idempotency: key.map(|key| key.idempotency()),
                guard: None,
                limits: KeyLimits::default(),
            }),
            Self::IntendGuarded(submission_id, guard) => Entry::Intent(Intent {
                submission_id,
                client: Some(guard.client.clone()),
                kind: Kind::Image,
                model: "z-image-turbo".to_owned(),
                reference: None,
                request: Bytes::from_static(b"{}"),
                callback_url: own_address(submission_id),
                idempotency: None,
                guard: Some(guard.for_recorder()),
                limits: KeyLimits::default(),
            }),
            Self::AppAnswered(submission_id) => Entry::AppAnswered { submission_id },
            Self::AppLost(submission_id) => Entry::AppLost { submission_id },
            Self::Hear(about, way, said) => Entry::Observed {
                subject: about.subject(),
                observation: Observation::parse(said.body().into()).unwrap(),
                source: way.source(),
                headers: HeaderMap::new(),
            },
            Self::Unreadable(about, way, body) => Entry::Unreadable {
                subject: about.subject(),
                source: way.source(),
                body: body.into(),
                reason: "unreadable".to_owned(),
                headers: HeaderMap::new(),
            },
            Self::SubmitUnknown(submission_id) => Entry::SubmitEnded {
                submission_id,
                ended: SubmitEnded::Unknown,
            },
            Self::SubmitRefused(submission_id, key) => Entry::SubmitEnded {
                submission_id,
                ended: SubmitEnded::Refused {
                    answer: None,
                    idempotency: key.map(|key| key.idempotency()),
                },
            },
            Self::BeginPoll(submission_id) => Entry::PollBegun {
                submission_id,
                lease: LEASE,
            },
            Self::PollGone(submission_id) => Entry::PollEnded {
                submission_id,
                ended: PollEnded::Gone,
            },
            Self::PollFailed(submission_id) => Entry::PollEnded {
                submission_id,
                ended: PollEnded::Failed,
            },
            Self::PollPutOff(submission_id, pause) => Entry::PollEnded {
                submission_id,
                ended: PollEnded::PutOff(pause),
            },
            Self::Replay(id, about, said) => Entry::FromQuarantine {
                id,
                subject: about.subject(),
                observation: Observation::parse(said.body().into()).unwrap(),
            },
            Self::GiveUp(submission_id) => Entry::GaveUp { submission_id },
        }
    }
}
