//! The recorder's connection.

use tokio_util::sync::CancellationToken;

use crate::store::engine::writer::Writer;
use crate::store::{Store, StoreError};

/// Returns the connection, which is opened if needed, after a check of the database's files.
///
/// # Errors
/// `Stopped` if the recorder has failed.
pub(super) async fn connected<'w>(
    writer: &'w mut Option<Writer>,
    store: &Store,
    failed: &CancellationToken,
) -> Result<&'w mut Writer, StoreError> {
    if failed.is_cancelled() {
        return Err(StoreError::Stopped);
    }
    let writer = match writer {
        Some(writer) => writer,
        none => none.insert(store.connect_writer().await?),
    };
    store.check_files()?;
    Ok(writer)
}
