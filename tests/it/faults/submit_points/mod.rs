//! SIGKILL at each point of a submit and of a callback (RELIABILITY R7), and at random ones. The program as it is, held at the
//! point from outside: by a lock in the store, by an EvoLink that does not answer, by the tracer at the answer's own system call.
//!
//! After each the receiver is started again, EvoLink's callback comes or is lost, and the app tries again with its key. One charge
//! for a key, never two; what was acknowledged is there; and every task ends, or shows as unknown where nobody can know.

mod callbacks;
mod stage;
mod submits;
mod sweep;
