//! Who may import from whom in the tests: a story imports from itself and from `support`, `support`
//! imports from no story, and its rooms do not import from each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

const FOLDER: &str = "tests/it";
const SUPPORT: &str = "support";

/// How the paths begin. Each is in two parts, so that this file does not contain it.
const FROM_ROOT: &str = concat!("crate", "::");
const FROM_ABOVE: &str = concat!("super", "::");

/// A source file of the tests: its module path, and its text without comments.
struct Source {
    file: PathBuf,
    module: Vec<String>,
    text: String,
}

impl Source {
    fn read(file: PathBuf) -> Self {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap());
        let path = file.strip_prefix(FOLDER).unwrap().with_extension("");
        let parts = path.iter().map(|part| part.to_str().unwrap().to_owned());
        Self {
            text: code.collect::<Vec<_>>().join("\n"),
            module: parts.filter(|part| part != "mod").collect(),
            file,
        }
    }

    fn story(&self) -> &str {
        &self.module[0]
    }

    /// The paths of other modules that the file names, beginning with their story.
    fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (at, _) in self.text.match_indices(FROM_ROOT) {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            if !self.text[..at].ends_with(is_word) {
                paths.push(words(&self.text[at + FROM_ROOT.len()..]));
            }
        }
        for (at, _) in self.text.match_indices(FROM_ABOVE) {
            if self.text[..at].ends_with(FROM_ABOVE) {
                continue;
            }
            let rest = self.text[at..].trim_start_matches(FROM_ABOVE);
            let levels = (self.text.len() - at - rest.len()) / FROM_ABOVE.len();
            let above = self.module.len().saturating_sub(levels);
            paths.push([&self.module[..above], &words(rest)].concat());
        }
        paths
    }
}

/// The words of a path up to its first brace, star or other character.
fn words(path: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = path.find(|c| !is_path(c)).unwrap_or(path.len());
    let words = path[..end].split("::").filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// All files in rooms of the tests. Only `main.rs` names the stories.
fn sources() -> Vec<Source> {
    let mut folders = vec![PathBuf::from(FOLDER)];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some("rs".as_ref()) && !path.ends_with("main.rs") {
                sources.push(Source::read(path));
            }
        }
    }
    assert!(sources.len() > 200, "only {} are there", sources.len());
    sources
}

#[test]
fn a_story_imports_only_from_itself_and_from_support() {
    let mut others = Vec::new();
    for source in sources() {
        for path in source.paths() {
            let story = path.first().map_or("", String::as_str);
            if story != source.story() && (story != SUPPORT || source.story() == SUPPORT) {
                others.push(format!("{}: {}", source.file.display(), path.join("::")));
            }
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn the_rooms_of_support_import_in_no_circle() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let [story, room, ..] = &source.module[..] else {
            continue;
        };
        if story != SUPPORT {
            continue;
        }
        let others = imports.entry(room.clone()).or_default();
        let paths = source.paths();
        let rooms = paths.iter().filter_map(|path| path.get(1));
        others.extend(rooms.filter(|other| *other != room).cloned());
    }
    // Rooms that import from no other are left out, again and again, until only a circle is left.
    while let Some(room) = imports
        .iter()
        .find_map(|(room, others)| others.is_empty().then(|| room.clone()))
    {
        imports.remove(&room);
        for others in imports.values_mut() {
            others.remove(&room);
        }
    }
    assert!(imports.is_empty(), "{imports:#?}");
}
