//! What is asked of the log, judged strictly (rule B13): whoever mistypes a filter must not be told of everything.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

use crate::domain::event::EventType;
use crate::http::error::ApiError;
use crate::http::query;

const PARAMETERS: &str = "after, limit, types, task";

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug)]
pub struct Parameters {
    pub place: Option<Place>,
    pub limit: u32,
    pub types: Option<Vec<EventType>>,
    /// Either name of a task.
    pub task: Option<String>,
}

/// The number of the last event that was read, and where it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub after: i64,
    pub param: &'static str,
}

impl Parameters {
    pub fn parse(query: &str, headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut parameters = Self {
            place: None,
            limit: query::LIMIT_DEFAULT,
            types: None,
            task: None,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "after" => parameters.place = Some(place("after", Some(&value))?),
                "limit" => parameters.limit = query::limit(&value)?,
                "types" => parameters.types = Some(types(&value)?),
                "task" => parameters.task = Some(Cow::into_owned(value)),
                other => return Err(query::unknown(other, PARAMETERS)),
            }
        }
        let mut ids = headers.get_all(&LAST_EVENT_ID).iter();
        if let Some(id) = ids.next() {
            // One that is there twice is none.
            let id = id.to_str().ok().filter(|_| ids.next().is_none());
            parameters.place = Some(place("Last-Event-ID", id)?);
        }
        Ok(parameters)
    }
}

fn place(param: &'static str, text: Option<&str>) -> Result<Place, ApiError> {
    let after = text.and_then(|text| match text {
        "0" => Some(0),
        text => query::number(text),
    });
    let message = || format!("`{param}` must be the number of an event, or 0");
    let after = after.ok_or_else(|| ApiError::invalid(param, message()))?;
    Ok(Place { after, param })
}

fn types(text: &str) -> Result<Vec<EventType>, ApiError> {
    let known = || EventType::ALL.map(EventType::as_str).join(", ");
    let parse = |name| {
        let message = || format!("`types` must be some of {}, with commas between", known());
        EventType::parse(name).ok_or_else(|| ApiError::invalid("types", message()))
    };
    text.split(',').map(parse).collect()
}

pub fn not_a_task() -> ApiError {
    let message = "`task` must be a task id or a submission id";
    ApiError::invalid("task", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, ids: &[&str]) -> Result<Parameters, ApiError> {
        let ids = ids
            .iter()
            .map(|id| (LAST_EVENT_ID.clone(), id.parse().unwrap()));
        Parameters::parse(query, &ids.collect())
    }

    #[test]
    fn a_place_is_a_number_of_ours() {
        let after =
            |query: &str, ids: &[&str]| parse(query, ids).ok().map(|it| it.place.unwrap().after);
        assert_eq!(after("after=0", &[]), Some(0));
        assert_eq!(after("after=42", &[]), Some(42));
        assert_eq!(after("after=42", &["7"]), Some(7), "the header wins");
        for bad in [
            "",
            "-1",
            "+1",
            "01",
            "1.0",
            "1e3",
            "x",
            " 1",
            "9223372036854775808",
        ] {
            assert_eq!(after(&format!("after={bad}"), &[]), None, "{bad:?}");
            assert_eq!(after("after=1", &[bad]), None, "{bad:?}");
        }
        assert_eq!(after("", &["1", "1"]), None, "which of them?");
    }

    #[test]
    fn types_are_of_those_that_there_are() {
        let types = |query: &str| parse(query, &[]).ok().map(|it| it.types.unwrap());
        let both = [EventType::Failed, EventType::Completed];
        assert_eq!(
            types("types=task.failed,task.completed").as_deref(),
            Some(&both[..])
        );
        for bad in [
            "",
            ",",
            "task.failed,",
            "failed",
            "task.*",
            "task.failed, task.completed",
        ] {
            assert_eq!(types(&format!("types={bad}")), None, "{bad:?}");
        }
        assert!(parse("type=task.failed", &[]).is_err());
    }
}
