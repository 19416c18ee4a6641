//! A service that is left alone: its store does not grow after `retention.tasks`. A sample in each
//! run; more than a year in `./test --long`.

use std::time::Duration;

use evolink_receiver::domain::observation::Source;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{Desk, said};
use crate::support::campaign::rounds;

/// Tasks that are under way at once.
const AT_ONCE: u32 = 64;

impl Desk {
    /// The bytes that the database takes on its disk.
    async fn bytes(&self) -> i64 {
        let sql = self.database.either(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
                WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        );
        self.database.value(sql, &[]).await
    }

    /// A day with `tasks` tasks at a fixed rate, then the work of the janitor. Returns how long each
    /// callback took.
    async fn day(&mut self, day: u32, tasks: u32) -> Vec<Duration> {
        let mut times = Vec::new();
        for first in (0..tasks).step_by(AT_ONCE as usize) {
            let numbers = first..tasks.min(first + AT_ONCE);
            let whole = numbers.map(|n| {
                let (desk, name) = (&*self, format!("task-{day}-{n}"));
                async move {
                    let id = desk.submitted(&name).await;
                    let began = Instant::now();
                    desk.record(said(id, Source::Callback, &name, "failed"))
                        .await;
                    began.elapsed()
                }
            });
            times.extend(join_all(whole).await);
        }
        // The endpoint gets everything.
        self.database
            .execute(
                "UPDATE delivery SET state = 'delivered', ended_at = made_at, holder = NULL, lease_until = NULL
                    WHERE state = 'pending'",
            )
            .await;
        self.live(1).await;
        times
    }
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_left_alone_stops_growing() {
    let (days, tasks) = (rounds(112, 400), rounds(24, 250));
    let began = Instant::now();
    let mut desk = Desk::open().await;
    let (mut sizes, mut first, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for day in 0..days {
        let times = desk.day(day, tasks).await;
        if (5..15).contains(&day) {
            first.extend(times);
        } else if day + 10 >= days {
            last.extend(times);
        }
        // A server's autovacuum looks once a minute, which is more than a day here.
        if day % 5 == 4 && desk.database.is_postgres() {
            desk.database.execute("VACUUM").await;
        }
        sizes.push(desk.bytes().await);
        if day % 20 == 19 {
            println!("day {}: {} KiB", day + 1, sizes[sizes.len() - 1] / 1024);
        }
    }
    desk.assert_whole().await;
    let kept = desk.count("task").await;
    println!(
        "{} tasks in {days} days, {kept} kept; {} KiB on day 95, {} KiB at the end; callbacks' p99 {:?} at the start, {:?} at \
         the end; {:?} in all",
        u64::from(days) * u64::from(tasks),
        sizes[94] / 1024,
        sizes[sizes.len() - 1] / 1024,
        p99(first),
        p99(last),
        began.elapsed()
    );
    assert!(kept <= i64::from(92 * tasks), "{kept}");
    let bound = sizes[94] + sizes[94] / 10 + 64 * 1024;
    let largest = sizes[95..].iter().max().unwrap();
    assert!(
        *largest <= bound,
        "{} bytes on day 95, then {largest}",
        sizes[94]
    );
    desk.close().await;
}
