//! Checks that all processes of one database mint callback tokens with keys that all of them know.
//! A replica with its own key ring would hand out callback URLs that the others refuse.

use crate::domain::callback::KeyFingerprint;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::engine::writer::{Writer, on_writer};
use crate::store::{Database, Store, StoreError};

static INSERT: Rows<2> = Rows::new(
    "INSERT INTO callback_key (id, fingerprint) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
);

/// How the keys of a ring compare with those that the database has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    Agreed,
    /// The database knows another key under this id.
    Differs {
        id: String,
    },
    /// The database has seen keys, but none of this ring.
    Strange,
}

impl Store {
    /// Compares the ring with the keys that the database has seen. Adds the new ones unless they
    /// disagree.
    ///
    /// # Errors
    /// If the database cannot be read or written.
    pub async fn agree_on_keys(&self, ring: &[KeyFingerprint]) -> Result<Agreement, StoreError> {
        let mut writer = self.connect_writer().await?;
        writer.begin().await?;
        let agreement = self.compare(&mut writer, ring).await;
        writer.close().await;
        agreement
    }

    async fn compare(
        &self,
        writer: &mut Writer,
        ring: &[KeyFingerprint],
    ) -> Result<Agreement, StoreError> {
        const SEEN: &str = "SELECT id, fingerprint FROM callback_key";
        let seen: Vec<(String, Vec<u8>)> =
            on_writer!(writer, connection => sqlx::query_as(SEEN).fetch_all(connection))?;
        let mut new = Vec::new();
        for key in ring {
            match seen.iter().find(|(id, _)| *id == key.id) {
                Some((_, fingerprint)) if fingerprint[..] == key.fingerprint => {}
                Some((id, _)) => return Ok(Agreement::Differs { id: id.clone() }),
                None => new.push(key),
            }
        }
        // A SQLite file has no second process that could refuse our URLs. The log line about a new
        // ring was written when the ring was created.
        let is_shared = matches!(self.database, Database::Postgres(_));
        if is_shared && !seen.is_empty() && new.len() == ring.len() {
            return Ok(Agreement::Strange);
        }
        let rows: Vec<_> = new
            .iter()
            .map(|key| [key.id.as_str().into(), key.fingerprint.as_slice().into()])
            .collect();
        let mut script = Script::new(writer);
        INSERT.add_to(&mut script, &rows)?;
        script.commit();
        script.run(writer).await?;
        Ok(Agreement::Agreed)
    }
}
