//! Query parameters of the event log. They are checked strictly (rule B13), so that a mistyped
//! filter is an error and does not return every event.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use strum::VariantArray as _;

use crate::domain::event::EventType;
use crate::domain::event::id::Cursor;
use crate::http::internal::error::ApiError;
use crate::http::internal::query;

const PARAMETERS: &str = "after, limit, types, task";

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug)]
pub struct Parameters {
    pub place: Option<Place>,
    pub limit: u32,
    pub types: Option<Vec<EventType>>,
    /// A task id or a submission id.
    pub task: Option<String>,
}

/// The last event that the client has read, and the name of the parameter that said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub after: Cursor,
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
        for (name, value) in query::parameters(query, &["types"])? {
            match name.as_ref() {
                "after" => parameters.place = Some(place("after", Some(&value))?),
                "limit" => parameters.limit = query::parse_limit(&value)?,
                "types" => (parameters.types.get_or_insert_default()).extend(types(&value)?),
                "task" => parameters.task = Some(Cow::into_owned(value)),
                other => return Err(query::unknown_parameter(other, PARAMETERS)),
            }
        }
        let mut ids = headers.get_all(&LAST_EVENT_ID).iter();
        match (ids.next(), ids.next()) {
            (None, _) => {}
            // An `EventSource` that has not received an event yet may send an empty header.
            (Some(id), None) if id.is_empty() => {}
            (Some(id), None) => {
                parameters.place = Some(place("Last-Event-ID", id.to_str().ok())?);
            }
            (Some(_), Some(_)) => return Err(no_place("Last-Event-ID")),
        }
        Ok(parameters)
    }
}

fn place(param: &'static str, text: Option<&str>) -> Result<Place, ApiError> {
    let after = text.and_then(Cursor::parse);
    let after = after.ok_or_else(|| no_place(param))?;
    Ok(Place { after, param })
}

fn no_place(param: &'static str) -> ApiError {
    let message = format!(
        "`{param}` must be the id of an event, such as k3v9x2ab-42, or its number in the current epoch, or 0"
    );
    ApiError::invalid(param, message)
}

fn types(text: &str) -> Result<Vec<EventType>, ApiError> {
    let known = || {
        let known = EventType::VARIANTS.iter().map(EventType::into_str);
        known.collect::<Vec<_>>().join(", ")
    };
    let parse = |name: &str| {
        let message = || format!("`types` must be some of {}, with commas between", known());
        name.parse()
            .map_err(|_| ApiError::invalid("types", message()))
    };
    text.split(',').map(parse).collect()
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
    fn a_place_is_an_event_id_or_a_number() {
        let after =
            |query: &str, ids: &[&str]| Some(parse(query, ids).ok()?.place?.after.to_string());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(after("after=0", &[]), some("0"));
        assert_eq!(after("after=k3v9x2ab-42", &[]), some("k3v9x2ab-42"));
        assert_eq!(after("after=42", &["7"]), some("7"), "the header wins");
        assert_eq!(
            after("after=42", &[""]),
            some("42"),
            "an empty one is absent"
        );
        assert_eq!(after("after=", &[]), None);
        for bad in [
            "-1",
            "k3v9x2ab-",
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
        // As `requests`, `httpx` and `URLSearchParams` write a list.
        assert_eq!(
            types("types=task.failed&types=task.completed").as_deref(),
            Some(&both[..])
        );
    }
}
