//! Faulty callbacks, and what an operator does with those that went to quarantine.

use evolink_receiver::domain::ids::SubmissionId;

use super::deliveries::{Message, Said};
use super::run::{Checked, Run};
use super::statement::{About, Form, Statement};

impl Run<'_> {
    /// Sends a faulty callback.
    #[expect(clippy::unnecessary_wraps, reason = "it is a step like the others")]
    pub fn stray(&mut self) -> Checked {
        let Some(id) = self.any_submission() else {
            return Ok(());
        };
        if self.random.u8(..4) == 0 {
            self.contradict();
            return Ok(());
        }
        let own = match self.evolink.of(id) {
            Some(work) => self.evolink.tell(work),
            None => Statement {
                task: format!("task-unified-{id}"),
                status: "processing",
                progress: None,
                results: Vec::new(),
                number: self.random.u32(..3),
                form: Form::Documented,
            },
        };
        let about = About::Submission(id);
        let kind = [0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8][self.random.usize(..11)];
        let said = match kind {
            0 => Statement {
                task: self.any_task(id),
                ..own
            },
            1 => self.forge(own),
            2 => Statement {
                status: "completed",
                results: Vec::new(),
                ..own
            },
            3 => Statement {
                status: "paused",
                progress: Some(self.random.u8(..=100)),
                results: Vec::new(),
                ..own
            },
            4 => Statement {
                status: ["pending", "processing"][self.random.usize(..2)],
                progress: Some(self.random.u8(..=100)),
                results: Vec::new(),
                ..own
            },
            5 => {
                let body = self.garble(about, &own);
                self.call_back(about, Said::Unreadable(body));
                return Ok(());
            }
            // True, but not in the form that EvoLink writes.
            6 => Statement {
                form: [Form::Wrapped, Form::Respelt][self.random.usize(..2)],
                ..own
            },
            _ => {
                let task = self.any_task(id);
                self.lie_about(id, &task);
                let about = About::Standing(self.seed);
                self.call_back(about, Said::Statement(Statement { task, ..own }));
                return Ok(());
            }
        };
        if kind < 2 {
            self.lie_about(id, &said.task);
        }
        self.call_back(about, Said::Statement(said));
        Ok(())
    }

    /// Reports another outcome for a task that has ended, perhaps twice.
    fn contradict(&mut self) {
        let records = self.look.content.records.iter();
        let ended = records.filter(|record| record.has_ended() && record.origin != "standing");
        let ended: Vec<SubmissionId> = ended
            .map(|record| record.submission.parse().unwrap())
            .collect();
        if ended.is_empty() {
            return;
        }
        let id = ended[self.random.usize(..ended.len())];
        let Some(work) = self.evolink.of(id) else {
            return;
        };
        let truth = self.evolink.tell(work);
        let said = self.forge(truth);
        self.lie_about(id, &said.task);
        for _ in 0..self.random.u8(1..=2) {
            self.call_back(About::Submission(id), Said::Statement(said.clone()));
        }
    }

    /// Returns an outcome that was made up by somebody who knows the callback URL.
    fn forge(&mut self, own: Statement) -> Statement {
        let host = ["files.evolink.ai", "evil.example"][self.random.usize(..2)];
        let forms = [Form::Documented, Form::Wrapped, Form::Respelt];
        Statement {
            status: ["completed", "failed", "cancelled"][self.random.usize(..3)],
            results: vec![format!("https://{host}/other/{}", self.random.u8(..2))],
            number: self.random.u32(..2),
            form: forms[[0, 0, 1, 2][self.random.usize(..4)]],
            ..own
        }
    }

    /// Returns a body that cannot be read, or that this receiver cannot read yet because EvoLink's
    /// form is newer.
    fn garble(&mut self, about: About, own: &Statement) -> String {
        if self.random.bool() {
            return format!("<html>{}", self.random.u8(..3));
        }
        self.can_be_read(about, own);
        own.body()
    }

    /// An operator replays entries of the quarantine: one, one twice, or two.
    #[expect(clippy::unnecessary_wraps, reason = "it is a step like the others")]
    pub fn replay(&mut self) -> Checked {
        let held = self.look.content.quarantine.iter();
        let found = held.filter_map(|(key, held)| {
            let (about, said) = self.readable.get(key)?;
            Some((held.id, *about, said.clone()))
        });
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            return Ok(());
        }
        for _ in 0..self.random.usize(1..=2) {
            let (id, about, said) = found[self.random.usize(..found.len())].clone();
            let times = if self.random.u8(..3) == 0 { 2 } else { 1 };
            for _ in 0..times {
                self.note(&format!("to replay: {id} {about:?} {said:?}"));
                let replay = Message::Replay(id, about, said.clone());
                self.air.push(replay);
            }
        }
        Ok(())
    }
}
