//! `quadrille up`: all services in one process, until Ctrl-C.
use crate::everyone::{Everyone, open_stores};
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::{Failed, serve_probes, stop_on_signal};
use quadrille_runtime::platform::Platform;
use std::sync::Arc;

/// Runs until a signal, on whatever the settings name.
pub async fn up(config: Config) -> Result<(), Failed> {
    let stop = stop_on_signal();
    let platform = Arc::new(Platform::open(config, "quadrille").await?);
    let stores = open_stores(&platform).await?;
    serve_probes(&platform, &stop);
    let everyone = Everyone::start(&platform, &stores, &stop)?;
    eprintln!("{}\nCtrl-C stops it.", described(platform.config()));
    let ended = everyone.ended().await;
    platform.close().await;
    for store in stores.values() {
        store.close().await;
    }
    ended
}

/// What is embedded and what is real, in a sentence.
fn described(config: &Config) -> String {
    let broker = if config.amqp_url.is_some() { "RabbitMQ" } else { "the embedded broker" };
    let store = if config.postgres_url.is_some() { "PostgreSQL" } else { "SQLite" };
    let kept = match &config.data {
        Some(data) => format!("kept in {}", data.display()),
        None if config.postgres_url.is_some() => "kept by the server".to_owned(),
        None => "forgotten at the end (name a folder with --data)".to_owned(),
    };
    format!("order, inventory, payment and shipping are up, on {broker} and {store}, {kept}.")
}
