//! The documents for engineers name files of the sources. Each is there.

use std::fs;
use std::path::Path;

/// The documents, and the folders that their paths may start from.
const DOCUMENTS: [&str; 4] = [
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/decisions.md",
    "docs/rules.md",
];
const ROOTS: [&str; 3] = ["", "src/", "tests/"];

#[test]
fn every_file_that_a_document_names_is_there() {
    let mut named = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(document).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        for path in quoted
            .filter(|word| Path::new(word).extension() == Some("rs".as_ref()) && word.contains('/'))
        {
            let is_there = |root: &str| Path::new(&format!("{root}{path}")).is_file();
            assert!(
                ROOTS.iter().any(|root| is_there(root)),
                "{document}: {path}"
            );
            named += 1;
        }
    }
    assert!(named > 20, "only {named} are named");
}
