//! Asks EvoLink once more for the URL of a file, after the one that is known did not work.

use super::Archiver;
use crate::domain::observation::results::without_query;
use crate::domain::result_file::FetchEnd;
use crate::evolink::PollReply;
use crate::store::results::FileView;

impl Archiver {
    /// Polls EvoLink for another URL of the file. `reason` says why the known one does not work.
    pub(super) async fn fresh_url(&self, view: &FileView, reason: String) -> FetchEnd {
        let Some(task_id) = &view.task_id else {
            return FetchEnd::GaveUp { reason };
        };
        self.dependencies.rate_limits.wait_for_poll().await;
        let evolink = &self.dependencies.evolink;
        let retry = |why: &str, after| FetchEnd::Retry {
            reason: format!("{reason}, and EvoLink could not be asked for a fresh URL: {why}"),
            after,
        };
        match evolink.poll_submission(view.submission_id, task_id).await {
            PollReply::Seen(seen) if seen.task_id == *task_id => {
                // EvoLink may list the results in another order.
                let path = without_query(&view.file.url);
                let same = seen.urls().find(|url| without_query(url) == path);
                let number = usize::try_from(view.file.id.number()).unwrap_or(usize::MAX);
                match same.or_else(|| seen.urls().nth(number)) {
                    Some(url) if url != view.file.url => FetchEnd::FreshUrl {
                        url: url.to_owned(),
                        reason,
                    },
                    Some(_) | None => FetchEnd::GaveUp { reason },
                }
            }
            PollReply::Gone => FetchEnd::GaveUp { reason },
            PollReply::Seen(_) => retry("it answered about another task", None),
            PollReply::Throttled { retry_after } => retry("too many requests", retry_after),
            PollReply::Failed { reason: why } | PollReply::Unreadable { reason: why, .. } => {
                retry(&why, None)
            }
        }
    }
}
