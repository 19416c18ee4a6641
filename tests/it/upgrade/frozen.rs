//! Released migrations never change, because a database that has applied one compares it with ours.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::released::{RELEASED, folder};

#[test]
fn a_released_migration_never_changes() {
    for released in &RELEASED {
        for (engine, wanted) in [("sqlite", released.sqlite), ("postgres", released.postgres)] {
            let path = folder(engine).join(released.file);
            let digest = Sha256::digest(std::fs::read(&path).unwrap());
            let found: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let found = found.concat();
            let path = path.display();
            assert_eq!(
                found, wanted,
                "{path} was released and must not change: write a new migration"
            );
        }
    }
}

/// Each later change is a new file, numbered after the released ones.
#[test]
fn migrations_are_numbered_from_one_without_a_gap() {
    for engine in ["sqlite", "postgres"] {
        let files = std::fs::read_dir(folder(engine)).unwrap();
        let numbers: BTreeSet<i64> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .map(|name| name.split_once('_').unwrap().0.parse().unwrap())
            .collect();
        let newest = numbers.last().copied().unwrap();
        assert_eq!(numbers, (1..=newest).collect(), "{engine}");
        assert!(newest >= RELEASED.last().unwrap().version, "{engine}");
    }
}
