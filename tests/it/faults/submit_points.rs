//! SIGKILL at each point of a submit and of a callback (RELIABILITY R7).
