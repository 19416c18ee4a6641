//! Exports tasks before they are deleted: one line of JSON for each, with its history, appended to
//! a file of this process for each day. A line is on the disk before anything of it is deleted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::domain::delivery::Holder;
use crate::domain::json::Fields;
use crate::domain::timestamp::Timestamp;
use crate::files::{PRIVATE, sync_folder};
use crate::store::read::history::HistoryKind;
use crate::store::retention::Exported;
use crate::store::{Store, StoreError};
use crate::task_object::TaskObjects;
use crate::task_object::history::{History, HistoryObject};

/// Why tasks were not exported. Then they are not deleted either.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("could not export tasks to {path}, so they are not deleted: {error}")]
    File { path: String, error: io::Error },
}

/// The export of this process.
#[derive(Debug)]
pub struct Export {
    objects: TaskObjects,
    files: Arc<Mutex<Files>>,
}

#[derive(Debug)]
struct Files {
    folder: PathBuf,
    /// A part of the names that no other process uses.
    process: String,
    /// The day of the open file, the file, and how much of it is complete.
    open: Option<(String, File, u64)>,
}

/// One line of an export.
#[derive(Serialize)]
struct Line<'a> {
    task: Fields,
    /// What `GET /v1/tasks/{id}/events` answers.
    events: Vec<HistoryObject<'a>>,
}

impl Export {
    pub fn new(folder: PathBuf, objects: TaskObjects, holder: &Holder) -> Self {
        // The end of the id is random, and the beginning is the time.
        let process = holder.as_str().chars().rev().take(12);
        let process: String = process.collect::<String>().chars().rev().collect();
        Self {
            objects,
            files: Arc::new(Mutex::new(Files {
                folder,
                process,
                open: None,
            })),
        }
    }

    /// Exports the tasks with these numbers. Returns them with their newest events once they are on
    /// the disk.
    ///
    /// # Errors
    /// If a task cannot be read, or its line cannot be written.
    pub async fn add(
        &self,
        store: &Store,
        seqs: &[i64],
        now: Timestamp,
    ) -> Result<Vec<Exported>, ExportError> {
        let mut exported = Vec::new();
        for (n, seq) in seqs.iter().enumerate() {
            let Some((line, event)) = self.line(store, *seq).await? else {
                continue;
            };
            let (files, is_last) = (Arc::clone(&self.files), n + 1 == seqs.len());
            let writing = spawn_blocking(move || {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                files.append(&line, now, is_last)
            });
            let written = writing.await.map_err(io::Error::other);
            written.and_then(|written| written).map_err(|error| {
                let path = self.path();
                ExportError::File { path, error }
            })?;
            exported.push(Exported { task: *seq, event });
        }
        Ok(exported)
    }

    fn path(&self) -> String {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.folder.display().to_string()
    }

    /// The line of a task, and the number of its newest event. `None` if it is gone.
    async fn line(&self, store: &Store, seq: i64) -> Result<Option<(Vec<u8>, i64)>, ExportError> {
        let Some(view) = store.find_task_numbered(seq).await? else {
            return Ok(None);
        };
        let items = store.list_history(&view.record).await?;
        let events = items.iter().filter_map(|item| match item.kind {
            HistoryKind::Event { id, .. } => Some(id.seq),
            _ => None,
        });
        let newest = events.max().unwrap_or(1);
        let task = self.objects.of_view(&view);
        let history = History::new(self.objects.clone(), view, &items);
        let line = Line {
            task,
            events: items.iter().map(|item| history.shown(item)).collect(),
        };
        let mut text = serde_json::to_vec(&line).map_err(|error| ExportError::File {
            path: self.path(),
            error: error.into(),
        })?;
        text.push(b'\n');
        Ok(Some((text, newest)))
    }
}

impl Files {
    /// Appends a line. With `syncs`, everything appended is on the disk afterwards.
    fn append(&mut self, line: &[u8], now: Timestamp, syncs: bool) -> io::Result<()> {
        let day = now.to_string()[..10].to_owned();
        if self.open.as_ref().is_none_or(|(open, ..)| *open != day) {
            self.open_for(day)?;
        }
        let Some((_, file, complete)) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let length = *complete + line.len() as u64;
        let written = file
            .write_all(line)
            .and_then(|()| if syncs { file.sync_all() } else { Ok(()) });
        if let Err(error) = written {
            // After a failed sync, the kernel may have dropped what was written before. The tasks
            // of this batch are exported again, into a new file.
            let _ = file.set_len(*complete);
            self.open = None;
            return Err(error);
        }
        *complete = length;
        Ok(())
    }

    fn open_for(&mut self, day: String) -> io::Result<()> {
        if let Some((_, file, _)) = self.open.take() {
            file.sync_all()?;
        }
        fs::create_dir_all(&self.folder)?;
        for number in 1.. {
            let name = format!("tasks-{day}-{}-{number}.jsonl", self.process);
            let path = self.folder.join(name);
            let opened = OpenOptions::new()
                .create_new(true)
                .append(true)
                .mode(PRIVATE)
                .open(path);
            match opened {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => {
                    self.open = Some((day, opened?, 0));
                    return sync_folder(&self.folder);
                }
            }
        }
        Ok(())
    }
}
