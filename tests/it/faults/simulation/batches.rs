//! Messages in one batch are kept apart: histories that the simulation found, each as a test of its
//! own.

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::task::confirmation::Confirm;

use super::look::{Look, Start};
use super::machine::Machine;
use super::statement::{About, Call, Form, Statement, Way};

async fn say(machine: &mut Machine, calls: &[Call]) {
    let told = machine.record(calls.iter().map(Call::entry).collect());
    let told = told.await;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
}

fn told(id: SubmissionId, way: Way, status: &'static str) -> Call {
    let said = Statement {
        task: format!("task-unified-{id}"),
        status,
        progress: None,
        results: Vec::new(),
        number: 0,
        form: Form::Documented,
    };
    Call::Hear(About::Submission(id), way, said)
}

#[tokio::test]
async fn the_same_body_twice_in_one_batch_is_kept_once_and_counted_as_come_again() {
    let mut machine = Machine::new().await;
    let start = Start::here(&machine.eye, "none-k".to_owned()).await;
    let about = About::Submission(SubmissionId::new(machine.clock.now()));
    let call = Call::Unreadable(about, Way::Callback, "<html>".to_owned());
    say(&mut machine, &[call.clone(), call.clone(), call]).await;
    let look = Look::at(&machine.eye, &start).await;
    let repeats: Vec<i64> = look
        .content
        .quarantine
        .values()
        .map(|held| held.repeats)
        .collect();
    assert_eq!(repeats, [2]);
}

#[tokio::test]
async fn an_old_conflict_beside_a_new_one_is_not_asked_about_again() {
    let mut machine = Machine::new().await;
    machine.configure(Confirm::Suspicious).await;
    let start = Start::here(&machine.eye, "none-k".to_owned()).await;
    let id = SubmissionId::new(machine.clock.now());
    let old = told(id, Way::Callback, "failed");
    for call in [
        Call::Intend(id, None),
        told(id, Way::Submit, "pending"),
        told(id, Way::Poll, "cancelled"),
        old.clone(),
        told(id, Way::Poll, "cancelled"),
    ] {
        say(&mut machine, &[call]).await;
    }
    let claim = async |machine: &Machine| {
        let look = Look::at(&machine.eye, &start).await;
        let claim = look.content.records[0].claim.clone();
        claim.map(|(state, _)| state)
    };
    assert_eq!(claim(&machine).await, None, "EvoLink has said it");
    say(&mut machine, std::slice::from_ref(&old)).await;
    assert_eq!(claim(&machine).await, None, "it was asked about");
    let Call::Hear(about, way, said) = old.clone() else {
        unreachable!("it was heard");
    };
    let results = vec!["https://files.evolink.ai/0.webp".to_owned()];
    let new = Statement {
        status: "completed",
        results,
        ..said
    };
    say(&mut machine, &[Call::Hear(about, way, new), old]).await;
    assert_eq!(claim(&machine).await.as_deref(), Some("completed"));
}
