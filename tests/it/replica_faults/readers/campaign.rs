//! Readers that switch between three replicas, each of which is killed, stopped and started again.

use crate::support::events::readers::readers_read_the_log;
use crate::support::process::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_hop_between_replicas_read_the_log() {
    let Some(first) = Place::on_postgres() else {
        return;
    };
    let places = [first.replica(), first.replica()];
    // The first start creates key ring, certificate and schema.
    let mut receivers = vec![first.start().await];
    let [second, third] = places;
    receivers.push(second.start().await);
    receivers.push(third.start().await);
    readers_read_the_log(&[first, second, third], receivers).await;
}
