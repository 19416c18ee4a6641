//! The migrations of both engines, as their files have them.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of the migrations for `engine`, which is the name of their folder.
pub fn file_names(engine: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(engine);
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The number of the newest migration.
pub fn newest() -> u32 {
    let names = file_names("sqlite");
    names.last().unwrap()[..4].parse().unwrap()
}
