//! The conditions under which a task and the bodies of its observations may be deleted. The queries
//! of the janitor and of the recorder share them.

/// The condition under which the task in `task` may be deleted. The parameters are the SQL of three
/// values: the first submission id that is too young, the time from which a pending file may still
/// be fetched, and the time after which a file was archived that is still kept.
///
/// An open task stays, also if it is old: its outcome may still come. A submit of unknown outcome
/// goes: its callback URL has expired, so nothing can name its task any more.
macro_rules! is_deletable_task {
    ($young:literal, $offered:literal, $kept:literal) => {
        concat!(
            "task.submission_id < ",
            $young,
            " AND task.state <> 'submitting' AND task.state <> 'pending' AND task.state <> 'processing'
            AND task.claimed IS NULL AND task.seq < (SELECT max(seq) FROM task)
            AND NOT EXISTS (SELECT 1 FROM event WHERE event.task_seq = task.seq)
            AND NOT EXISTS (SELECT 1 FROM result WHERE result.id >= task.seq * 64 AND result.id < task.seq * 64 + 64
                AND ((result.state = 'pending' AND result.offered_until >= ",
            $offered,
            ") OR (result.state = 'archived' AND result.ended_at >= ",
            $kept,
            ")))"
        )
    };
}
pub(super) use is_deletable_task;
