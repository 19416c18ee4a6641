//! The member `receiver` of a task object.

use serde::Serialize;

use crate::domain::ids::SubmissionId;
use crate::domain::json::Fields;
use crate::domain::kind::Kind;
use crate::domain::timestamp::Timestamp;

/// The member of our own: what we know about a task in addition to what EvoLink says.
#[derive(Debug, Serialize)]
pub struct Receiver<'a> {
    pub submission_id: SubmissionId,
    pub state: &'static str,
    /// Whether the state will not change by itself any more.
    pub finished: bool,
    pub source: Option<&'static str>,
    pub submitted_at: Timestamp,
    pub outcome_at: Option<Timestamp>,
    pub client: Option<&'a str>,
    pub kind: Option<Kind>,
    /// What the app calls the task.
    pub reference: Option<&'a str>,
    /// The app's request, without its callback URL. Only for readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Fields>,
    /// The unconfirmed outcome: a callback reported it, EvoLink has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<&'static str>,
    pub results: Vec<ResultObject>,
    /// The number of results after the 64th, which are not fetched.
    #[serde(skip_serializing_if = "is_zero")]
    pub results_left_out: usize,
}

/// A result file. `url` is its address at this service, which may still have to fetch the file.
/// `expires_at` is when EvoLink's own URL expires.
#[derive(Debug, Serialize)]
pub struct ResultObject {
    pub url: Option<String>,
    pub origin_url: String,
    pub sha256: Option<String>,
    pub bytes: Option<u64>,
    pub content_type: Option<String>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub archived_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub error: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}
