//! Outcomes × matching endpoints = delivered + pending + dead. This holds in `/metrics` and in SQL,
//! whatever happens to the deliveries and in whatever order.

use super::*;

const STEPS: u32 = 150;

impl Desk {
    /// The sum of a counter over all series whose names and labels begin with `series`.
    fn counted(&self, series: &str) -> i64 {
        let text = self.metrics.render();
        let lines = text.lines();
        let values =
            lines.filter_map(|line| line.strip_prefix("evolink_receiver_")?.strip_prefix(series));
        values
            .filter_map(|rest| rest.rsplit_once(' '))
            .map(|(_, value)| value.parse::<i64>().unwrap())
            .sum()
    }

    fn ended(&self, endpoint: &str, result: &str) -> i64 {
        self.counted(&format!(
            "deliveries_total{{endpoint=\"{endpoint}\",result=\"{result}\"}}"
        ))
    }

    async fn assert_balance(&self, step: &str) {
        let sql = "SELECT CASE WHEN url IS NULL THEN endpoint ELSE 'callback_url' END AS name, count(*),
            count(CASE state WHEN 'delivered' THEN 1 END), count(CASE state WHEN 'dead' THEN 1 END) FROM delivery GROUP BY 1";
        let rows: Vec<(String, i64, i64, i64)> = self.database.rows(sql, &[]).await;
        for (name, all, delivered, dead) in rows {
            let labels = format!("_total{{endpoint=\"{name}\"}}");
            let made = self.counted(&format!("deliveries_made{labels}"));
            let revived = self.counted(&format!("deliveries_revived{labels}"));
            assert_eq!(made, all, "{step}: {name}");
            assert_eq!(self.ended(&name, "delivered"), delivered, "{step}: {name}");
            assert_eq!(self.ended(&name, "dead") - revived, dead, "{step}: {name}");
        }
        // `all` gets every outcome, `bad` the unsuccessful ones, and the app the outcomes of its
        // own tasks.
        let owed = "SELECT (SELECT count(*) FROM task WHERE outcome_at IS NOT NULL)
            + (SELECT count(*) FROM task WHERE state IN ('failed', 'cancelled'))
            + (SELECT count(*) FROM task WHERE outcome_at IS NOT NULL AND callback_url IS NOT NULL)";
        let owed: i64 = self.database.value(owed, &[]).await;
        assert_eq!(self.counted("deliveries_made_total{"), owed, "{step}");
        assert_eq!(
            self.counted("deliveries_made_total{endpoint=\"all\"}"),
            self.counted("outcomes_total{"),
            "{step}"
        );
    }
}

#[tokio::test]
async fn outcomes_times_endpoints_are_those_delivered_pending_and_dead() {
    let desk = Desk::open().await;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let stranger = Holder::new(START);
    let mut ids = Vec::new();
    for step in 0..STEPS {
        let pick = ids.get(random.usize(..ids.len().max(1))).copied();
        let done = match (random.u8(..9), pick) {
            (0..3, _) | (_, None) => {
                let status = *random
                    .choice(&["completed", "failed", "cancelled"])
                    .unwrap();
                let own = random.bool().then_some(OWN);
                ids.extend(desk.outcome(&format!("task-{step}"), status, own).await);
                format!("{status} {own:?}")
            }
            (3, Some(id)) => format!("retry {id}: {:?}", desk.retry(id).await),
            (4, _) => {
                let endpoint = random.bool().then(|| EndpointKey::parse("bad"));
                let limit = random.u32(1..4);
                let all = Entry::DeliveriesRetried { endpoint, limit };
                format!("{all:?}: {:?}", desk.record(all.clone()).await)
            }
            (5, _) => {
                desk.clock.advance(HELD_MAX);
                let endpoint = EndpointKey::parse("bad");
                let expired = Entry::HeldExpired { endpoint };
                format!("{expired:?}: {:?}", desk.record(expired.clone()).await)
            }
            (_, Some(id)) => {
                let attempts = desk.state(id).await.1;
                let attempt = u32::try_from(attempts).unwrap() + 1;
                let claimed = desk.claim(id).await;
                let end = match random.u8(..5) {
                    0 => OK,
                    1 => gone(),
                    2 => AttemptEnd::GivenBack,
                    3 => AttemptEnd::Refused {
                        reason: "no".to_owned(),
                    },
                    _ => failed(),
                };
                // The result is reported twice, and once more by a process that does not hold the
                // lease.
                let told = desk.end(id, attempt, end.clone()).await;
                desk.end(id, attempt, end.clone()).await;
                desk.record(Entry::DeliveryEnded {
                    id: DeliveryId(id),
                    holder: stranger.clone(),
                    attempt,
                    end: end.clone(),
                    jitter: 0.0,
                })
                .await;
                format!("{id} {claimed:?} {end:?}: {told:?}")
            }
        };
        desk.clock.advance(Duration::from_secs(random.u64(..20)));
        desk.assert_balance(&format!("seed {seed}, step {step}: {done}"))
            .await;
    }
}
