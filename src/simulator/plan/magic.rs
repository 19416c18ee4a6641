//! The magic prompts: a prompt that contains `[sim:NAME]` or `[sim:NAME=VALUE,NAME]` makes its own
//! task misbehave, like the magic card numbers of payment services. `ROWS` is the only list of
//! them. The parser (`instruction`), the flags, the help text and the documents are all derived
//! from it.

use std::sync::LazyLock;
use std::time::Duration;

use super::{
    AnswerFault, Ending, FileFault, Form, Plan, QueryFault, Refusal, Results, Stages, When,
};

#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub argument: Argument,
    pub description: &'static str,
    pub apply: fn(&mut Plan, Value),
}

/// The kind of value that may follow `=`, with the default for when there is none.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    None,
    Count(u32),
    Milliseconds(u64),
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Value {
    pub count: u32,
    pub duration: Duration,
}

const fn row(
    name: &'static str,
    argument: Argument,
    description: &'static str,
    apply: fn(&mut Plan, Value),
) -> Row {
    Row {
        name,
        argument,
        description,
        apply,
    }
}

use Argument::{Count, Milliseconds, None as Plain};

#[rustfmt::skip] // One row takes two lines, so that this reads as a table.
static ROWS: &[Row] = &[
    row("well-behaved", Plain, "no fault at all, whatever the probabilities say",
        |plan, _| *plan = Plan::default()),
    row("duration", Milliseconds(200), "the task takes this long; a range such as 200ms..2s draws from it",
        |plan, value| plan.duration = Some(value.duration)),

    row("rate-limited", Count(1), "submit refused: 429 with Retry-After of this many seconds",
        |plan, value| plan.refusal = Some(Refusal::RateLimited { retry_after_s: Some(value.count) })),
    row("rate-limited-bare", Plain, "submit refused: 429 without Retry-After",
        |plan, _| plan.refusal = Some(Refusal::RateLimited { retry_after_s: None })),
    row("no-quota", Plain, "submit refused: 402 insufficient_quota",
        |plan, _| plan.refusal = Some(Refusal::NoQuota)),
    row("no-access", Plain, "submit refused: 403 model_access_denied",
        |plan, _| plan.refusal = Some(Refusal::NoAccess)),
    row("error-500", Plain, "submit refused: 500 internal_error, nothing accepted",
        |plan, _| plan.refusal = Some(Refusal::Internal)),
    row("unavailable", Plain, "submit refused: 503, nothing accepted",
        |plan, _| plan.refusal = Some(Refusal::Unavailable)),
    row("error-400", Plain, "submit refused: 400 invalid_request without param",
        |plan, _| plan.refusal = Some(Refusal::Invalid)),
    row("error-413", Plain, "submit refused: 413",
        |plan, _| plan.refusal = Some(Refusal::TooLarge)),
    row("refusals", Count(1), "with one of the above: only the first N submits of this prompt are refused",
        |plan, value| plan.refusals_max = Some(value.count)),
    row("integer-codes", Plain, "errors of submit and query carry their code as an integer",
        |plan, _| plan.integer_codes = true),

    row("reset", Plain, "accepted and charged, then the connection is reset",
        |plan, _| plan.answer_fault = Some(AnswerFault::Reset)),
    row("stall", Milliseconds(60_000), "accepted and charged, answered only after this long",
        |plan, value| plan.answer_fault = Some(AnswerFault::Stall(value.duration))),
    row("bad-gateway", Plain, "accepted and charged, answered 502 with a proxy's page",
        |plan, _| plan.answer_fault = Some(AnswerFault::Status(502))),
    row("gateway-timeout", Plain, "accepted and charged, answered 504 with a proxy's page",
        |plan, _| plan.answer_fault = Some(AnswerFault::Status(504))),
    row("request-timeout", Plain, "accepted and charged, answered 408 with a proxy's page",
        |plan, _| plan.answer_fault = Some(AnswerFault::Status(408))),
    row("accepted-500", Plain, "accepted and charged, answered 500 with a proxy's page",
        |plan, _| plan.answer_fault = Some(AnswerFault::Status(500))),
    row("garbage", Plain, "accepted and charged, answered 200 with HTML",
        |plan, _| plan.answer_fault = Some(AnswerFault::Html)),
    row("no-id", Plain, "accepted and charged, answered 200 without an id",
        |plan, _| plan.answer_fault = Some(AnswerFault::NoId)),
    row("number-id", Plain, "accepted and charged, answered 200 with a number as id",
        |plan, _| plan.answer_fault = Some(AnswerFault::NumberAsId)),
    row("answer-unknown-status", Plain, "accepted and charged, answered 200 with an undocumented status and extra fields",
        |plan, _| plan.answer_fault = Some(AnswerFault::UnknownStatus)),
    row("answer-ended", Plain, "accepted and charged; the task ends at once, and the answer already shows its outcome",
        |plan, _| { plan.answer_fault = Some(AnswerFault::AlreadyEnded); plan.duration = Some(Duration::ZERO); }),
    row("truncated-answer", Plain, "accepted and charged; the answer breaks off in its middle",
        |plan, _| plan.answer_fault = Some(AnswerFault::Truncated)),

    row("fail", Plain, "the task fails with service_error",
        |plan, _| plan.ending = Ending::ServiceError),
    row("content-policy", Plain, "the task fails with content_policy_violation; created and type are missing, the message has newlines",
        |plan, _| plan.ending = Ending::ContentPolicy),
    row("fail-bare", Plain, "the task fails without an error object",
        |plan, _| plan.ending = Ending::FailedWithoutError),
    row("cancelled", Plain, "the task is cancelled",
        |plan, _| plan.ending = Ending::Cancelled),
    row("canceled", Plain, "the task is cancelled, spelled with one l",
        |plan, _| plan.ending = Ending::CanceledWithOneL),
    row("no-results", Plain, "the task completes without results, in callback and query",
        |plan, _| plan.ending = Ending::CompletedWithoutResults),
    row("result-data", Plain, "the task completes with result_data alone (element_id), in callback and query",
        |plan, _| plan.results = Results::DataAlone),
    row("tracks", Plain, "the task completes with two results, and result_data about both, as music does",
        |plan, _| plan.results = Results::Tracks),
    row("signed-results", Plain, "result URLs have a query string that differs in each answer and callback",
        |plan, _| plan.signed_results = true),
    row("never-ends", Plain, "the task stays at processing for ever",
        |plan, _| plan.ending = Ending::Never),

    row("lost-callback", Plain, "no callback is sent",
        |plan, _| plan.callbacks.when = When::Never),
    row("late-callback", Milliseconds(5_000), "the callback is sent this long after the end of the task",
        |plan, value| plan.callbacks.when = When::AfterTheEnd(value.duration)),
    row("early-callback", Plain, "the final callback is sent, and its first answer awaited, before the submit is answered",
        |plan, _| plan.callbacks.when = When::BeforeTheSubmitAnswer),
    row("twice", Plain, "the final callback is sent twice, one after the other",
        |plan, _| plan.callbacks.repeats = 1),
    row("repeated", Count(3), "the final callback is sent this many times, one after the other",
        |plan, value| plan.callbacks.repeats = value.count.saturating_sub(1)),
    row("parallel", Count(8), "the final callback is sent this many times at once",
        |plan, value| plan.callbacks.parallel_copies = value.count.saturating_sub(1)),
    row("staged", Plain, "two callbacks with status processing before the final one",
        |plan, _| plan.callbacks.stages = Stages::Progress),
    row("music-stages", Plain, "as tracks, with three callbacks: processing, completed with the first track, completed with both; a query agrees with each",
        |plan, _| { plan.results = Results::Tracks; plan.callbacks.stages = Stages::Music; }),
    row("reordered", Plain, "a callback with status processing after the final one",
        |plan, _| plan.callbacks.reordered = true),
    row("conflicting", Plain, "a callback with a different terminal status after the final one",
        |plan, _| plan.callbacks.conflicting = true),

    row("callback-not-json", Plain, "the callback's body is not JSON",
        |plan, _| plan.callbacks.form = Form::NotJson),
    row("callback-array", Plain, "the callback's body is an array that holds the task",
        |plan, _| plan.callbacks.form = Form::Array),
    row("callback-no-id", Plain, "the callback has no id",
        |plan, _| plan.callbacks.form = Form::NoId),
    row("callback-no-status", Plain, "the callback has no status",
        |plan, _| plan.callbacks.form = Form::NoStatus),
    row("callback-wrong-id", Plain, "the callback has the id of another task",
        |plan, _| plan.callbacks.form = Form::WrongId),
    row("callback-wrapped", Plain, "the callback has the task under the key data",
        |plan, _| plan.callbacks.form = Form::Wrapped),
    row("callback-renamed", Plain, "the callback has task_id for id, and succeeded for completed or error for failed",
        |plan, _| plan.callbacks.form = Form::Renamed),
    row("callback-unknown-status", Plain, "the callback has an undocumented status",
        |plan, _| plan.callbacks.form = Form::UnknownStatus),
    row("callback-no-results", Plain, "the callback has no results; a query has them",
        |plan, _| plan.callbacks.form = Form::NoResults),
    row("callback-extra-fields", Plain, "the callback has undocumented fields",
        |plan, _| plan.callbacks.form = Form::ExtraFields),
    row("callback-error-text", Plain, "the callback of a failed task has its error as text",
        |plan, _| { plan.callbacks.form = Form::ErrorAsText; plan.ending = Ending::ServiceError; }),
    row("callback-huge", Plain, "the callback's body is valid and larger than 1 MiB",
        |plan, _| plan.callbacks.form = Form::Huge),
    row("callback-encoded", Plain, "the callback claims Content-Encoding: gzip",
        |plan, _| plan.callbacks.form = Form::Encoded),

    row("query-403", Plain, "queries of the task are answered 403 permission_denied",
        |plan, _| plan.query_fault = Some(QueryFault::Status(403))),
    row("query-404", Plain, "queries of the task are answered 404 task_not_found",
        |plan, _| plan.query_fault = Some(QueryFault::Status(404))),
    row("query-410", Plain, "queries of the task are answered 410",
        |plan, _| plan.query_fault = Some(QueryFault::Status(410))),
    row("query-429", Plain, "queries of the task are answered 429 with Retry-After: 1",
        |plan, _| plan.query_fault = Some(QueryFault::Status(429))),
    row("query-500", Plain, "queries of the task are answered 500",
        |plan, _| plan.query_fault = Some(QueryFault::Status(500))),
    row("query-garbage", Plain, "queries of the task are answered 200 with HTML",
        |plan, _| plan.query_fault = Some(QueryFault::Html)),
    row("query-wrong-id", Plain, "queries of the task are answered with the id of another task",
        |plan, _| plan.query_fault = Some(QueryFault::WrongId)),
    row("query-stall", Milliseconds(60_000), "queries of the task are answered only after this long",
        |plan, value| plan.query_fault = Some(QueryFault::Stall(value.duration))),
    row("query-faults", Count(1), "with one of the above: only the first N queries",
        |plan, value| plan.query_faults_max = Some(value.count)),

    row("file-slow", Milliseconds(5_000), "the result file takes this long to arrive",
        |plan, value| plan.file_fault = Some(FileFault::Slow(value.duration))),
    row("file-403", Plain, "the result file has expired: 403",
        |plan, _| plan.file_fault = Some(FileFault::Status(403))),
    row("file-404", Plain, "the result file has expired: 404",
        |plan, _| plan.file_fault = Some(FileFault::Status(404))),
    row("file-410", Plain, "the result file has expired: 410",
        |plan, _| plan.file_fault = Some(FileFault::Status(410))),
    row("file-truncated", Plain, "the result file breaks off in its middle",
        |plan, _| plan.file_fault = Some(FileFault::Truncated)),
    row("file-wrong-type", Plain, "the result file is an HTML page that calls itself image/webp",
        |plan, _| plan.file_fault = Some(FileFault::WrongType)),
    row("file-redirect", Plain, "the result file is behind a redirect to /storage/…",
        |plan, _| plan.file_fault = Some(FileFault::Redirect)),
    row("file-faults", Count(1), "with one of the above: only the first N fetches",
        |plan, value| plan.file_faults_max = Some(value.count)),
];

/// All magic prompts: the name as written after `[sim:`, and what it does.
#[must_use]
pub fn magic_prompts() -> &'static [(&'static str, &'static str)] {
    static PROMPTS: LazyLock<Vec<(&'static str, &'static str)>> =
        LazyLock::new(|| ROWS.iter().map(|row| (row.name, row.description)).collect());
    &PROMPTS
}

/// The same list as a Markdown table, with arguments and their defaults.
#[must_use]
pub fn magic_prompts_markdown() -> String {
    let lines = ROWS.iter().map(|row| {
        let argument = match row.argument {
            Argument::None => String::new(),
            Argument::Count(n) => format!("={n}"),
            Argument::Milliseconds(ms) if ms % 1000 == 0 => format!("={}s", ms / 1000),
            Argument::Milliseconds(ms) => format!("={ms}ms"),
        };
        format!("| `[sim:{}{argument}]` | {} |\n", row.name, row.description)
    });
    String::from("| prompt contains | effect |\n| --- | --- |\n") + &lines.collect::<String>()
}

pub fn find_row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_described() {
        for (at, row) in ROWS.iter().enumerate() {
            let mut later = ROWS.iter().skip(at + 1);
            assert!(later.all(|other| other.name != row.name), "{}", row.name);
            assert!(!row.description.is_empty(), "{}", row.name);
        }
        assert_eq!(magic_prompts().len(), ROWS.len());
    }
}
