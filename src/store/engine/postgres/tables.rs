//! Our tables, and the rights that the statements of this program need on each.

/// The rights that the statements of this program need on each table.
pub const NEEDED: [(&str, &[&str]); 20] = [
    ("_sqlx_migrations", &["SELECT"]),
    ("callback_key", &["SELECT", "INSERT"]),
    ("delivery", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("endpoint", &["SELECT", "INSERT", "DELETE"]),
    ("endpoint_gone", &["SELECT", "INSERT", "DELETE"]),
    ("epoch", &["SELECT", "INSERT"]),
    ("event", &["SELECT", "INSERT", "DELETE"]),
    ("exported_task", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("failed_attempt", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("idempotency", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("janitor", &["SELECT", "UPDATE"]),
    ("key_use", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("observation", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("quarantine", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("quarantine_total", &["SELECT", "UPDATE"]),
    ("recorder_turn", &["SELECT", "UPDATE"]),
    ("result", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("submit_end", &["SELECT", "INSERT", "DELETE"]),
    ("task", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    (
        "unanswered_submit",
        &["SELECT", "INSERT", "UPDATE", "DELETE"],
    ),
];

/// The tables that must have one row.
pub const OF_ONE_ROW: [&str; 3] = ["recorder_turn", "quarantine_total", "janitor"];

/// The names of our tables.
pub fn tables() -> Vec<&'static str> {
    NEEDED.iter().map(|(name, _)| *name).collect()
}

/// Waits for sessions that have locked our tables, so that the wait ends here and is explained.
pub const LOCK_SHORTLY: &str = "BEGIN;
    LOCK TABLE _sqlx_migrations, callback_key, delivery, endpoint, endpoint_gone, epoch, event, exported_task, failed_attempt,
        idempotency, janitor, key_use, observation, quarantine, quarantine_total, recorder_turn, result, submit_end, task, unanswered_submit IN ACCESS SHARE MODE;
    ROLLBACK";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::engine::postgres::migrations::MIGRATIONS;

    #[test]
    fn every_table_of_the_migrations_is_listed() {
        let mut tables = BTreeSet::from(["_sqlx_migrations"]);
        for migration in MIGRATIONS.iter() {
            let text = migration.sql.as_str();
            let made = text.split("CREATE TABLE ").skip(1);
            tables.extend(made.filter_map(|rest| rest.split([' ', '(']).next()));
        }
        let listed: BTreeSet<&str> = super::tables().into_iter().collect();
        assert_eq!(listed, tables);
        for table in listed {
            let is_locked = LOCK_SHORTLY
                .split([' ', ',', '\n'])
                .any(|word| word == table);
            assert!(is_locked, "{table}");
        }
    }
}
