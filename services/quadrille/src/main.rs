//! The command line.
use quadrille::cli::{self, Cli};
use quadrille_runtime::entry;
use std::process::ExitCode;

fn main() -> ExitCode {
    entry::parsed::<Cli>().map_or_else(|code| code, cli::run)
}
