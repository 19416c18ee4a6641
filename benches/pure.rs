//! Measures the pure functions that process a callback, one by one: `cargo bench --bench pure`.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::callback::token_echo;
use evolink_receiver::domain::callback::{KeyRing, Subject};
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::observation::{Observation, Source};
use evolink_receiver::domain::task::Task;
use evolink_receiver::domain::task::confirmation::Policy;
use evolink_receiver::domain::task::polling::Pace;

/// A body as EvoLink sends it, about 600 bytes.
const BODY: &str = r#"{"created":1757165031,"id":"task-unified-1757165031-uyujaw3d","model":"z-image-turbo","object":"image.generation.task","progress":100,"results":["https://files.evolink.ai/task-unified-1757165031-uyujaw3d/image-1.webp?X-Amz-Date=20250906T132351Z&X-Amz-Expires=86400&X-Amz-Signature=5d41402abc4b2a76b9719d911017c592ae2f1c3f8a7d6b5e"],"status":"completed","task_info":{"can_cancel":false,"estimated_time":10},"type":"image","usage":{"billing_rule":"per_call","credits_reserved":0.026,"user_group":"default"},"duration":8.4,"request_id":"20250906132351724153918uyujaw3d","billing":{"charge_status":"charged","refund_status":"none"}}"#;

const HOUR: Duration = Duration::from_hours(1);

const PACE: Pace = Pace {
    first_poll_after: Duration::from_secs(15),
    interval_min: Duration::from_secs(3),
    give_up_after: Duration::from_hours(24),
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    callback_token(&mut criterion);
    token_echo(&mut criterion);
    observation(&mut criterion);
    task(&mut criterion);
    criterion.final_summary();
}

fn callback_token(criterion: &mut Criterion) {
    let text = KeyRing::generate().expect("randomness");
    let ring = KeyRing::parse(&text).expect("a ring");
    let now = Clock::System.now();
    let good = ring.mint(&Subject::Submission(SubmissionId::new(now)));
    let standing = ring.mint(&Subject::Standing("shop".parse().expect("a label")));
    let mut wrong = good.clone();
    wrong.replace_range(wrong.len() - 5..wrong.len() - 4, "~");
    let foreign = good.replacen(char::is_alphanumeric, "~", 1);
    let tokens = [
        ("good", good),
        ("standing", standing),
        ("wrong mac", wrong),
        ("unknown key", foreign),
    ];
    for (name, token) in tokens {
        criterion.bench_function(&format!("callback_token::verify/{name}"), |bencher| {
            bencher.iter(|| ring.verify(black_box(&token), now, HOUR));
        });
    }
}

/// Searches bodies that contain no token, like nearly every body.
fn token_echo(criterion: &mut Criterion) {
    const MAC: &str = "fgO3f6lgRFwhM5PbXUwX75IlyI9r2wk8I8wmD7ToKb0";
    let nested = serde_json::json!({ "body": BODY }).to_string();
    let long = "a prompt with \\u4e2d and %2F ".repeat(10_000);
    for (name, body) in [
        ("task", BODY.to_owned()),
        ("nested", nested),
        ("256 KiB", long),
    ] {
        let body = Bytes::from(body);
        criterion.bench_function(&format!("token_echo::redact/{name}"), |bencher| {
            bencher.iter(|| token_echo::redact(black_box(body.clone()), &[MAC]));
        });
    }
}

fn observation(criterion: &mut Criterion) {
    let raw = Bytes::from_static(BODY.as_bytes());
    criterion.bench_function("Observation::parse", |bencher| {
        bencher.iter(|| Observation::parse(black_box(raw.clone())).expect("a task body"));
    });
    let not_a_task = Bytes::from_static(&BODY.as_bytes()[..BODY.len() - 1]);
    criterion.bench_function("Observation::parse/cut off", |bencher| {
        bencher.iter(|| Observation::parse(black_box(not_a_task.clone())).is_err());
    });
    let seen = Observation::parse(raw).expect("a task body");
    criterion.bench_function("Observation::results_digest", |bencher| {
        bencher.iter(|| black_box(&seen).results_digest());
    });
}

fn task(criterion: &mut Criterion) {
    let (now, policy) = (Clock::System.now(), Policy::from(PACE));
    let seen = Observation::parse(Bytes::from_static(BODY.as_bytes())).expect("a task body");
    let fresh = Task::new(SubmissionId::new(now));
    let mut ended = fresh.clone();
    ended.see(&seen, Source::Callback, now, &policy);
    for (name, task) in [("outcome", fresh), ("duplicate", ended)] {
        criterion.bench_function(&format!("Task::see/{name}"), |bencher| {
            let see = |mut task: Task| task.see(&seen, Source::Callback, now, &policy);
            bencher.iter_batched(|| task.clone(), see, BatchSize::SmallInput);
        });
    }
}
