//! The schemas of both engines are equal: the same tables, columns, keys and indexes, created by
//! migrations with the same names.

use std::collections::BTreeSet;

use evolink_receiver::store::Store;

use crate::support::store::TestStore;
use crate::support::store::database::Database;
use crate::support::store::schema::file_names;

/// Table, column, type as PostgreSQL calls it, whether it may be NULL, whether it has a default.
type Column = (String, String, String, bool, bool);

/// Table, its columns in order, its name if it was given one, whether it is unique, whether it is
/// partial.
type Index = (String, String, String, bool, bool);

const SQLITE_COLUMNS: &str = "SELECT tables.name, columns.name,
        CASE columns.type WHEN 'INTEGER' THEN 'bigint' WHEN 'TEXT' THEN 'text' WHEN 'BLOB' THEN 'bytea' ELSE columns.type END,
        columns.\"notnull\" = 0 AND columns.pk = 0, columns.dflt_value IS NOT NULL
    FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
    WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tables.name != '_sqlx_migrations'";

const POSTGRES_COLUMNS: &str = "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'YES',
        column_default IS NOT NULL AND column_default NOT LIKE 'nextval(%'
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name != '_sqlx_migrations'";

/// SQLite has no index for an INTEGER PRIMARY KEY, so keys are read from the columns.
const SQLITE_INDEXES: &str = "SELECT tables.name,
        (SELECT group_concat(name) FROM (SELECT name FROM pragma_index_info(indexes.name) ORDER BY seqno)),
        CASE indexes.origin WHEN 'c' THEN indexes.name ELSE '' END, indexes.\"unique\" = 1, indexes.partial = 1
    FROM sqlite_schema AS tables, pragma_index_list(tables.name) AS indexes
    WHERE tables.type = 'table' AND indexes.origin != 'pk' AND tables.name != '_sqlx_migrations'
    UNION ALL
    SELECT tables.name,
        (SELECT group_concat(name) FROM (SELECT name FROM pragma_table_info(tables.name) WHERE pk > 0 ORDER BY pk)),
        'the key', true, false
    FROM sqlite_schema AS tables
    WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tables.name != '_sqlx_migrations'";

const POSTGRES_INDEXES: &str = "SELECT tables.relname::text,
        (SELECT string_agg(attname::text, ',' ORDER BY place) FROM unnest(indkey::int2[]) WITH ORDINALITY AS keys(number, place)
            JOIN pg_attribute ON attrelid = indrelid AND attnum = number),
        CASE WHEN indisprimary THEN 'the key' WHEN constraints.oid IS NULL THEN indexes.relname::text ELSE '' END,
        indisunique, indpred IS NOT NULL
    FROM pg_index JOIN pg_class AS tables ON tables.oid = indrelid JOIN pg_class AS indexes ON indexes.oid = indexrelid
        LEFT JOIN pg_constraint AS constraints ON conindid = indexrelid
    WHERE tables.relnamespace = 'public'::regnamespace AND tables.relname != '_sqlx_migrations'";

const SQLITE_TRIGGERS: &str =
    "SELECT tbl_name || '.' || name FROM sqlite_schema WHERE type = 'trigger'";

const POSTGRES_TRIGGERS: &str = "SELECT relname || '.' || tgname FROM pg_trigger
    JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal";

/// Creates an empty store, and connects to its database.
async fn opened(home: &TestStore) -> Database {
    Store::open(home.url()).await.unwrap().close().await;
    home.connect().await
}

/// Returns the items that only one of the engines has.
fn differences<T: Ord + Clone>(sqlite: Vec<T>, postgres: Vec<T>) -> [Vec<T>; 2] {
    let (sqlite, postgres) = (BTreeSet::from_iter(sqlite), BTreeSet::from_iter(postgres));
    [
        sqlite.difference(&postgres).cloned().collect(),
        postgres.difference(&sqlite).cloned().collect(),
    ]
}

#[test]
fn migrations_have_the_same_names() {
    let names = file_names("sqlite");
    assert!(!names.is_empty());
    assert_eq!(names, file_names("postgres"));
}

#[tokio::test]
async fn tables_columns_keys_and_indexes_are_the_same() {
    let Some(server) = TestStore::on_postgres() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = TestStore::file_in(folder.path());
    let (sqlite, postgres) = (opened(&file).await, opened(&server).await);

    let columns: Vec<Column> = sqlite.rows(SQLITE_COLUMNS, &[]).await;
    assert!(columns.len() > 30, "it was looked at: {columns:?}");
    let only = differences(columns, postgres.rows(POSTGRES_COLUMNS, &[]).await);
    assert_eq!(
        only,
        [[], []],
        "columns that only SQLite has, or PostgreSQL"
    );

    let indexes: Vec<Index> = sqlite.rows(SQLITE_INDEXES, &[]).await;
    assert!(indexes.len() > 8, "it was looked at: {indexes:?}");
    let only = differences(indexes, postgres.rows(POSTGRES_INDEXES, &[]).await);
    assert_eq!(
        only,
        [[], []],
        "indexes that only SQLite has, or PostgreSQL"
    );

    // PostgreSQL may have more triggers, because some of its triggers also wake other replicas.
    let triggers: Vec<String> = sqlite.values(SQLITE_TRIGGERS, &[]).await;
    assert!(triggers.len() > 1, "it was looked at: {triggers:?}");
    let [missing, _] = differences(triggers, postgres.values(POSTGRES_TRIGGERS, &[]).await);
    assert!(
        missing.is_empty(),
        "triggers that PostgreSQL lacks: {missing:?}"
    );
}
