//! `quadrille declare`: what all services need a broker to have, made before the first of them runs.
use crate::choreography::topologies;
use crate::screen::{Output, say, say_json};
use anyhow::anyhow;
use quadrille_runtime::broker::{BrokerError, Topology};
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::Failed;
use quadrille_runtime::platform::Platform;
use serde::Serialize;

/// One service's part of the broker, as it is there now.
#[derive(Debug, Serialize)]
struct Declared {
    service: String,
    exchange: String,
    queue: String,
    dead_letters: String,
    bindings: Vec<Binding>,
}

#[derive(Debug, Serialize)]
struct Binding {
    exchange: String,
    routing_key: String,
}

/// Declares exchanges, queues and bindings of all services, and prints them.
///
/// A publisher needs one queue that takes its event, and does not know of others that are to come:
/// services that begin on an empty virtual host one after another can miss what the first ones say.
///
/// # Errors
/// If no broker is named, it cannot be reached, or has something else under one of the names.
pub async fn declare(config: Config, output: Output) -> Result<(), Failed> {
    if config.amqp_url.is_none() {
        return Err(Failed::config(anyhow!(
            "which broker? Name it with --amqp-url URL (QUADRILLE_AMQP_URL); the embedded one \
             needs no declaring"
        )));
    }
    let platform = Platform::open(config, "quadrille declare").await?;
    let declared = declare_all(&platform).await;
    platform.close().await;
    let declared = declared.map_err(|error| match error {
        BrokerError::Refused { .. } => Failed::wrong(error),
        BrokerError::Down { .. } | BrokerError::Late { .. } => Failed::unavailable(error),
    })?;
    match output {
        Output::Json => say_json(&declared),
        Output::Text => say(in_words(&declared)),
    }
}

async fn declare_all(platform: &Platform) -> Result<Vec<Declared>, BrokerError> {
    let mut declared = Vec::new();
    for topology in topologies() {
        platform.broker().declare(&topology).await?;
        declared.push(told(topology));
    }
    Ok(declared)
}

fn told(topology: Topology) -> Declared {
    let (exchange, queue) = (topology.exchange(), topology.queue());
    let dead_letters = topology.dead_letters();
    let bindings = topology.bindings.into_iter();
    let bindings =
        bindings.map(|(exchange, routing_key)| Binding { exchange, routing_key }).collect();
    Declared { service: topology.service, exchange, queue, dead_letters, bindings }
}

fn in_words(declared: &[Declared]) -> String {
    let mut text = String::new();
    for Declared { exchange, queue, dead_letters, bindings, .. } in declared {
        text += &format!("{exchange}  exchange\n{queue}  queue, dead letters in {dead_letters}\n");
        for Binding { exchange, routing_key } in bindings {
            text += &format!("  {routing_key}  from {exchange}\n");
        }
        text += "\n";
    }
    text + "All of it is there. Services may begin in any order.\n"
}
