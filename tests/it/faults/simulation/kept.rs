//! One record of the reference model, and how each statement changes it. These are the rules that
//! the product must follow.

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::task::Verdict;
use evolink_receiver::domain::task::confirmation::Confirm;

use super::machine::PACE;
use super::statement::{OWN_ORIGIN, Statement, Way};

/// Equal polls in a row after which a doubtful answer of EvoLink is believed: that the task is
/// unknown, or has completed without results.
const SAME_POLLS: i64 = 3;

pub const OUTCOMES: [&str; 3] = ["completed", "failed", "cancelled"];
/// The host of EvoLink's results, as configured in the receiver.
pub const LISTED: &str = "https://files.evolink.ai/";
const UNCONFIRMED: [&str; 3] = ["submitting", "submit_unknown", "rejected"];

/// One record, as the model has it and as SQL shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Empty until it has been seen in the store, for a record that the standing URL created.
    pub submission: String,
    pub task: Option<String>,
    /// Whether EvoLink itself has named that id, in its answer to a submit or a poll.
    pub is_vouched: bool,
    /// The outcome that a callback reported and that must be confirmed by a poll, and when it was
    /// reported last.
    pub claim: Option<(String, i64)>,
    pub origin: String,
    pub state: String,
    pub progress: i64,
    pub source: Option<String>,
    /// The result URLs of a completed task, without their query strings, in order.
    pub results: Vec<String>,
    pub shown: Option<i64>,
    /// Whether a poll is planned.
    pub is_due: bool,
    pub polls: i64,
    pub empty_polls: i64,
    pub missed_polls: i64,
    /// Way, verdict, body.
    pub observations: Vec<(String, String, String)>,
    /// Type, and the number of the observation that the event reports.
    pub events: Vec<(String, Option<i64>)>,
    /// The app's own address.
    pub callback_url: Option<String>,
    /// Deliveries: type of the event, endpoint, URL.
    pub owed: Vec<(String, String, Option<String>)>,
}

impl Kept {
    pub fn has_ended(&self) -> bool {
        OUTCOMES.contains(&self.state.as_str())
    }

    /// Whether the statement names an outcome.
    fn is_outcome(&self, said: &Statement) -> bool {
        match said.status {
            "failed" | "cancelled" => true,
            "completed" => {
                !said.results.is_empty()
                    || self.state == "completed"
                    || self.empty_polls >= SAME_POLLS
            }
            _ => false,
        }
    }

    /// Whether an outcome needs confirmation. A callback's outcome may, also when an operator
    /// replays it. EvoLink's own answers do not.
    fn is_doubted(&self, first: Way, said: &Statement, confirm: Confirm) -> bool {
        let mut results = said.results.iter();
        let is_odd = !self.is_vouched
            || !said.is_documented()
            || results.any(|url| !url.starts_with(LISTED));
        first == Way::Callback
            && match confirm {
                Confirm::Never => false,
                Confirm::Suspicious => is_odd,
                Confirm::Always => true,
            }
    }

    /// While an outcome waits to be confirmed, a callback with another one waits too.
    fn contradicts(&self, first: Way, said: &Statement) -> bool {
        let claimed = self.claim.as_ref();
        first == Way::Callback && claimed.is_some_and(|(state, _)| state != said.status)
    }

    pub fn see(
        &mut self,
        way: Way,
        first: Way,
        said: &Statement,
        confirm: Confirm,
        now: i64,
    ) -> Verdict {
        let number = i64::try_from(self.observations.len()).unwrap();
        if self.task.is_none() {
            self.task = Some(said.task.clone());
            self.is_due = true;
        }
        self.is_vouched |= matches!(first, Way::Submit | Way::Poll);
        if way == Way::Poll {
            if self.has_ended() {
                // EvoLink itself has now reported the outcome, so nothing is left to confirm.
                self.claim = None;
            }
            self.missed_polls = 0;
            self.asked(now);
            let is_empty = said.status == "completed" && said.results.is_empty();
            self.empty_polls = if is_empty { self.empty_polls + 1 } else { 0 };
        }
        if self.is_outcome(said) {
            let is_doubted = self.is_doubted(first, said, confirm) || self.contradicts(first, said);
            if self.has_ended() || !is_doubted {
                return self.end(way, said, number);
            }
            self.claim = Some((said.status.to_owned(), now));
            self.is_due = true;
            if UNCONFIRMED.contains(&self.state.as_str()) {
                self.become_state("pending", way, Some(number));
            }
            return Verdict::Recorded;
        }
        if self.has_ended() {
            return Verdict::Unchanged;
        }
        self.go_on(way, said, number)
    }

    fn end(&mut self, way: Way, said: &Statement, number: i64) -> Verdict {
        let results = without_queries(&said.results);
        if self.has_ended() {
            let is_same =
                said.status != "completed" || results.is_empty() || results == self.results;
            return if self.state == said.status && is_same {
                Verdict::Duplicate
            } else {
                Verdict::Conflict
            };
        }
        self.progress = self.progress.max(said.progress.map_or(0, i64::from));
        self.results = if said.status == "completed" {
            results
        } else {
            Vec::new()
        };
        self.shown = Some(number);
        self.is_due = false;
        self.claim = None;
        self.become_state(said.status, way, Some(number));
        Verdict::Recorded
    }

    fn go_on(&mut self, way: Way, said: &Statement, number: i64) -> Verdict {
        let is_unknown = !["pending", "processing", "completed"].contains(&said.status);
        let is_doubtful = is_unknown || said.status == "completed";
        let first = UNCONFIRMED.contains(&self.state.as_str());
        let state = if is_doubtful { "pending" } else { said.status };
        let moves = first || !is_doubtful && self.state == "pending" && state == "processing";
        if moves {
            self.become_state(state, way, Some(number));
        }
        let counts = said.progress.map_or(0, i64::from);
        let rises = said.status != "completed" && counts > self.progress;
        if rises {
            self.progress = counts;
        }
        if is_doubtful {
            self.is_due |= way != Way::Poll || self.empty_polls > 0;
        } else if self.state == "unresolved" {
            // EvoLink still knows the task.
            self.is_due |= way != Way::Poll;
        }
        let is_news = moves || rises || is_doubtful;
        let is_behind = said.progress.is_some() && counts < self.progress
            || said.status == "pending" && self.state != "pending";
        if is_news && said.status != "completed" && !is_behind {
            self.shown = Some(number);
        }
        if is_news {
            Verdict::Recorded
        } else {
            Verdict::Unchanged
        }
    }

    fn become_state(&mut self, state: &str, way: Way, number: Option<i64>) {
        state.clone_into(&mut self.state);
        self.source = Some(way.name().to_owned());
        let event = if state == "pending" {
            "submitted"
        } else {
            state
        };
        let event = format!("task.{event}");
        self.events.push((event.clone(), number));
        if OUTCOMES.contains(&state) {
            self.owe(&event);
        }
    }

    /// Adds the deliveries of an event to the routes that `machine` configures.
    fn owe(&mut self, event: &str) {
        let mut owe = |endpoint: &str, url| {
            self.owed.push((event.to_owned(), endpoint.to_owned(), url));
        };
        owe("all", None);
        if event != "task.completed" {
            owe("bad", None);
        }
        if let Some(url) = &self.callback_url {
            owe(OWN_ORIGIN, Some(url.clone()));
        }
    }

    /// Ends a submit. A refusal may come late, and a callback may have come before it.
    pub fn end_submit(&mut self, state: &str) {
        let is_late_refusal = self.state == "submit_unknown" && state == "rejected";
        if self.state == "submitting" || is_late_refusal {
            state.clone_into(&mut self.state);
        }
    }

    /// Records that a poll has ended, in whatever way. An unresolved task is polled until its time
    /// is over.
    pub fn asked(&mut self, now: i64) {
        self.polls += 1;
        let is_wanted = if self.state == "unresolved" {
            now - self.submitted_at() < i64::try_from(PACE.give_up_after.as_millis()).unwrap()
        } else {
            !self.has_ended()
        };
        self.is_due &= is_wanted || self.claim.is_some();
    }

    fn submitted_at(&self) -> i64 {
        let id: SubmissionId = self.submission.parse().unwrap();
        id.made_at().as_millis()
    }

    pub fn miss(&mut self, now: i64) {
        self.empty_polls = 0;
        self.missed_polls += 1;
        if self.missed_polls >= SAME_POLLS {
            self.claim = None;
            self.become_unresolved();
        }
        self.asked(now);
    }

    /// Stops polling the task. `was_just_asked` means that its next poll lies in the future.
    pub fn give_up(&mut self, was_just_asked: bool) {
        // It takes three polls that say so to believe that a task has completed without results.
        if !(self.is_due && was_just_asked && self.empty_polls > 0) {
            self.is_due = false;
            self.claim = None;
        }
        self.become_unresolved();
    }

    fn become_unresolved(&mut self) {
        if ["pending", "processing"].contains(&self.state.as_str()) {
            "unresolved".clone_into(&mut self.state);
            self.events.push(("task.unresolved".to_owned(), None));
        }
    }
}

pub fn without_queries(urls: &[String]) -> Vec<String> {
    let mut urls: Vec<String> = urls
        .iter()
        .map(|url| url.split('?').next().unwrap_or_default().to_owned())
        .collect();
    urls.sort_unstable();
    urls
}
