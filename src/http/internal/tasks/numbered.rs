//! `GET /v1/tasks?page=&page_size=`: the list in EvoLink's own form, with numbered pages.

use serde::Serialize;

use crate::domain::json::Fields;
use crate::domain::kind::Kind;
use crate::domain::observation::Observation;
use crate::domain::task::State as TaskState;
use crate::http::internal::InternalState;
use crate::http::internal::access::Caller;
use crate::http::internal::error::ApiError;
use crate::http::internal::query;
use crate::store::read::TaskView;
use crate::store::read::newest::NewestFilter;

const PARAMETERS: &str = "page, page_size, status, type, model";

const PAGE_SIZE_DEFAULT: u32 = 20;
const PAGE_SIZE_MAX: u32 = 100;

/// A page, newest first.
#[derive(Debug, Serialize)]
pub struct NumberedPage {
    data: Vec<Fields>,
    /// The number of matching tasks among the newest 10,000.
    total: usize,
    page: u32,
    page_size: u32,
}

/// Whether the query asks for this form.
pub fn is_wanted(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, _)| matches!(&*name, "page" | "page_size"))
}

pub async fn list(
    state: &InternalState,
    caller: &Caller,
    query: &str,
) -> Result<NumberedPage, ApiError> {
    let (mut filter, mut page, mut page_size) = (NewestFilter::default(), 1, PAGE_SIZE_DEFAULT);
    for (name, value) in query::parameters(query, &[])? {
        match &*name {
            "page" => page = number("page", &value)?,
            "page_size" => page_size = number("page_size", &value)?.min(PAGE_SIZE_MAX),
            "status" => filter.states = Some(states(&value)?),
            "type" => filter.kind = Some(kind(&value)?),
            "model" => filter.model = Some(value.into_owned()),
            other => return Err(query::unknown_parameter(other, PARAMETERS)),
        }
    }
    let skipped = (page as usize - 1).saturating_mul(page_size as usize);
    filter.client = caller.sees_only.as_deref().map(str::to_owned);
    let newest = state.store.list_newest(&filter).await?;
    let ids = newest.ids;
    // An empty page would look like the end of the list. The first page of a status may be empty:
    // tasks that are not finished are among the newest ones.
    let is_end = page > 1 || filter.kind.is_some() || filter.model.is_some();
    if newest.is_cut && is_end && skipped >= ids.len() {
        let message = format!(
            "page {page} is beyond the newest 10,000 tasks, which is as far as numbered pages go: \
             list with `limit` and `cursor`"
        );
        return Err(ApiError::invalid("page", message));
    }
    let mut data = Vec::new();
    for id in ids.iter().skip(skipped).take(page_size as usize) {
        let name = crate::store::read::TaskName::Submission(*id);
        if let Some(view) = state.store.find_task(&name).await? {
            data.push(row(state, &view));
        }
    }
    Ok(NumberedPage {
        data,
        total: ids.len(),
        page,
        page_size,
    })
}

/// EvoLink's rows have no results, only whether there are any.
fn row(state: &InternalState, view: &TaskView) -> Fields {
    let seen = view.body.clone().map(Observation::parse);
    let is_completed = view.record.task.state() == TaskState::Completed;
    let has_results = is_completed && matches!(seen, Some(Ok(seen)) if seen.has_results());
    let mut fields = state.task_objects.of_view(view);
    for name in ["results", "result_urls", "result_data", "receiver"] {
        fields.remove(name);
    }
    let created_at = view.record.task.submitted_at.as_seconds();
    fields.set("created_at", &created_at);
    fields.set("has_results", &has_results);
    fields
}

fn number(name: &str, text: &str) -> Result<u32, ApiError> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        let message = format!("`{name}` must be a whole number from 1 on");
        ApiError::invalid(name, message)
    })
}

/// EvoLink's words, which are fewer than our states.
fn states(text: &str) -> Result<Vec<TaskState>, ApiError> {
    use TaskState::{
        Cancelled, Completed, Failed, Pending, Processing, Rejected, SubmitUnknown, Submitting,
        Unresolved,
    };
    match text {
        "pending" => Ok(vec![Submitting, SubmitUnknown, Pending]),
        "processing" => Ok(vec![
            Submitting,
            SubmitUnknown,
            Pending,
            Processing,
            Unresolved,
        ]),
        "completed" => Ok(vec![Completed]),
        "failed" => Ok(vec![Failed, Rejected]),
        "cancelled" => Ok(vec![Cancelled]),
        _ => {
            let message =
                "`status` must be pending, processing, completed, failed or cancelled with `page`";
            Err(ApiError::invalid("status", message))
        }
    }
}

fn kind(text: &str) -> Result<Kind, ApiError> {
    let message = "`type` must be image, video or audio";
    text.parse().map_err(|_| ApiError::invalid("type", message))
}
