//! The order service as a process of its own.
use quadrille_runtime::entry;
use std::process::ExitCode;

fn main() -> ExitCode {
    entry::service::<quadrille_order::Order>(|_| Ok(None))
}
