//! The task object of a record that EvoLink has not confirmed yet.

use serde_json::json;

use crate::domain::json::Fields;
use crate::domain::kind::Kind;
use crate::domain::task::State;
use crate::evolink::ErrorEnvelope;
use crate::store::recorder::record::Record;

/// Builds what to show while there is no body of EvoLink that can be shown. It has the form of
/// EvoLink's first answer. Its id is our own until the task id is known.
pub fn unconfirmed(record: &Record) -> Fields {
    let rejected = record.task.state() == State::Rejected;
    let mut fields = Fields::default();
    fields.set("created", &record.task.submitted_at.as_seconds());
    match record.task.task_id() {
        Some(task_id) => fields.set("id", task_id),
        None => fields.set("id", &record.task.submission_id),
    }
    fields.set("model", &record.model);
    let kind = record.task.kind.unwrap_or(Kind::Image);
    fields.set("object", &kind.object());
    fields.set("progress", &0);
    fields.set("status", if rejected { &"failed" } else { &"pending" });
    fields.set("type", &kind);
    if rejected {
        let refusal = record.refusal.as_deref().and_then(ErrorEnvelope::parse);
        let (code, message) = refusal.map_or((None, None), |error| (error.code, error.message));
        fields.set(
            "error",
            &json!({
                "code": code.unwrap_or_else(|| "evolink_unreachable".to_owned()),
                "message": message.unwrap_or_else(|| "EvoLink did not accept this submit".to_owned()),
                "type": "task_error",
            }),
        );
    }
    fields
}
