//! A gate that lets the writer and the listener connect before the readers: while one of them opens
//! a connection, no reader opens one.

use tokio::sync::watch;

/// Counts the connections being opened that precede the readers'.
#[derive(Debug)]
pub struct Gate(watch::Sender<usize>);

/// Keeps the gate closed until it is dropped.
pub struct Held<'a>(&'a watch::Sender<usize>);

impl Gate {
    pub fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub fn hold(&self) -> Held<'_> {
        self.0.send_modify(|others| *others += 1);
        Held(&self.0)
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        // The sender lives as long as we do.
        let _ = self.0.subscribe().wait_for(|others| *others == 0).await;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|others| *others -= 1);
    }
}
