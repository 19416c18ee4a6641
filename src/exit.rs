//! The exit codes of the process, after sysexits, and the error that carries one.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::observe::untrusted::Untrusted;

/// An exit code. Supervisors and scripts decide by it whether a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    /// `submit --wait`: the task ended without results.
    TaskFailed = 1,
    /// The command line is wrong.
    Usage = 64,
    /// Data is damaged: a database, or a body that cannot be read.
    DataErr = 65,
    /// A dependency cannot be reached, or there is an internal fault.
    Unavailable = 69,
    /// Retry later: the store is in use, the disk failed, or the service is overloaded.
    TempFail = 75,
    /// A submit may or may not have been accepted and charged. Do not repeat it.
    OutcomeUnknown = 76,
    /// The configuration is wrong.
    Config = 78,
    /// Ctrl-C while a command waited for something that goes on without it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The characters of one line of a cause. Paths and values of the configuration may be long.
const LINE_CHARS_MAX: usize = 4096;

/// The failure of a command: one line for people, and an exit code for programs. A configuration may
/// have several errors, with a line for each.
#[derive(Debug)]
pub struct CommandError {
    pub exit: Exit,
    pub message: String,
    more: Vec<Self>,
}

impl CommandError {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            more: Vec::new(),
        }
    }

    /// Makes one failure of several errors.
    pub fn of_all(exit: Exit, messages: Vec<String>) -> Self {
        let errors = messages.into_iter();
        Self::of_several(errors.map(|message| Self::new(exit, message)).collect())
    }

    /// Makes one failure of several errors. The exit code is that of the first one.
    pub fn of_several(errors: Vec<Self>) -> Self {
        let mut errors = errors.into_iter();
        let first = errors.next();
        let mut first = first.unwrap_or_else(|| Self::new(Exit::Unavailable, "failed"));
        let more = errors.flat_map(|mut error| {
            let more = std::mem::take(&mut error.more);
            std::iter::once(error).chain(more)
        });
        first.more.extend(more);
        first
    }

    /// Returns all errors, each of which is shown on one line.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.more)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keep the message on one line, even if a cause has several, and without the control
        // characters of a file that it quotes.
        let lines = self.message.lines().map(str::trim);
        let mut lines = lines.filter(|line| !line.is_empty());
        let shown = |line| Untrusted::up_to(line, LINE_CHARS_MAX);
        write!(f, "{}", shown(lines.next().unwrap_or("failed")))?;
        lines.try_for_each(|line| write!(f, ": {}", shown(line)))
    }
}

impl std::error::Error for CommandError {}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl From<anyhow::Error> for CommandError {
    /// Keeps the exit code of an error that has one, even below added context. Others become
    /// `Unavailable`.
    fn from(error: anyhow::Error) -> Self {
        let exit = if error.is::<ConfigError>() {
            Exit::Config
        } else {
            let known = error.downcast_ref::<Self>();
            known.map_or(Exit::Unavailable, |known| known.exit)
        };
        // `{:#}` formats the whole chain of causes on one line.
        Self::new(exit, format!("{error:#}"))
    }
}
