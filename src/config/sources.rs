//! The file and the environment, merged into one table. `load` reads a `Config` from it. After a
//! fault it removes the key that caused it and reads again, to find the next one.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use config::{
    ConfigError as Cause, Environment, File, FileFormat, Map, Source as _, Value, ValueKind,
};
use serde_path_to_error::{Error, Path as KeyPath, Segment};

use super::lists;
use super::secret::EVOLINK_API_KEY;
use super::variables::{PREFIX, SEPARATOR};
use super::{Config, ConfigError};

/// The file and the environment, merged.
pub(super) struct Sources {
    table: Map<String, Value>,
    evolink_api_key: Option<String>,
    /// Variables that should be lists and are none.
    faults: Vec<ConfigError>,
    /// The elements that were removed from lists: the path of the list, and the index that the
    /// element had.
    removed: HashSet<(String, usize)>,
}

impl Sources {
    pub(super) fn read(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        // In the order of their names, so that faults are always found in the same order.
        let mut env: BTreeMap<String, String> = env.collect();
        let evolink_api_key = env.get(EVOLINK_API_KEY).cloned();
        // An empty `EVOLINK_RECEIVER_CONFIG=` names no file.
        let path = path.filter(|path| !path.as_os_str().is_empty());
        let mut sources = config::Config::builder();
        if let Some(path) = path {
            sources = sources.add_source(File::from_str(&read(path)?, FileFormat::Toml));
        }
        let (lists, faults) = lists::take(&mut env);
        let merged = sources.add_source(overrides(env)).build();
        let table = merged.and_then(|merged| merged.collect());
        let mut table = table.map_err(|cause| not_parsed(path, &cause))?;
        for (key, list) in lists {
            insert(&mut table, &key, list);
        }
        Ok(Self {
            table,
            evolink_api_key,
            faults,
            removed: HashSet::new(),
        })
    }

    /// Takes what is wrong with single variables. Everything else can be read without them.
    pub(super) fn take_faults(&mut self) -> Vec<ConfigError> {
        std::mem::take(&mut self.faults)
    }

    pub(super) fn parse(&self) -> Result<Config, Box<Error<Cause>>> {
        let table = Value::new(None, ValueKind::Table(self.table.clone()));
        let mut config: Config = serde_path_to_error::deserialize(table)?;
        let evolink = &mut config.evolink;
        if evolink.api_key.is_none() && evolink.api_key_file.is_none() {
            let given = self.evolink_api_key.as_ref();
            let given = given.filter(|key| !key.is_empty());
            evolink.api_key = given.map(|key| key.as_str().into());
            evolink.is_key_of_environment = evolink.api_key.is_some();
        }
        Ok(config)
    }

    /// Formats a path as it is in the file: with the index that an element had before others were
    /// removed.
    pub(super) fn original(&self, path: &KeyPath) -> String {
        let Some((list, index)) = first_element(path) else {
            return path.to_string();
        };
        let mut original = index;
        for before in 0.. {
            if before > original {
                break;
            }
            original += usize::from(self.removed.contains(&(list.clone(), before)));
        }
        path.to_string()
            .replacen(&format!("[{index}]"), &format!("[{original}]"), 1)
    }

    /// Removes what is at `path`. If the fault is in an element of a list and is not an unknown
    /// key, removes the whole element. Returns whether something was removed.
    pub(super) fn remove(&mut self, path: &KeyPath, is_unknown_key: bool) -> bool {
        let element = first_element(path).filter(|_| !is_unknown_key);
        if let Some((list, index)) = element {
            let original = self.original(path);
            let Some(ValueKind::Array(elements)) = at(&mut self.table, path, |segment| {
                matches!(segment, Segment::Seq { .. })
            }) else {
                return false;
            };
            if index >= elements.len() {
                return false;
            }
            elements.remove(index);
            let original = original.split(['[', ']']).nth(1);
            let original = original.and_then(|index| index.parse().ok());
            self.removed.insert((list, original.unwrap_or(index)));
            return true;
        }
        let Some(Segment::Map { key }) = path.iter().next_back() else {
            return false;
        };
        let last = path.iter().len() - 1;
        let mut passed = 0;
        let parent = at(&mut self.table, path, |_| {
            passed += 1;
            passed > last
        });
        match parent {
            Some(ValueKind::Table(table)) => table.shift_remove(key).is_some(),
            None if last == 0 => self.table.shift_remove(key).is_some(),
            Some(_) | None => false,
        }
    }
}

/// Returns the path of the first list on the way, and the index in it.
fn first_element(path: &KeyPath) -> Option<(String, usize)> {
    let mut list = Vec::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => return Some((list.join("."), *index)),
            segment => list.push(segment.to_string()),
        }
    }
    None
}

/// Follows `path` until `is_end` holds for the next segment. `None` if that is the root, or if
/// there is nothing.
fn at<'a>(
    root: &'a mut Map<String, Value>,
    path: &KeyPath,
    mut is_end: impl FnMut(&Segment) -> bool,
) -> Option<&'a mut ValueKind> {
    let mut segments = path.iter();
    let first = segments.next().filter(|first| !is_end(first))?;
    let Segment::Map { key } = first else {
        return None;
    };
    let mut value = &mut root.get_mut(key)?.kind;
    for segment in segments {
        if is_end(segment) {
            break;
        }
        value = match (value, segment) {
            (ValueKind::Table(table), Segment::Map { key }) => &mut table.get_mut(key)?.kind,
            (ValueKind::Array(list), Segment::Seq { index }) => &mut list.get_mut(*index)?.kind,
            _ => return None,
        };
    }
    Some(value)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(
            path.display().to_string(),
            format!("could not read: {error}"),
        )
    })
}

/// Puts `list` at `key`, which is a section and a name, or a name alone.
fn insert(table: &mut Map<String, Value>, key: &str, list: Value) {
    let Some((section, name)) = key.split_once('.') else {
        table.insert(key.to_owned(), list);
        return;
    };
    let nothing = || Value::new(None, ValueKind::Table(Map::new()));
    let section = table.entry(section.to_owned()).or_insert_with(nothing);
    // A section that is no table is an error of its own.
    if let ValueKind::Table(section) = &mut section.kind {
        insert(section, name, list);
    }
}

fn overrides(env: BTreeMap<String, String>) -> Environment {
    Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .ignore_empty(true)
        .source(Some(env.into_iter().collect()))
}

/// Reports a syntax error. The TOML parser quotes the wrong line, which may contain a secret, so
/// this keeps only the position and the reason.
fn not_parsed(path: Option<&Path>, cause: &Cause) -> ConfigError {
    let key = path.map_or_else(|| "environment".into(), |path| path.display().to_string());
    let text = match cause {
        Cause::FileParse { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    let is_quote = |line: &str| {
        let margin = line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
        margin.starts_with('|')
    };
    let kept = text
        .lines()
        .filter(|line| !line.is_empty() && !is_quote(line));
    ConfigError::new(key, kept.collect::<Vec<_>>().join(": "))
}
