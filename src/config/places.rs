//! Where a key is set: in which line of the file, or by which environment variable.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::variables::variable;
use super::{Finding, Level};

/// The places of all keys that are set.
#[derive(Debug, Default)]
pub struct Places {
    file: String,
    /// The line of each key, table and element of a list, counted from 1.
    lines: HashMap<String, usize>,
    /// The environment variables that are set to something.
    variables: HashSet<String>,
}

impl Places {
    /// Reads the file again. Of one that is not TOML nothing is known; its error says the line.
    pub fn read(path: Option<&Path>, env: &[(String, String)]) -> Self {
        let set = env.iter().filter(|(_, value)| !value.is_empty());
        let mut places = Self {
            variables: set.map(|(name, _)| name.clone()).collect(),
            ..Self::default()
        };
        let path = path.filter(|path| !path.as_os_str().is_empty());
        let text = path.and_then(|path| std::fs::read_to_string(path).ok());
        if let (Some(path), Some(text)) = (path, text)
            && let Ok(table) = DeTable::parse(&text)
        {
            places.file = path.display().to_string();
            places.add_table(&text, "", table.get_ref());
        }
        places
    }

    /// Appends to an error or a warning where its key is set.
    pub fn add_to(&self, finding: &mut Finding) {
        let is_missing = finding.message.starts_with("missing");
        match finding.level {
            Level::Ok => {}
            Level::Warning | Level::Error => {
                if let Some(place) = self.of(&finding.key, is_missing) {
                    let _ = write!(finding.message, " ({place})");
                }
            }
        }
    }

    /// The line that a finding is about, for their order. Those without one come last.
    pub fn line(&self, finding: &Finding) -> usize {
        let line = self.line_of_key(&finding.key, finding.message.starts_with("missing"));
        line.unwrap_or(usize::MAX)
    }

    fn line_of_key(&self, key: &str, is_missing: bool) -> Option<usize> {
        let line = self.lines.get(key).copied();
        let around = key.rsplit_once('.').filter(|_| is_missing);
        line.or_else(|| self.lines.get(around?.0).copied())
    }

    /// Returns the file and line, or the variable, that sets `key`; where it is missing, those of
    /// the table or element that lacks it.
    fn of(&self, key: &str, is_missing: bool) -> Option<String> {
        let list = key.split('[').next().unwrap_or(key);
        if let Some(variable) = self.variables.get(&variable(list)) {
            return Some(variable.clone());
        }
        let line = self.line_of_key(key, is_missing)?;
        Some(format!("{}:{line}", self.file))
    }

    fn add_table(&mut self, text: &str, path: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = match path {
                "" => name.get_ref().to_string(),
                path => format!("{path}.{}", name.get_ref()),
            };
            let line = line_of(text, name.span().start);
            self.lines.entry(key.clone()).or_insert(line);
            self.add_value(text, &key, value.get_ref());
        }
    }

    fn add_value(&mut self, text: &str, key: &str, value: &DeValue<'_>) {
        if let DeValue::Table(table) = value {
            self.add_table(text, key, table);
        } else if let DeValue::Array(elements) = value {
            for (index, element) in elements.iter().enumerate() {
                let key = format!("{key}[{index}]");
                let line = line_of(text, element.span().start);
                self.lines.insert(key.clone(), line);
                self.add_value(text, &key, element.get_ref());
            }
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    1 + before.matches('\n').count()
}
