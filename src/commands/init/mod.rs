//! `init`: writes a commented configuration to start from.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context as _;

use crate::cli::{InitArgs, Start};
use crate::exit::{CommandError, Exit};

/// The name of the output that is no file.
const STDOUT: &str = "-";

impl Start {
    const fn template(self) -> &'static str {
        match self {
            Self::Trial => include_str!("trial.toml"),
            Self::Proxy => include_str!("proxy.toml"),
            Self::Container => include_str!("container.toml"),
        }
    }

    /// Returns what to do next, for a person. `{}` is the file.
    const fn next(self) -> &'static str {
        match self {
            Self::Trial => {
                "next   evolink-receiver serve --config {}\n       \
                 and then, in this folder and another terminal:\n       \
                 evolink-receiver simulate --allow-private-callbacks --callback-ca-file data/self-signed.crt\n"
            }
            Self::Proxy | Self::Container => {
                "next   set public.base_url, put EvoLink's API key into evolink.api_key_file, and then:\n       \
                 evolink-receiver check --config {}\n"
            }
        }
    }
}

/// Writes the configuration into a file, or prints it.
///
/// # Errors
/// The file exists (64), or cannot be written.
pub fn init(args: &InitArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let template = args.start.template();
    if args.out.as_os_str() == STDOUT {
        out.write_all(template.as_bytes())
            .context("could not print")?;
        return Ok(());
    }
    write(&args.out, template, args.force)?;
    let file = args.out.display().to_string();
    let next = args.start.next().replace("{}", &file);
    write!(out, "wrote  {file}\n{next}").context("could not print")?;
    Ok(())
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), CommandError> {
    let shown = path.display();
    let mut options = File::options();
    options.write(true).truncate(true);
    let opened = options.create(force).create_new(!force).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            let message = format!(
                "there is a {shown} already: --force replaces it, --out FILE names another"
            );
            CommandError::new(Exit::Usage, message)
        }
        _ => anyhow::Error::new(error)
            .context(format!("could not write {shown}"))
            .into(),
    })?;
    let written = file.write_all(text.as_bytes());
    written.with_context(|| format!("could not write {shown}"))?;
    Ok(())
}
