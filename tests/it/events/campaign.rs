//! Readers lose their connection at any moment, from a service that is killed, stopped and
//! restarted. In the end each of them has read the whole log, without a gap and without a repeat.

use crate::support::events::readers::readers_read_the_log;
use crate::support::process::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_read_the_log_of_a_receiver_that_is_killed_and_stopped() {
    let places = [Place::new()];
    let receivers = vec![places[0].start().await];
    readers_read_the_log(&places, receivers).await;
}
