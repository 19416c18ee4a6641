//! Result files in the store. The transaction that records a completion creates their rows, and
//! only the recorder changes them.

mod batch;
mod change;
mod made;
mod read;
mod row;
mod shown;

pub(super) use batch::Files;
pub(super) use change::{load, write};
pub(super) use made::insert;
pub use read::{FileView, STATEMENTS};
pub(super) use shown::files_of_task;
pub use shown::{ShownFile, parse as parse_shown};

/// The limit of files that one transaction makes pending, or whose retention it ends. More would
/// keep callbacks waiting.
pub const CHANGED_AT_ONCE_MAX: u32 = 500;
