//! The inventory service as a process of its own.
use quadrille_runtime::entry;
use std::process::ExitCode;

fn main() -> ExitCode {
    entry::service::<quadrille_inventory::Inventory>(|_| Ok(None))
}
