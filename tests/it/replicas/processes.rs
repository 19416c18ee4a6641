//! Three processes of the real program, under load that goes to all of them.

use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::store::check;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_over_three_processes_is_recorded_once_and_whole() {
    let Some(place) = Place::on_postgres() else {
        return;
    };
    // The first start creates key ring and certificate, which the others then use too.
    let mut first = place.start().await;
    let places = [place.replica(), place.replica()];
    let (mut second, mut third) = (places[0].start().await, places[1].start().await);
    let load = Load::new();
    let running = load.start_over(&[&first, &second, &third]);
    running.reached(1500).await;
    running.stop().await;
    for receiver in [&mut first, &mut second, &mut third] {
        receiver.terminate();
        assert_eq!(
            receiver.ended().await.code(),
            Some(0),
            "{}",
            receiver.log_tail()
        );
    }
    let faults = check::faults(place.store(), &load.acknowledged()).await;
    assert!(faults.is_empty(), "{faults:#?}");
}
