//! `completions` and `man`: made from the same definition of the command line as its help.

use std::fs;
use std::io::Write;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::exit::CommandError;

const PROGRAM: &str = "evolink-receiver";

/// Prints the completions for a shell.
pub fn completions(args: &CompletionsArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), PROGRAM, &mut script);
    out.write_all(&script).context("could not print")?;
    Ok(())
}

/// Prints the main manual page, or writes the pages of all commands into a folder.
pub fn man(args: &ManArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let Some(folder) = &args.out else {
        let page = clap_mangen::Man::new(Cli::command());
        page.render(out).context("could not print")?;
        return Ok(());
    };
    let context = || format!("could not write the pages into {}", folder.display());
    fs::create_dir_all(folder).with_context(context)?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(context)?;
    Ok(())
}
