//! The shipping service as a process of its own, with the carrier that the settings name.
use quadrille_runtime::entry;
use std::process::ExitCode;

fn main() -> ExitCode {
    entry::service::<quadrille_shipping::Shipment>(|config| {
        quadrille_adapters::carrier(config).map(Some)
    })
}
