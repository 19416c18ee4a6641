//! The slots of the server: how many are left, and how many readers leave to others.

use sqlx::PgConnection;
use tokio::time::timeout;

use crate::store::engine::postgres::server::CONNECT_TIMEOUT;

/// Slots of the server that readers leave free: a replica needs two to write and to listen.
const SPARE_SLOTS: i64 = 2;

/// Why the limit is lowered.
pub(super) const FEW_LEFT: &str = "the server has few connections left";

/// The number of sessions that the server would still accept from this role; NULL if it has no
/// limit. Superusers are not subject to all of these limits, but they leave the slots to others.
const FREE_SLOTS: &str = "SELECT least(
    (SELECT rolconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE usesysid = pg_roles.oid)
        FROM pg_roles WHERE rolname = session_user AND rolconnlimit >= 0 AND NOT rolsuper),
    (SELECT datconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE datid = pg_database.oid AND usesysid IS NOT NULL)
        FROM pg_database WHERE datname = current_database() AND datconnlimit >= 0),
    (SELECT current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
        - coalesce(current_setting('reserved_connections', true), '0')::bigint - count(*)
        FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL))";

/// Returns whether the server has fewer slots left than other replicas may need. False if it does
/// not say.
pub(super) async fn are_few_left(connection: &mut PgConnection) -> bool {
    let counting = sqlx::query_scalar(FREE_SLOTS).fetch_one(connection);
    let free: Option<i64> = match timeout(CONNECT_TIMEOUT, counting).await {
        Ok(Ok(free)) => free,
        _ => None,
    };
    free.is_some_and(|free| free < SPARE_SLOTS)
}
