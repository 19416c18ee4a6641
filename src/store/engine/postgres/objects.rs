//! The names of what the migrations create, and whether they are free.

use sqlx::PgConnection;

use super::migrations::MIGRATIONS;

/// Names that may not be in use before the migrations run.
#[derive(Debug, Default)]
pub struct Names {
    pub tables: Vec<String>,
    pub indexes: Vec<String>,
    pub functions: Vec<String>,
    pub is_plpgsql_needed: bool,
}

impl Names {
    /// The names that the migrations after `version` create, and the earlier ones do not.
    pub fn after(version: Option<i64>) -> Self {
        let version = version.unwrap_or(0);
        let (mut new, mut old) = (Self::default(), Self::default());
        for migration in MIGRATIONS.iter() {
            let names = if migration.version > version {
                &mut new
            } else {
                &mut old
            };
            names.add(migration.sql.as_str());
        }
        new.tables.retain(|name| !old.tables.contains(name));
        new.indexes.retain(|name| !old.indexes.contains(name));
        new.functions.retain(|name| !old.functions.contains(name));
        new
    }

    fn add(&mut self, sql: &str) {
        self.tables.extend(created("TABLE", sql));
        self.indexes.extend(created("INDEX", sql));
        self.functions.extend(created("FUNCTION", sql));
        self.is_plpgsql_needed |= sql.contains("plpgsql");
    }

    /// Returns what has one of the names in the current schema: its kind and its name.
    pub async fn taken(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<(String, String)>, sqlx::Error> {
        const SQL: &str = "WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
            SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
                    WHEN 'm' THEN 'view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' ELSE 'relation' END, relname::text
                FROM pg_class WHERE relnamespace = (SELECT oid FROM here) AND relname = ANY($1)
            UNION ALL SELECT 'type', typname::text FROM pg_type
                WHERE typnamespace = (SELECT oid FROM here) AND typname = ANY($2) AND typrelid = 0
            UNION ALL SELECT 'function', proname::text FROM pg_proc
                WHERE pronamespace = (SELECT oid FROM here) AND proname = ANY($3) AND pronargs = 0
            ORDER BY 2, 1 LIMIT 1";
        let relations = self.tables.iter().chain(&self.indexes);
        sqlx::query_as(SQL)
            .bind(relations.cloned().collect::<Vec<_>>())
            .bind(&self.tables)
            .bind(&self.functions)
            .fetch_optional(connection)
            .await
    }
}

/// Returns the names after `CREATE KIND`. Our migrations write them in one way.
fn created(kind: &str, sql: &str) -> Vec<String> {
    let start = format!("CREATE {kind} ");
    let rest = sql.split(start.as_str()).skip(1);
    rest.filter_map(|rest| rest.split([' ', '(']).next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_new_must_be_free() {
        let all = Names::after(None);
        for name in ["task", "recorder_turn"] {
            assert!(all.tables.iter().any(|table| table == name), "{all:?}");
        }
        assert!(all.indexes.iter().any(|index| index == "task_due"));
        assert!(all.functions.iter().any(|name| name == "epoch_stays"));
        assert!(all.is_plpgsql_needed);
        // Migration 5 drops this index and creates it again.
        let last = Names::after(Some(4));
        assert!(!last.indexes.iter().any(|index| index == "task_due"));
        assert!(last.indexes.iter().any(|index| index == "task_rarely_due"));
        assert!(last.tables.iter().all(|table| table != "task"));
    }

    #[test]
    fn every_object_of_the_migrations_is_created_in_the_way_that_is_read() {
        for migration in MIGRATIONS.iter() {
            for line in migration.sql.as_str().lines() {
                let Some(rest) = line.trim_start().strip_prefix("CREATE ") else {
                    continue;
                };
                let kind = rest.split(' ').next().unwrap_or_default();
                assert!(
                    ["TABLE", "INDEX", "FUNCTION", "TRIGGER"].contains(&kind),
                    "{line}"
                );
            }
        }
    }
}
