//! An observation: what EvoLink says about a task. It has the same type whether it came in a
//! callback or in the answer to a submit or a poll.
//!
//! Only `id` and `status` are required. Everything else is optional, and an unusable optional value
//! is ignored, never an error (rules B4 to B7 in `docs/rules.md`).

pub mod extension;
pub mod results;
pub mod status;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use strum::VariantArray as _;

use super::ids::TaskId;
use super::json::{Fields, JsonError};
use super::key_use::Credits;
use super::kind::Kind;
use crate::domain::json::members::{Members, read_text};
pub use extension::{Relation, ResultsOrder};
pub use results::ResultsDigest;
use results::{MoreResults, more_urls, usable_results};
pub use status::{Source, Status};

/// The number of results that are fetched. Further results are only counted (rule B8).
pub const RESULTS_MAX: usize = 64;

/// Why a body is not an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObservationError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("no usable `id`: want a string of 1 to 128 of [A-Za-z0-9._-]")]
    NoId,
    #[error("no usable `status`: want a string of 1 to 64 characters without controls")]
    NoStatus,
}

/// One statement of EvoLink about one task.
#[derive(Clone)]
pub struct Observation {
    pub task_id: TaskId,
    pub status: Status,
    /// From `type` or `object`, if one of them says it.
    pub kind: Option<Kind>,
    /// 0 to 100, if present and usable.
    pub progress: Option<u8>,
    /// Result URLs as received. They are not checked here: the archiver decides which may be
    /// fetched.
    pub results: Vec<String>,
    /// Further URLs of result files, in `result_urls` and `result_data`. Empty unless the status is
    /// `completed`.
    pub more_urls: Vec<String>,
    /// Whether the body has the form that EvoLink documents. It is not wrapped in `data`, its id is
    /// in `id`, and its status has a documented spelling (`cancelled` is in EvoLink's prose). Its
    /// results, if any, are an array of strings. Other forms are read too, but are suspicious
    /// (`Doubt::UnknownShape`).
    pub is_documented: bool,
    /// `task_info.estimated_time`, if present and usable.
    pub estimated_time: Option<Duration>,
    /// `usage.credits_used`, or else `usage.credits_reserved`, if present and usable.
    pub credits: Option<Credits>,
    /// The body as received, except that the secrets of callback URLs are redacted.
    pub raw: Bytes,
    /// Further results of a completed task, in `result_urls` and `result_data`. Their texts need
    /// not be URLs: some models complete with an id alone.
    more_results: MoreResults,
    /// Whether the task is in member `data` of `raw`.
    is_wrapped: bool,
}

impl Observation {
    /// Parses a body.
    ///
    /// # Errors
    /// `ObservationError` if `raw` does not describe a task. The caller keeps the bytes.
    pub fn parse(raw: Bytes) -> Result<Self, ObservationError> {
        let outer = Members::parse(&raw)?;
        let inner = || outer.read::<Members<'_>>("data");
        let wrapped = if outer.contains("id") { None } else { inner() };
        let wrapped = wrapped.filter(|inner| inner.contains("id") || inner.contains("task_id"));
        let is_wrapped = wrapped.is_some();
        let members = wrapped.unwrap_or(outer);
        let is_renamed = !members.contains("id");
        let id = members.text("id").or_else(|| members.text("task_id"));
        let task_id = id.and_then(read_text).and_then(|id| TaskId::parse(&id));
        let task_id = task_id.ok_or(ObservationError::NoId)?;
        let spelling = members.text("status").and_then(read_text);
        let status = spelling.as_deref().and_then(Status::parse);
        let status = status.ok_or(ObservationError::NoStatus)?;
        let is_respelt =
            matches!(status, Status::Unknown(_)) || spelling.as_deref() != Some(status.as_str());
        let progress = members.read::<u8>("progress");
        let (results, are_listed) = usable_results(&members);
        let estimated_time = estimated_time(&members);
        let credits = credits(&members);
        let more_urls = match status {
            Status::Completed => more_urls(&members, &results),
            _ => Vec::new(),
        };
        let more_results = match status {
            Status::Completed => MoreResults::of(&members),
            _ => MoreResults::default(),
        };
        Ok(Self {
            kind: kind(&members),
            more_results,
            more_urls,
            progress: progress.filter(|progress| *progress <= 100),
            results,
            is_documented: !is_wrapped && !is_renamed && !is_respelt && are_listed,
            estimated_time,
            credits,
            task_id,
            status,
            raw,
            is_wrapped,
        })
    }

    /// Returns the task object to show: EvoLink's members unchanged, except that `id` and `status`
    /// have their documented names and spellings.
    pub fn into_fields(self) -> Fields {
        let mut fields = self.fields();
        fields.set("id", &self.task_id);
        fields.set("status", &self.status.as_str());
        fields
    }

    /// `error.message`, for people. `None` if there is none.
    pub fn error_message(&self) -> Option<String> {
        let (ErrorMember::Object { message } | ErrorMember::Text(message)) =
            self.fields().read("error")?;
        Some(message)
    }

    fn fields(&self) -> Fields {
        let fields = Fields::parse(&self.raw).expect("what was read once can be read again");
        let inner = self.is_wrapped.then(|| fields.object("data")).flatten();
        inner.unwrap_or(fields)
    }

    /// The URLs of all result files: `results` first, so that the first ones are at the positions
    /// that EvoLink gives them.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let urls = self.results.iter().chain(&self.more_urls);
        urls.map(String::as_str)
    }

    /// Whether there is a result: a URL in `results`, or anything in `result_urls` or
    /// `result_data`.
    pub const fn has_results(&self) -> bool {
        !self.results.is_empty() || !self.more_results.is_empty()
    }

    /// The digest by which two observations of the same outcome are recognised (rule B7).
    pub fn results_digest(&self) -> ResultsDigest {
        ResultsDigest::of(&self.results, &self.more_results)
    }

    /// Whether its results repeat those of the outcome with the digest `kept`.
    pub fn repeats(&self, kept: &ResultsDigest) -> bool {
        kept.is_repeated_by(&self.results, &self.more_results)
    }
}

impl fmt::Debug for Observation {
    /// Omits the body: prompts and URLs must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observation")
            .field("task_id", &self.task_id)
            .field("status", &self.status)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorMember {
    Object { message: String },
    Text(String),
}

fn kind(members: &Members<'_>) -> Option<Kind> {
    let text = |name| members.text(name).and_then(read_text);
    let of_type = text("type").and_then(|text| text.parse().ok());
    let of_object = || {
        let object = text("object")?;
        let kinds = Kind::VARIANTS.iter().copied();
        kinds.into_iter().find(|kind| kind.object() == object)
    };
    of_type.or_else(of_object)
}

fn estimated_time(members: &Members<'_>) -> Option<Duration> {
    #[derive(Deserialize)]
    struct TaskInfo {
        estimated_time: f64,
    }
    let seconds = members.read::<TaskInfo>("task_info")?.estimated_time;
    Duration::try_from_secs_f64(seconds).ok()
}

fn credits(members: &Members<'_>) -> Option<Credits> {
    #[derive(Deserialize)]
    struct Usage {
        credits_used: Option<f64>,
        credits_reserved: Option<f64>,
    }
    let usage = members.read::<Usage>("usage")?;
    Credits::of(usage.credits_used.or(usage.credits_reserved)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Observation, ObservationError> {
        Observation::parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn shown(text: &str) -> String {
        serde_json::to_string(&parse(text).unwrap().into_fields()).unwrap()
    }

    #[test]
    fn the_documented_pending_answer_is_read() {
        let text = r#"{"created":1757165031,"id":"task-unified-1757165031-uyujaw3d","model":"z-image-turbo",
            "object":"image.generation.task","progress":0,"status":"pending",
            "task_info":{"can_cancel":true,"estimated_time":10},"type":"image",
            "usage":{"billing_rule":"per_call","credits_reserved":0.026,"user_group":"default"}}"#;
        let seen = parse(text).unwrap();
        assert_eq!(seen.task_id.as_str(), "task-unified-1757165031-uyujaw3d");
        assert_eq!((seen.status, seen.progress), (Status::Pending, Some(0)));
        assert_eq!(seen.estimated_time, Some(Duration::from_secs(10)));
        assert_eq!(seen.credits, Credits::of(0.026));
    }

    #[test]
    fn wrapped_and_renamed_bodies_are_shown_under_the_documented_names() {
        assert_eq!(
            shown(r#"{"data":{"task_id":"t","status":"canceled","x":0.10}}"#),
            r#"{"task_id":"t","status":"cancelled","x":0.10,"id":"t"}"#
        );
        assert_eq!(
            parse(r#"{"data":{"id":"t","id":"u","status":"failed"}}"#).unwrap_err(),
            ObservationError::NoId
        );
    }

    #[test]
    fn only_what_evolink_documents_has_a_documented_form() {
        for (documented, text) in [
            (
                true,
                r#"{"id":"t","status":"completed","results":["https://h/a"]}"#,
            ),
            (true, r#"{"id":"t","status":"failed","results":null,"x":1}"#),
            (
                true,
                r#"{"id":"t","task_id":"t","data":{},"status":"cancelled"}"#,
            ),
            (false, r#"{"data":{"id":"t","status":"completed"}}"#),
            (false, r#"{"task_id":"t","status":"completed"}"#),
            (false, r#"{"id":"t","status":"succeeded"}"#),
            (false, r#"{"id":"t","status":"canceled"}"#),
            (false, r#"{"id":"t","status":"paused"}"#),
            (
                false,
                r#"{"id":"t","status":"completed","results":"https://h/a"}"#,
            ),
            (
                false,
                r#"{"id":"t","status":"completed","results":[{"url":"https://h/a"}]}"#,
            ),
            (false, r#"{"id":"t","status":"completed","results":{}}"#),
        ] {
            assert_eq!(parse(text).unwrap().is_documented, documented, "{text}");
        }
    }

    #[test]
    fn an_unusable_optional_value_is_ignored() {
        for progress in [
            "\"50\"",
            "-1",
            "101",
            "18446744073709551616",
            "1.5",
            "null",
            "true",
            "[]",
        ] {
            let seen = parse(&format!(
                r#"{{"id":"t","status":"processing","progress":{progress}}}"#
            ))
            .unwrap();
            assert_eq!(seen.progress, None, "{progress}");
        }
        for results in ["null", "[]", "[\"\"]", "[null]", "{}", "7", "[[\"u\"]]"] {
            let seen = parse(&format!(
                r#"{{"id":"t","status":"completed","results":{results}}}"#
            ))
            .unwrap();
            assert!(seen.results.is_empty(), "{results}");
        }
    }

    #[test]
    fn id_and_status_are_required_and_bounded() {
        for id in ["null", "7", "\"\"", "\"a b\"", "\"a\\u0000\"", "[]"] {
            assert_eq!(
                parse(&format!(r#"{{"id":{id},"status":"failed"}}"#)).unwrap_err(),
                ObservationError::NoId
            );
        }
        for status in ["null", "7", "\"\"", "\"a\\u0000\"", "\"a\\n\""] {
            let error = parse(&format!(r#"{{"id":"t","status":{status}}}"#)).unwrap_err();
            assert_eq!(error, ObservationError::NoStatus);
        }
        assert_eq!(
            parse(r#"{"id":"t","status":"paused"}"#).unwrap().status,
            Status::Unknown("paused".into())
        );
    }

    #[test]
    fn errors_may_be_objects_or_text() {
        let message = |error: &str| {
            parse(&format!(
                r#"{{"id":"t","status":"failed","error":{error}}}"#
            ))
            .unwrap()
            .error_message()
        };
        assert_eq!(
            message(r#"{"code":500,"message":"a\nb","type":"task_error"}"#).as_deref(),
            Some("a\nb")
        );
        assert_eq!(message("\"text\"").as_deref(), Some("text"));
        assert_eq!(message("null"), None);
    }
}
