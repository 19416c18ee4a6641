//! The keys take turns, so one key's flood costs the others at most its share.

use evolink_receiver::simulator::Options;

use super::{key, submit};
use crate::support::app::TestApp;
use crate::support::until::until;

#[tokio::test]
async fn one_key_s_flood_of_submits_does_not_keep_another_key_out() {
    let keys = vec![key("flood", |_| {}), key("calm", |_| {})];
    let builder = TestApp::builder().with(|config| {
        config.internal.api_keys = keys;
        config.evolink.submits_per_second = 1;
    });
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let flood = futures_util::future::join_all((0..30).map(|number| {
        let prompt = format!("[sim:never-ends] {number}");
        let app = &app;
        async move { submit(app, "flood", &prompt).await.status }
    }));
    let calm = async {
        until("the flood has begun", || evolink.stats().submits > 0).await;
        // First come, first served, this one would wait longer than the 5 s that a submit waits.
        submit(&app, "calm", "[sim:never-ends]").await.status
    };
    let (flood, calm) = tokio::join!(flood, calm);
    assert_eq!(calm, 200, "{flood:?}");
    assert!(flood.contains(&429), "{flood:?}");
}
