//! The requests: callbacks as EvoLink sends them, the same ones again, guessed tokens, and queries
//! of tasks. A request is a template into which the task's id is written, so building one costs
//! next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evolink_receiver::clock::Clock;

/// The length of an id such as `task-unified-1757165031-uyujaw3d`.
const ID_BYTES: usize = 32;

/// The placeholder for the id in a template, as long as an id.
const ID: &str = "task-unified-##########-########";

/// The largest suffix. Eight characters can hold more than this.
const SUFFIX_MASK: u64 = (1 << 41) - 1;

/// An odd number, so that each serial number times this factor has another suffix.
const SUFFIX_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A task that EvoLink is supposed to have created. The number identifies it and is shorter than
/// the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskNumber {
    second: u32,
    serial: u64,
}

impl TaskNumber {
    /// Returns another number each time, in order of time, as EvoLink's ids are.
    pub fn fresh() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(1);
        Self {
            second: u32::try_from(Clock::System.now().as_millis() / 1000).unwrap_or(u32::MAX),
            serial: MADE.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub fn id(self) -> String {
        let mut id = [0; ID_BYTES];
        self.write_id(&mut id);
        String::from_utf8(id.to_vec()).expect("an id is ASCII")
    }

    fn write_id(self, into: &mut [u8]) {
        into.copy_from_slice(ID.as_bytes());
        let mut second = self.second;
        for digit in into[13..23].iter_mut().rev() {
            *digit = b'0' + (second % 10) as u8;
            second /= 10;
        }
        let mut suffix = self.serial.wrapping_mul(SUFFIX_FACTOR) & SUFFIX_MASK;
        for character in &mut into[24..] {
            *character = b"0123456789abcdefghijklmnopqrstuvwxyz"[(suffix % 36) as usize];
            suffix /= 36;
        }
    }
}

/// One request in all its variants, and the response that is expected.
#[derive(Clone, Debug)]
pub struct Script {
    template: Arc<[u8]>,
    id_at: Arc<[usize]>,
    tasks: Tasks,
    pub status: u16,
    /// A text that the response body must contain.
    pub says: &'static str,
}

/// The tasks that the requests are about.
#[derive(Clone, Debug)]
enum Tasks {
    New,
    /// Tasks that were reported before, one after the other.
    Known(Arc<[TaskNumber]>),
    /// No task.
    None,
}

impl Script {
    /// Callbacks of new, completed tasks.
    pub fn new_tasks(path: &str) -> Self {
        Self::of(&callback(path, &body(ID)), Tasks::New, 200, "recorded")
    }

    /// Callbacks of new tasks that are still running.
    pub fn begun_tasks(path: &str) -> Self {
        let text = callback(path, &begun(ID));
        Self::of(&text, Tasks::New, 200, "recorded")
    }

    /// The outcomes of those running tasks. There must be no more requests than tasks, so that each
    /// is sent once.
    pub fn outcomes(path: &str, known: Arc<[TaskNumber]>) -> Self {
        let tasks = Tasks::Known(known);
        Self::of(&callback(path, &body(ID)), tasks, 200, "recorded")
    }

    /// Callbacks that were sent before. EvoLink repeats them when a response was lost.
    pub fn again(path: &str, known: Arc<[TaskNumber]>) -> Self {
        let tasks = Tasks::Known(known);
        Self::of(&callback(path, &body(ID)), tasks, 200, "duplicate")
    }

    /// Callbacks with a guessed token, `with_body` or without.
    pub fn guesses(path: &str, with_body: bool) -> Self {
        let text = if with_body { body(ID) } else { String::new() };
        Self::of(&callback(path, &text), Tasks::New, 404, "")
    }

    /// An app's queries of tasks.
    pub fn questions(known: Arc<[TaskNumber]>) -> Self {
        let text = format!("GET /v1/tasks/{ID} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        Self::of(&text, Tasks::Known(known), 200, "\"completed\"")
    }

    /// A GET that is the same each time.
    pub fn get(path: &str) -> Self {
        let text = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        Self::of(&text, Tasks::None, 200, "")
    }

    /// Sets the expected text, because another server words its response in another way.
    pub fn answered_with(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    fn of(text: &str, tasks: Tasks, status: u16, says: &'static str) -> Self {
        Self {
            template: text.as_bytes().into(),
            id_at: text.match_indices(ID).map(|(at, _)| at).collect(),
            tasks,
            status,
            says,
        }
    }

    /// Writes the `nth` request into `buffer`.
    pub fn write(&self, nth: usize, buffer: &mut Vec<u8>) -> Option<TaskNumber> {
        let task = match &self.tasks {
            Tasks::New => Some(TaskNumber::fresh()),
            Tasks::Known(tasks) => Some(tasks[nth % tasks.len()]),
            Tasks::None => None,
        };
        buffer.clear();
        buffer.extend_from_slice(&self.template);
        if let Some(task) = task {
            for &at in self.id_at.iter() {
                task.write_id(&mut buffer[at..at + ID_BYTES]);
            }
        }
        task
    }
}

fn callback(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: EvoLink\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The body of a callback about a running task.
fn begun(id: &str) -> String {
    format!(
        r#"{{"created":1757165031,"id":"{id}","model":"z-image-turbo","object":"image.generation.task","progress":10,"status":"processing","task_info":{{"can_cancel":true,"estimated_time":10}},"type":"image"}}"#
    )
}

/// The body of a callback about a finished task. It has the documented fields, and the undocumented
/// ones that EvoLink's own clients read.
pub fn body(id: &str) -> String {
    format!(
        r#"{{"created":1757165031,"id":"{id}","model":"z-image-turbo","object":"image.generation.task","progress":100,"results":["https://files.evolink.ai/{id}/image-1.webp?X-Amz-Date=20250906T132351Z&X-Amz-Expires=86400&X-Amz-Signature=5d41402abc4b2a76b9719d911017c592ae2f1c3f8a7d6b5e"],"status":"completed","task_info":{{"can_cancel":false,"estimated_time":10}},"type":"image","usage":{{"billing_rule":"per_call","credits_reserved":0.026,"user_group":"default"}},"duration":8.4,"request_id":"20250906132351724153918uyujaw3d","billing":{{"charge_status":"charged","refund_status":"none"}}}}"#
    )
}
