//! Walks through a file that arrives in pieces, from one length field to the next.
//!
//! Only lengths are read. A file that does not follow its grammar is not judged: a decoder may
//! accept what we do not understand.

use super::Format;
use super::grammar::Grammar;
use super::step::{Step, Then};

/// The position in a file, and what to do with the next bytes.
pub(super) struct Walk {
    grammar: Grammar,
    skip_bytes: u64,
    then: Then,
    /// The bytes of `Then::Read` that have arrived.
    read: Vec<u8>,
}

impl Walk {
    pub fn new(format: Format) -> Self {
        let (grammar, then) = Grammar::new(format);
        Self {
            grammar,
            skip_bytes: 0,
            then,
            read: Vec::new(),
        }
    }

    pub fn feed(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = usize::try_from(self.skip_bytes)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            self.skip_bytes -= skipped as u64;
            bytes = &bytes[skipped..];
            if self.skip_bytes > 0 {
                return;
            }
            match self.then {
                Then::End | Then::Unknown => return,
                Then::ReadAfterMarker => match memchr::memchr(0xff, bytes) {
                    Some(at) => {
                        bytes = &bytes[at + 1..];
                        self.then = Then::Read(1);
                    }
                    None => return,
                },
                Then::Read(wanted) => {
                    let taken = (wanted - self.read.len()).min(bytes.len());
                    self.read.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if self.read.len() < wanted {
                        return;
                    }
                    let Step { skip_bytes, then } = self.grammar.next(&self.read);
                    self.read.clear();
                    self.skip_bytes = skip_bytes;
                    self.then = then;
                }
            }
        }
    }

    /// Whether the file may end here.
    pub fn is_whole(&self) -> bool {
        let has_rest = !self.read.is_empty() && !self.grammar.is_padding(&self.read);
        let is_between = self.skip_bytes == 0 && !has_rest;
        match self.then {
            Then::Unknown => true,
            Then::End => self.skip_bytes == 0,
            Then::Read(_) => is_between && self.grammar.may_end(),
            Then::ReadAfterMarker => false,
        }
    }
}

impl Step {
    pub fn read(bytes: usize) -> Self {
        Self::skip(0, Then::Read(bytes))
    }

    pub fn skip(skip_bytes: u64, then: Then) -> Self {
        Self { skip_bytes, then }
    }

    pub fn end() -> Self {
        Self::skip(0, Then::End)
    }

    pub fn unknown() -> Self {
        Self::skip(0, Then::Unknown)
    }
}
