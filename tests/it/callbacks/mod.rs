//! The public listener and the meaning of callbacks, tested through real TLS against the real App.
//! Tables are data here, and each row has a name such as `H1`.

mod answers;
mod bodies;
mod confirm;
mod staged;
mod standing;
mod strangers;
