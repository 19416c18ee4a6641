//! Asks EvoLink once more for the URL of a file, after the one that is known did not work.

use super::Archiver;
use crate::domain::observation::results::without_query;
use crate::domain::result_file::FetchOutcome;
use crate::evolink::PollReply;
use crate::store::results::FileView;
use crate::workers::polled;

impl Archiver {
    /// Polls EvoLink for another URL of the file. `reason` says why the known one does not work.
    pub(super) async fn fresh_url(&self, view: &FileView, reason: String) -> FetchOutcome {
        let Some(task_id) = &view.task_id else {
            return FetchOutcome::GaveUp { reason };
        };
        self.dependencies.rate_limits.wait_for_poll().await;
        let evolink = &self.dependencies.evolink;
        let retry = |why: &str, after| FetchOutcome::Retry {
            reason: format!("{reason}, and EvoLink could not be asked for a fresh URL: {why}"),
            after,
        };
        let reply = evolink.poll_submission(view.submission_id, task_id).await;
        polled::count(&self.dependencies.metrics, &reply);
        match reply {
            PollReply::Seen(seen) if seen.task_id == *task_id => {
                // EvoLink may list the results in another order.
                let path = without_query(&view.file.url);
                let same = seen.urls().find(|url| without_query(url) == path);
                let number = usize::try_from(view.file.id.number()).unwrap_or(usize::MAX);
                let at_number = || seen.urls().nth(number);
                let at_number = || view.is_numbered_as_listed.then(at_number).flatten();
                match same.or_else(at_number) {
                    Some(url) if url != view.file.url => FetchOutcome::FreshUrl {
                        url: url.to_owned(),
                        reason,
                    },
                    Some(_) | None => FetchOutcome::GaveUp { reason },
                }
            }
            PollReply::Gone => FetchOutcome::GaveUp { reason },
            PollReply::Seen(_) => retry("it answered about another task", None),
            PollReply::Throttled { retry_after } => retry("too many requests", retry_after),
            PollReply::Failed { reason: why } | PollReply::Unreadable { reason: why, .. } => {
                retry(&why, None)
            }
        }
    }
}
