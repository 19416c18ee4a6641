//! How far the requests of one connection are. Its byte stream, its requests and its shutdown share
//! this.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The state of a connection.
#[derive(Debug, Default)]
pub struct Progress {
    requests: AtomicUsize,
    in_request: AtomicBool,
    write_stuck: AtomicBool,
}

/// Marks the connection as busy until the answer, including its body, has been handed to hyper.
#[derive(Debug)]
pub struct InRequest(Arc<Progress>);

impl Progress {
    /// Returns the guard, and the number of this request on its connection, counted from 1.
    pub fn begin_request(self: &Arc<Self>) -> (InRequest, usize) {
        self.in_request.store(true, Ordering::Relaxed);
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        (InRequest(Arc::clone(self)), number)
    }

    /// The number of requests whose heads have come.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn set_write_stuck(&self, stuck: bool) {
        self.write_stuck.store(stuck, Ordering::Relaxed);
    }

    pub fn is_in_request(&self) -> bool {
        self.in_request.load(Ordering::Relaxed)
    }

    pub fn is_busy(&self) -> bool {
        self.in_request.load(Ordering::Relaxed) || self.write_stuck.load(Ordering::Relaxed)
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        self.0.in_request.store(false, Ordering::Relaxed);
    }
}
