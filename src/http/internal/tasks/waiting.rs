//! Waits until a task is finished: how long a request wants to wait, and the wait itself. A waiter
//! holds a permit. It queries the store only a few times: at the start, when there is news of its
//! task, and when its time is up.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, sleep_until};

use super::prefer;
use crate::domain::ids::SubmissionId;
use crate::domain::result_file::FileState;
use crate::domain::task::State;
use crate::http::internal::InternalState;
use crate::http::internal::access::wait_permits::WaitPermit;
use crate::http::internal::error::ApiError;
use crate::http::internal::query;
use crate::store::StoreError;
use crate::store::read::{TaskName, TaskView};
use crate::store::results::ShownFile;
use crate::store::wake::POLL_INTERVAL;

/// Maximum waiting time. A longer one counts as this (rule B13), because many proxies give up after
/// 60 s.
const WAIT_SECONDS_MAX: u64 = 50;

const PARAMETERS: &str = "wait, for";

/// How long a request wants to wait, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    time: Time,
    pub goal: Goal,
}

/// The condition that a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// The task is finished.
    #[default]
    Finished,
    /// The task is finished, and its files are archived or given up.
    Archived,
}

/// How long a request wants to wait, in whole seconds, and which part of the request said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// The parameter `wait`; 0 if the request does not want to wait.
    Asked(u64),
    /// The header `Prefer`.
    Preferred(u64),
}

impl Wait {
    /// Reads the parameter `wait`, or `Prefer` if the parameter is absent, and the parameter `for`.
    /// `archives`: whether results are archived.
    ///
    /// # Errors
    /// 400 for any other parameter, or if `wait` is not in whole seconds. A malformed preference is
    /// ignored.
    pub fn parse(
        query: Option<&str>,
        headers: &HeaderMap,
        archives: bool,
    ) -> Result<Self, ApiError> {
        let mut asked = None;
        let mut goal = Goal::default();
        for (name, value) in query::parameters(query.unwrap_or_default(), &[])? {
            match name.as_ref() {
                "wait" => asked = Some(seconds(&value).ok_or_else(not_seconds)?),
                "for" => goal = parse_goal(&value, archives)?,
                other => return Err(query::unknown_parameter(other, PARAMETERS)),
            }
        }
        let preferred = || prefer::wait(headers).and_then(|value| seconds(&value));
        let time = match asked {
            Some(asked) => Time::Asked(asked),
            None => preferred().map_or(Time::Asked(0), Time::Preferred),
        };
        Ok(Self { time, goal })
    }

    /// When a wait that begins at `start` ends; `None` if the request does not want to wait.
    pub fn deadline(self, start: Instant) -> Option<Instant> {
        let (Time::Asked(seconds) | Time::Preferred(seconds)) = self.time;
        (seconds > 0).then(|| start + Duration::from_secs(seconds))
    }

    /// The value for `Preference-Applied`.
    pub fn applied(self) -> Option<HeaderValue> {
        match self.time {
            Time::Asked(_) => None,
            Time::Preferred(seconds) => HeaderValue::try_from(format!("wait={seconds}")).ok(),
        }
    }
}

fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number that does not fit is a long time.
    let seconds = || text.parse().unwrap_or(WAIT_SECONDS_MAX);
    is_number.then(|| seconds().min(WAIT_SECONDS_MAX))
}

fn not_seconds() -> ApiError {
    let message = "`wait` must be whole seconds; above 50 counts as 50";
    ApiError::invalid("wait", message)
}

/// Parses the parameter `wait` alone.
///
/// # Errors
/// 400 if it is not in whole seconds.
pub fn parse_seconds(text: &str) -> Result<Duration, ApiError> {
    seconds(text)
        .map(Duration::from_secs)
        .ok_or_else(not_seconds)
}

fn parse_goal(text: &str, archives: bool) -> Result<Goal, ApiError> {
    match text {
        "finished" => Ok(Goal::Finished),
        "archived" if archives => Ok(Goal::Archived),
        "archived" => Err(ApiError::invalid(
            "for",
            "`for` must not be archived: archive.enabled is false",
        )),
        _ => Err(ApiError::invalid(
            "for",
            "`for` must be finished or archived",
        )),
    }
}

/// Whether the task has reached `goal`, or will not reach it by itself.
pub fn is_reached(view: &TaskView, goal: Goal) -> bool {
    let is_pending = |file: &ShownFile| file.state == FileState::Pending;
    let has_pending = goal == Goal::Archived && view.files.iter().any(is_pending);
    view.record.task.state().is_finished() && !has_pending
}

/// Returns the task once `goal` is reached, `deadline` has passed, or the process is stopping.
/// Returns `None` if the task no longer exists.
pub async fn until_over(
    state: &InternalState,
    permit: WaitPermit,
    id: SubmissionId,
    goal: Goal,
    deadline: Instant,
) -> Result<Option<TaskView>, StoreError> {
    // Subscribe before the first query, so that no change after that query is missed.
    let mut watch = state.store.tail().watch_task(id);
    let name = TaskName::Submission(id);
    loop {
        let is_last = Instant::now() >= deadline || state.stopping.is_cancelled();
        // Boxed, so that a waiter does not hold the memory that a query needs.
        let query = Box::pin(state.store.find_task(&name));
        let found = permit.query(query).await?;
        let until = match &found {
            Some(view) if !is_last && !is_reached(view, goal) => {
                next_query(view.record.task.state(), deadline)
            }
            _ => return Ok(found),
        };
        drop(found);
        tokio::select! {
            () = watch.news() => {}
            () = sleep_until(until) => {}
            () = state.stopping.cancelled() => {}
        }
    }
}

/// The time of the next query. No event reports that EvoLink refused a submit, which may happen
/// after its outcome was recorded as unknown. The process that sent the submit is notified; others
/// have to poll.
fn next_query(state: State, deadline: Instant) -> Instant {
    match state {
        State::Submitting | State::SubmitUnknown => deadline.min(Instant::now() + POLL_INTERVAL),
        _ => deadline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wait(time: Time) -> Wait {
        let goal = Goal::Finished;
        Wait { time, goal }
    }

    fn parse(query: &str, prefer: &str) -> Result<Wait, ApiError> {
        let headers = HeaderMap::from_iter([(prefer::PREFER.clone(), prefer.parse().unwrap())]);
        Wait::parse(Some(query), &headers, true)
    }

    #[test]
    fn whole_seconds_up_to_fifty() {
        for (query, prefer, wait) in [
            ("", "", Time::Asked(0)),
            ("wait=0", "", Time::Asked(0)),
            ("wait=30", "wait=5", Time::Asked(30)),
            ("wait=51", "", Time::Asked(50)),
            ("wait=1000000000", "", Time::Asked(50)),
            ("wait=99999999999999999999999", "", Time::Asked(50)),
            ("", "wait=30", Time::Preferred(30)),
            ("", "respond-async, wait=100", Time::Preferred(50)),
            ("", "wait=-1", Time::Asked(0)),
            ("", "wait=soon", Time::Asked(0)),
        ] {
            let parsed = parse(query, prefer).ok().map(|wait| wait.time);
            assert_eq!(parsed, Some(wait), "{query} {prefer}");
        }
        for query in [
            "wait=-1",
            "wait=NaN",
            "wait=10s",
            "wait=",
            "wait",
            "wait=1.5",
            "wait=%2B1",
            "wait=1&wiat=2",
        ] {
            assert!(parse(query, "wait=5").is_err(), "{query}");
        }
    }

    #[test]
    fn only_a_preference_is_said_to_be_applied() {
        assert_eq!(wait(Time::Asked(30)).applied(), None);
        assert_eq!(wait(Time::Preferred(30)).applied().unwrap(), "wait=30");
    }
}
