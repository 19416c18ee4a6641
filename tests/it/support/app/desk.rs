//! A desk that makes submits which wait for their callback, sends callbacks, and reads the database
//! to check what was written.

use evolink_receiver::config::Config;
use evolink_receiver::domain::callback::Subject;
use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};

use super::callback_body::completed;
use super::running::TestApp;
use crate::support::store::database::{Bind, Database};

/// EvoLink accepts the task and never calls back. Polls are answered 500, so that they change
/// nothing.
const BOUND: &str = "[sim:never-ends,lost-callback,query-500]";

/// EvoLink accepts and charges the submit but answers 502, so the receiver does not know the task
/// id.
const UNBOUND: &str = "[sim:bad-gateway,never-ends,lost-callback,query-500]";

/// A receiver in front of a simulator, with a clock that stands still.
pub struct Desk {
    pub app: TestApp,
    pub simulator: Simulator,
    pub database: Database,
}

/// One submit, and the callback URL that EvoLink received for it.
#[derive(Clone, Debug)]
pub struct Submit {
    pub token: String,
    pub submission_id: String,
    pub task_id: String,
}

/// The number of rows of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    pub tasks: i64,
    pub observations: i64,
    pub events: i64,
    pub quarantine: i64,
}

/// The answer to a callback, which also says what is recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Recorded,
    Duplicate,
    Unchanged,
    Conflict,
    Q400,
    Q409,
    /// Refused with this status, and nothing is recorded.
    Refused(u16),
}

impl Answer {
    pub fn status(self) -> u16 {
        match self {
            Self::Recorded | Self::Duplicate | Self::Unchanged | Self::Conflict => 200,
            Self::Q400 => 400,
            Self::Q409 => 409,
            Self::Refused(status) => status,
        }
    }

    fn result(self) -> Option<&'static str> {
        match self {
            Self::Recorded => Some("recorded"),
            Self::Duplicate => Some("duplicate"),
            Self::Unchanged => Some("unchanged"),
            Self::Conflict => Some("conflict"),
            Self::Q400 | Self::Q409 | Self::Refused(_) => None,
        }
    }
}

impl Submit {
    /// The submission id as a parameter of a query.
    pub fn bind(&self) -> Bind<'_> {
        Bind::Text(&self.submission_id)
    }
}

impl Desk {
    pub async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    pub async fn open_with(change: impl FnOnce(&mut Config)) -> Self {
        // The repeat guard is off, because it would write rows while a test checks for writes.
        let builder = TestApp::builder()
            .with_manual_clock()
            .with(|config| config.submits.repeat_window = std::time::Duration::ZERO)
            .with(change);
        let (app, simulator) = builder.start_with_simulator(Options::default()).await;
        let database = app.database().await;
        Self {
            app,
            simulator,
            database,
        }
    }

    /// A submit whose task id is bound and whose only known state is `pending`.
    pub async fn bound(&self) -> Submit {
        let task = self.app.submitted(BOUND).await;
        self.submit_of(&task["receiver"]["submission_id"])
    }

    /// A submit whose outcome is unknown: no task id is bound.
    pub async fn unbound(&self) -> Submit {
        let body = json!({"model": "z-image-turbo", "prompt": UNBOUND});
        let (status, answer) = self.app.submit(&body).await;
        assert_eq!(status, 504, "{answer}");
        self.submit_of(&answer["error"]["submission_id"])
    }

    /// The simulator's newest submit, which must be `submission_id` here.
    pub fn submit_of(&self, submission_id: &Value) -> Submit {
        let task = self.simulator.tasks().pop().unwrap();
        let url = task.callback_url.unwrap();
        let (_, token) = url.rsplit_once('/').unwrap();
        let submission_id = submission_id.as_str().unwrap().to_owned();
        let subject = Subject::Submission(submission_id.parse().unwrap());
        assert_eq!(token, self.app.token(&subject), "one submit at a time");
        Submit {
            token: token.to_owned(),
            submission_id,
            task_id: task.id,
        }
    }

    pub async fn rows(&mut self) -> Rows {
        let count = "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM observation),
            (SELECT count(*) FROM event), (SELECT count(*) FROM quarantine)";
        let (tasks, observations, events, quarantine) = self.database.row(count, &[]).await;
        Rows {
            tasks,
            observations,
            events,
            quarantine,
        }
    }

    /// Changes with every commit of the receiver, and at no other time.
    pub async fn version(&self) -> String {
        self.database.version().await
    }

    /// The types of the events of one submit, in order.
    pub async fn events(&mut self, submit: &Submit) -> Vec<String> {
        let sql = "SELECT type FROM event JOIN task ON task.seq = task_seq WHERE submission_id = $1 ORDER BY event.seq";
        self.database.values(sql, &[submit.bind()]).await
    }

    /// State and progress of one submit.
    pub async fn state(&mut self, submit: &Submit) -> (String, i64) {
        let sql = "SELECT state, progress FROM task WHERE submission_id = $1";
        self.database.row(sql, &[submit.bind()]).await
    }

    /// Whether a poll is due now. The clock stands still, so a poll that has begun was due too.
    pub async fn is_due(&mut self, submit: &Submit) -> bool {
        let sql = "SELECT polled_at IS NOT NULL OR coalesce(next_poll_at <= $2, false) FROM task WHERE submission_id = $1";
        let now = Bind::Int(self.app.clock.now().as_millis());
        self.database.value(sql, &[submit.bind(), now]).await
    }

    /// A second connection that can write, as an operator with a database tool would have.
    pub async fn intruder(&self) -> Database {
        self.app.database().await
    }

    /// Sends `body`, compares the answer and the rows with `expected`, and then checks rule B14.
    pub async fn check(
        &mut self,
        row: &str,
        submit: &Submit,
        body: impl AsRef<[u8]>,
        expected: Answer,
    ) {
        let before = self.rows().await;
        let body = body.as_ref().to_vec();
        let (status, answer) = self.app.callback(&submit.token, body).await;
        assert_eq!(status, expected.status(), "{row}: {answer}");
        let result = serde_json::from_str::<Value>(&answer).unwrap_or_default()["result"].clone();
        assert_eq!(result.as_str(), expected.result(), "{row}: {answer}");
        self.check_rows(row, before, &[expected]).await;
        if matches!(expected, Answer::Q400 | Answer::Q409) {
            let (state, _) = self.state(submit).await;
            let is_open = matches!(state.as_str(), "pending" | "processing");
            assert!(!is_open || self.is_due(submit).await, "{row}: to be polled");
        }
        self.assert_well(row).await;
    }

    /// Checks which rows were added since `before`: only those that belong to `answers`.
    pub async fn check_rows(&mut self, row: &str, before: Rows, answers: &[Answer]) {
        let after = self.rows().await;
        let kept = |answer: &Answer| answer.status() == 200;
        let quarantined =
            |answer: &Answer| matches!(answer, Answer::Conflict | Answer::Q400 | Answer::Q409);
        let count =
            |is: &dyn Fn(&Answer) -> bool| answers.iter().filter(|answer| is(answer)).count();
        let added = |before: i64, after: i64| usize::try_from(after - before).unwrap();
        assert_eq!(after.tasks, before.tasks, "{row}: tasks");
        assert_eq!(
            added(before.observations, after.observations),
            count(&kept),
            "{row}: observations"
        );
        assert_eq!(
            added(before.quarantine, after.quarantine),
            count(&quarantined),
            "{row}: quarantine"
        );
        let events = added(before.events, after.events);
        let must = count(&|answer| *answer == Answer::Conflict);
        let may = must + count(&|answer| *answer == Answer::Recorded);
        assert!((must..=may).contains(&events), "{row}: {events} events");
    }

    /// Rule B14: the process is alive, the next valid callback gets its 200, and every callback is
    /// counted once.
    pub async fn assert_well(&self, row: &str) {
        let token = self.app.standing_token("well");
        let id = format!("task-unified-1757165031-well{:08x}", fastrand::u32(..));
        let result = self.app.callback_result(&token, completed(&id)).await;
        assert_eq!(result, "recorded", "after {row}");
        self.app.assert_counters_balance();
    }
}
