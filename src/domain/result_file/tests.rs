//! Tests of the transitions of a result file.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_757_165_031_007);

fn pending() -> ResultFile {
    ResultFile {
        id: FileId::new(7, 3),
        client: "web".to_owned(),
        url: "https://files.evolink.ai/a.png".to_owned(),
        offered_until: NOW.after(OFFERED_FOR),
        stage: Stage::Pending {
            due_at: NOW,
            lease: None,
        },
        attempts: 0,
        is_refreshed: false,
        error: None,
    }
}

fn copy() -> FileCopy {
    FileCopy {
        sha256: "ab".repeat(32),
        bytes: 5,
        content_type: "image/png".to_owned(),
        dimensions: Some((1, 2)),
    }
}

fn retry() -> FetchOutcome {
    FetchOutcome::Retry {
        reason: "the server answered\n503".to_owned(),
        after: None,
    }
}

#[test]
fn an_id_names_the_task_and_the_position() {
    let id = FileId::new(7, 63);
    assert_eq!((id.task_seq(), id.number()), (7, 63));
    assert_eq!(FileId::new(8, 0).0, id.0 + 1);
}

#[test]
fn fetches_are_repeated_with_growing_gaps_until_evolink_offers_the_file_no_longer() {
    let (mut file, holder) = (pending(), Holder::new(NOW));
    let (mut now, mut gaps) = (NOW, Vec::new());
    while file.state() == FileState::Pending {
        assert!(file.end(&holder, retry(), 0.0, now));
        let Stage::Pending { due_at, .. } = file.stage else {
            break;
        };
        gaps.push(due_at.since(now).as_secs());
        now = due_at;
    }
    assert_eq!(gaps[..6], [2, 10, 60, 300, 900, 900]);
    assert_eq!(now, file.offered_until, "the last fetch is at the very end");
    assert_eq!(file.state(), FileState::Failed);
    assert_eq!(file.error.as_deref(), Some("the server answered 503"));
}

#[test]
fn a_server_can_only_make_a_gap_longer() {
    let holder = Holder::new(NOW);
    for (after, wanted) in [(1, 2), (40, 40)] {
        let after = Some(Duration::from_secs(after));
        let (mut file, reason) = (pending(), String::new());
        file.end(&holder, FetchOutcome::Retry { reason, after }, 0.0, NOW);
        let Stage::Pending { due_at, .. } = file.stage else {
            panic!("{:?}", file.stage);
        };
        assert_eq!(due_at.since(NOW).as_secs(), wanted);
    }
}

#[test]
fn only_one_process_fetches_a_file_while_its_lease_lasts() {
    let (mut file, one, two) = (pending(), Holder::new(NOW), Holder::new(NOW));
    assert!(file.claim(&one, NOW));
    assert!(!file.claim(&two, NOW));
    assert!(!file.end(&two, retry(), 0.0, NOW), "its end says nothing");
    let later = NOW.after(LEASE);
    assert!(file.claim(&two, later), "the lease is over");
    assert!(!file.end(&one, FetchOutcome::GivenBack, 0.0, later));
    assert!(
        file.end(&one, FetchOutcome::Archived(copy()), 0.0, later),
        "a copy counts"
    );
    assert!(!file.end(&two, retry(), 0.0, later));
    assert!(!file.claim(&two, later));
    assert_eq!(file.copy(), Some(&copy()));
}

#[test]
fn a_fresh_url_is_tried_at_once_and_only_one_is_asked_for() {
    let (mut file, holder) = (pending(), Holder::new(NOW));
    let (url, reason) = ("https://files.evolink.ai/b.png".to_owned(), String::new());
    assert!(file.end(
        &holder,
        FetchOutcome::FreshUrl {
            url: url.clone(),
            reason
        },
        0.0,
        NOW
    ));
    assert!(file.is_refreshed);
    assert_eq!(file.url, url);
    assert!(matches!(file.stage, Stage::Pending { due_at, lease: None } if due_at == NOW));
}

#[test]
fn an_operator_can_only_retry_what_failed() {
    let (mut file, holder) = (pending(), Holder::new(NOW));
    assert!(!file.retry(NOW));
    let reason = "an HTML page".to_owned();
    assert!(file.end(&holder, FetchOutcome::GaveUp { reason }, 0.0, NOW));
    assert_eq!(file.state(), FileState::Failed);
    assert!(file.retry(NOW.after(OFFERED_FOR)));
    assert_eq!((file.state(), file.attempts), (FileState::Pending, 0));
    assert!(file.end(&holder, FetchOutcome::Archived(copy()), 0.0, NOW));
    assert!(!file.retry(NOW));
}

#[test]
fn a_damaged_copy_is_fetched_again_while_evolink_offers_the_file() {
    let (mut file, holder) = (pending(), Holder::new(NOW));
    file.end(&holder, FetchOutcome::Archived(copy()), 0.0, NOW);
    let archived = file.clone();
    assert!(
        !file.lose("another", "damaged", NOW),
        "another copy was lost"
    );
    assert!(file.lose(&copy().sha256, "damaged", NOW));
    assert_eq!(file.state(), FileState::Pending);
    file = archived;
    assert!(file.lose(&copy().sha256, "damaged", NOW.after(OFFERED_FOR)));
    assert_eq!(file.state(), FileState::Archived, "nothing can replace it");
    assert_eq!(file.error.as_deref(), Some("damaged"));
    let again = file.lose(&copy().sha256, "damaged", NOW.after(OFFERED_FOR));
    assert!(!again, "nothing is new, so nothing is written");
}

#[test]
fn only_an_archived_file_expires() {
    let (mut file, holder, later) = (pending(), Holder::new(NOW), NOW.after(OFFERED_FOR));
    assert!(!file.expire(later, later));
    file.end(&holder, FetchOutcome::Archived(copy()), 0.0, NOW);
    assert!(!file.expire(NOW, later), "it is not old enough");
    assert!(file.expire(later, later));
    assert_eq!((file.state(), file.copy()), (FileState::Expired, None));
    assert!(!file.end(&holder, FetchOutcome::Archived(copy()), 0.0, later));
}

#[test]
fn a_url_with_a_null_character_is_stored_as_one_that_is_refused() {
    let (mut file, holder) = (pending(), Holder::new(NOW));
    let fresh = FetchOutcome::FreshUrl {
        url: "https://files.evolink.ai/a\0b".to_owned(),
        reason: "the server answered 403".to_owned(),
    };
    assert!(file.end(&holder, fresh, 0.0, NOW));
    assert_eq!(file.url, "https://files.evolink.ai/a b");
}
