//! Tests of the ring: which events it holds, and for how long.

use futures_util::FutureExt as _;

use super::*;
use crate::domain::event::EventType;
use crate::domain::event::id::EventId;
use crate::domain::ids::SubmissionId;
use crate::domain::task::Task;
use crate::domain::timestamp::Timestamp;
use crate::store::read::TaskView;
use crate::store::recorder::record::{Origin, Record};

fn epoch() -> Epoch {
    Epoch::parse("k3v9x2ab").unwrap()
}

fn end(newest: i64) -> LogEnd {
    LogEnd {
        newest,
        epoch: epoch(),
    }
}

fn event(seq: i64, bytes: usize) -> LoggedEvent {
    let at = Timestamp::from_millis(seq);
    let task = Task::new(SubmissionId::new(at));
    LoggedEvent {
        id: EventId {
            epoch: epoch(),
            seq,
        },
        event_type: EventType::Processing,
        source: None,
        at,
        view: TaskView {
            files: Vec::new(),
            record: Record::new(task, Origin::Standing, None),
            body: None,
        },
        body: Some(vec![0; bytes].into()),
    }
}

fn batch(after: i64, upto: i64, bytes: usize) -> Batch {
    Batch {
        after,
        upto,
        events: (after + 1..=upto).map(|seq| event(seq, bytes)).collect(),
        frames: OnceLock::new(),
    }
}

/// Returns where the next batch begins; -1 if the log is to be read, -2 if it cannot be.
fn next(follower: &Follower, seq: i64) -> Option<i64> {
    match follower.next_after(seq) {
        Next::Batch(batch) => Some(batch.after),
        Next::InLog => Some(-1),
        Next::Nothing => None,
        Next::Broken => Some(-2),
    }
}

#[test]
fn each_place_has_its_batch_or_is_in_the_log() {
    let ring = Ring::default();
    let follower = ring.follow(epoch());
    assert_eq!(next(&follower, 7), None, "nothing is known yet");
    ring.begin_at(end(10));
    ring.add(batch(10, 13, 1));
    ring.add(batch(13, 14, 1));
    let places = [9, 10, 12, 13, 14, 99].map(|seq| next(&follower, seq));
    let wanted = [Some(-1), Some(10), Some(10), Some(13), None, None];
    assert_eq!(places, wanted);
    // A batch that does not follow is ignored: it was read for events that are no longer held.
    ring.add(batch(20, 21, 1));
    assert_eq!(next(&follower, 14), None);
}

#[test]
fn the_ring_is_bounded_and_emptied_with_its_last_subscriber() {
    let ring = Ring::default();
    let mut follower = ring.follow(epoch());
    ring.begin_at(end(0));
    assert!(follower.news().now_or_never().is_some());
    for seq in 0..100 {
        ring.add(batch(seq, seq + 1, 256 * 1024));
        assert!(ring.lock().cost <= RING_BYTES_MAX + 600 * 1024);
    }
    assert_eq!(next(&follower, 99), Some(99), "the newest is held");
    assert_eq!(next(&follower, 50), Some(-1), "the oldest are not");
    let second = ring.follow(epoch());
    drop(follower);
    assert_eq!(ring.position(), Some((Some(end(100)), 1)));
    drop(second);
    assert_eq!(ring.position(), None);
    let held = ring.lock();
    assert_eq!((held.cost, held.batches.len()), (0, 0));
}

#[test]
fn a_disconnected_subscriber_reconnects_and_new_ones_can_follow() {
    let ring = Ring::default();
    let mut before = ring.follow(epoch());
    ring.begin_at(end(10));
    ring.add(batch(10, 13, 1));
    assert!(before.news().now_or_never().is_some());
    ring.cut();
    assert!(before.news().now_or_never().is_some(), "it is told");
    let after = ring.follow(epoch());
    let places = [next(&before, 10), next(&after, 10)];
    assert_eq!(places, [Some(-2), None]);
    ring.begin_at(end(11));
    let places = [next(&before, 10), next(&after, 10)];
    assert_eq!(places, [Some(-2), Some(-1)]);
    drop(before);
    assert_eq!(ring.position(), Some((Some(end(11)), 1)));
}

#[test]
fn a_follower_of_an_earlier_epoch_is_cut_off() {
    let ring = Ring::default();
    let before = ring.follow(Epoch::parse("aaaaaaaa").unwrap());
    let after = ring.follow(epoch());
    ring.begin_at(end(10));
    ring.add(batch(10, 13, 1));
    assert_eq!([next(&before, 10), next(&after, 10)], [Some(-2), Some(10)]);
}

#[test]
fn a_batch_is_formatted_once_for_all() {
    let batch = batch(0, 3, 1);
    let make = |_: &[LoggedEvent]| Frames {
        bytes: Bytes::from(vec![1; 3]),
        ends: vec![1, 2, 3],
    };
    let first = batch.frames(make).bytes.clone();
    let second = &batch.frames(|_| unreachable!("it is there")).bytes;
    assert_eq!(first.as_ptr(), second.as_ptr());
}

#[test]
fn the_pause_grows_with_the_subscribers_and_the_bytes_they_are_sent() {
    let ms = |followers, bytes| handing_pause(followers, bytes).as_millis();
    assert_eq!((ms(1, 2048), ms(1, 64 * 1024)), (0, 0));
    assert_eq!((ms(1000, 2048), ms(1000, 64 * 1024)), (62, 125));
    assert_eq!(ms(100_000, 64 * 1024), HANDING_PAUSE_MAX.as_millis());
    assert_eq!(ms(1000, 0), 0, "there was nothing to hand");
}
