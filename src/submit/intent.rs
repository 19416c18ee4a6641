//! The intent of a submit: recorded before anything is sent, and withdrawn if nothing is.

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::outcome::Outcome;
use super::watching::watch_rows;
use super::{Running, recording};
use crate::store::StoreError;
use crate::store::recorder::calls::Intended;
use crate::store::recorder::entry::{Intent, SubmitEnded};
use crate::store::repeats::RepeatGuard;

impl Running<'_> {
    pub(super) fn guard(&self) -> Option<RepeatGuard> {
        let is_guarded = self.submits.is_guarded(self.submission);
        is_guarded.then(|| RepeatGuard {
            fingerprint: self.submission.generation.fingerprint().to_bytes(),
            window: self.submits.repeat_window,
            has_watched: false,
            watched: Vec::new(),
        })
    }

    /// Called when the app of an equal submit still seems to wait: finds out what can be known
    /// about that app.
    pub(super) async fn watch_equal_submits(
        &self,
        guard: Option<RepeatGuard>,
    ) -> Result<Option<RepeatGuard>, Outcome> {
        let Some(guard) = guard else { return Ok(None) };
        let client = self.submission.client.as_deref().unwrap_or_default();
        let watching = watch_rows(self.submits, client, &guard.fingerprint, guard.window);
        let Some(watched) = self.disconnected.run_until_cancelled(watching).await else {
            return Err(Outcome::Abandoned);
        };
        Ok(Some(RepeatGuard {
            has_watched: true,
            watched: watched?,
            ..guard
        }))
    }

    /// Records the intent. After an error the submit is not sent, whether or not the intent was
    /// written.
    pub(super) async fn intend(
        &self,
        guard: Option<&RepeatGuard>,
        deadline: Instant,
    ) -> Result<Intended, Outcome> {
        let generation = &self.submission.generation;
        let intent = Intent {
            submission_id: self.id,
            client: self.submission.client.clone(),
            kind: generation.kind,
            model: generation.model.clone(),
            reference: self.submission.reference.clone(),
            request: generation.to_record(),
            callback_url: generation.callback_url.clone(),
            idempotency: self.submission.idempotency.clone(),
            guard: guard.cloned(),
            limits: self.submission.limits,
        };
        let recording = timeout_at(deadline, self.submits.recorder.intend(intent));
        let recorded = match self.disconnected.run_until_cancelled(recording).await {
            Some(in_time) => in_time.unwrap_or(Err(StoreError::TooSlow)).map(Some),
            None => Ok(None),
        };
        match recorded {
            // The app may have disconnected while the receipt was on its way.
            Ok(Some(Intended::Fresh)) if self.disconnected.is_cancelled() => {}
            Ok(Some(intended)) => return Ok(intended),
            Ok(None) => {}
            Err(error) => {
                if may_be_written(&error) {
                    self.withdraw();
                }
                return Err(error.into());
            }
        }
        self.withdraw();
        Err(Outcome::Abandoned)
    }

    /// Withdraws an intent that may have been written but is not sent. Otherwise it would hold its
    /// key for as long as keys are kept. The app does not wait for this.
    fn withdraw(&self) {
        recording::withdraw(self.submits, self.id, self.refusal(None));
    }

    /// The record of a submit that EvoLink did not accept, so that the app can retry under the same
    /// key.
    pub(super) fn refusal(&self, answer: Option<Bytes>) -> SubmitEnded {
        SubmitEnded::Refused {
            answer,
            idempotency: self.submission.idempotency.clone(),
        }
    }
}

/// Whether an entry may be in the store although recording it returned `error`.
const fn may_be_written(error: &StoreError) -> bool {
    !matches!(
        error,
        StoreError::Overloaded
            | StoreError::Full
            | StoreError::Locked
            | StoreError::Contended(_)
            | StoreError::CannotOpen { .. }
            | StoreError::NoConnectionLeft { .. }
    )
}
