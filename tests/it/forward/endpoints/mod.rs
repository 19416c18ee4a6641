//! Endpoints that refuse, hang, disappear, or are hostile.

mod answers;
mod backlog;
mod gone;
mod hostile;
mod silence;
