//! SIGKILL at each point of a submit and of a callback (rule R7), and at random points. The
//! real program is held at the point from outside: by a lock in the store, by an EvoLink that does
//! not answer, or by a tracer at the system call that sends the answer.
//!
//! After each kill the receiver starts again, EvoLink's callback arrives or is lost, and the app
//! retries with its key. A key is charged once, never twice, and every acknowledged callback is
//! there. Every task ends, or is shown as unknown where its outcome cannot be known.

mod callbacks;
mod stage;
mod submits;
mod sweep;
