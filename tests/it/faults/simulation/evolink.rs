//! EvoLink, as far as a history needs it: which tasks exist, what was charged, and how each task
//! will end.

use std::collections::BTreeMap;

use evolink_receiver::domain::ids::SubmissionId;

use super::statement::{Form, Statement};

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Completed,
    Failed,
    Cancelled,
    Never,
}

/// A task that was accepted and charged.
#[derive(Clone, Debug)]
pub struct Work {
    pub id: String,
    pub submission: SubmissionId,
    pub fate: Fate,
    pub progress: u8,
    pub has_ended: bool,
}

#[derive(Debug, Default)]
pub struct Evolink {
    pub works: Vec<Work>,
    posts: Vec<SubmissionId>,
    charges: BTreeMap<String, u32>,
    said: u32,
}

impl Evolink {
    /// A submit arrives and is accepted. `Err` if it was sent or paid for before. `paid_as` names
    /// what may be paid for once.
    pub fn accept(
        &mut self,
        submission: SubmissionId,
        paid_as: Option<&str>,
        fate: Fate,
    ) -> Result<(), String> {
        self.post(submission)?;
        if let Some(key) = paid_as {
            let charges = self.charges.entry(key.to_owned()).or_default();
            *charges += 1;
            if *charges > 1 {
                return Err(format!("{key} was paid for twice"));
            }
        }
        self.works.push(Work {
            id: format!("task-unified-{submission}"),
            submission,
            fate,
            progress: 0,
            has_ended: false,
        });
        Ok(())
    }

    /// Records that a submit is sent.
    pub fn post(&mut self, submission: SubmissionId) -> Result<(), String> {
        if self.posts.contains(&submission) {
            return Err(format!("{submission} was sent twice"));
        }
        self.posts.push(submission);
        Ok(())
    }

    pub fn of(&self, submission: SubmissionId) -> Option<usize> {
        let mut works = self.works.iter();
        works.position(|work| work.submission == submission)
    }

    /// Advances a task. `Never` never ends.
    pub fn go_on(&mut self, at: usize, progress: u8, ends: bool) {
        let work = &mut self.works[at];
        work.progress = work.progress.max(progress.min(99));
        work.has_ended |= ends && work.fate != Fate::Never;
    }

    /// Returns the truth about a task in a new body. Result URLs get a fresh signature each time.
    pub fn tell(&mut self, at: usize) -> Statement {
        self.said += 1;
        let (work, number) = (&self.works[at], self.said);
        let status = match work.fate {
            _ if !work.has_ended && work.progress == 0 => "pending",
            _ if !work.has_ended => "processing",
            Fate::Completed => "completed",
            Fate::Failed => "failed",
            Fate::Cancelled | Fate::Never => "cancelled",
        };
        let results = match status {
            "completed" => {
                let mut results = work.results();
                results[0] = format!("{}?signed={number}", results[0]);
                results
            }
            _ => Vec::new(),
        };
        Statement {
            task: work.id.clone(),
            status,
            progress: Some(if work.has_ended { 100 } else { work.progress }),
            results,
            number,
            form: Form::Documented,
        }
    }
}

impl Work {
    /// The unsigned result URLs of a completed task.
    pub fn results(&self) -> Vec<String> {
        let urls = (0..2).map(|at| format!("https://files.evolink.ai/{}/{at}.webp", self.id));
        urls.collect()
    }
}

impl Fate {
    pub const fn state(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Never => "unresolved",
        }
    }
}
