//! Any of our programs with faults at its ports, by the name under which it is called: built for
//! tests alone, by the feature `fault-points`.
use quadrille::cli::{self, Cli};
use quadrille_runtime::entry;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(|name| name.to_str()) {
        Some("order") => entry::service::<quadrille_order::Order>(|_| Ok(None)),
        Some("inventory") => entry::service::<quadrille_inventory::Inventory>(|_| Ok(None)),
        Some("payment") => entry::service::<quadrille_payment::Payment>(|config| {
            quadrille_adapters::provider(config).map(Some)
        }),
        Some("shipping") => entry::service::<quadrille_shipping::Shipment>(|config| {
            quadrille_adapters::carrier(config).map(Some)
        }),
        _ => entry::parsed::<Cli>().map_or_else(|code| code, cli::run),
    }
}
