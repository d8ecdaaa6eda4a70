//! The payment service as a process of its own, with the provider that the settings name.
use quadrille_runtime::entry;
use std::process::ExitCode;

fn main() -> ExitCode {
    entry::service::<quadrille_payment::Payment>(|config| {
        quadrille_adapters::provider(config).map(Some)
    })
}
