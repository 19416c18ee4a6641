//! SIGKILL at a random moment.

use super::Campaign;
use crate::support::campaign::{random, rounds};
use crate::support::process::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_archived_is_whole_after_sigkill() {
    let (mut random, rounds) = (random(), rounds(5, 50));
    let mut campaign = Campaign::at(Place::new()).await;
    for _ in 0..rounds {
        let mut receiver = campaign.place.start().await;
        campaign.load(&receiver, &mut random).await;
        receiver.kill();
        campaign.assert_true().await;
    }
    campaign.end().await;
}
