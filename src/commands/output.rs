//! The standard output of a command, whose reader may leave before its end, such as `head`.

use std::io::{self, ErrorKind, Write};

/// An output that stays quiet when its reader leaves.
///
/// After that, nothing is written and no write fails, so that a command ends with its own exit
/// code: a script that reads one line of a submit must still see that its outcome is unknown.
/// `flush` then fails, which tells commands without an end that they may stop.
#[derive(Debug)]
pub struct Out<W> {
    inner: W,
    is_closed: bool,
}

impl<W: Write> Out<W> {
    pub const fn new(inner: W) -> Self {
        let is_closed = false;
        Self { inner, is_closed }
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        match self.inner.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.inner.flush().inspect_err(|error| {
            self.is_closed |= error.kind() == ErrorKind::BrokenPipe;
        })
    }
}

/// Whether somebody still reads, after a write that ended with a flush.
///
/// # Errors
/// The output cannot be written for another reason, such as a full disk.
pub fn is_read(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Write as _};

    use super::{Out, is_read};

    /// Takes one write, and then its reader is gone.
    struct Pipe {
        taken: Vec<u8>,
        error: ErrorKind,
    }

    impl io::Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.taken.is_empty() {
                self.taken.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            Err(self.error.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn out(error: ErrorKind) -> Out<Pipe> {
        let taken = Vec::new();
        Out::new(Pipe { taken, error })
    }

    #[test]
    fn no_write_fails_after_the_reader_has_left_and_a_flush_says_so() {
        let mut out = out(ErrorKind::BrokenPipe);
        out.write_all(b"one\n").unwrap();
        assert!(is_read(out.flush()).unwrap());
        writeln!(out, "two").unwrap();
        writeln!(out, "three").unwrap();
        assert!(!is_read(out.flush()).unwrap());
        assert_eq!(out.inner.taken, b"one\n");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut out = out(ErrorKind::StorageFull);
        write!(out, "one").unwrap();
        assert!(write!(out, "two").is_err());
    }
}
