//! What every broker keeps, kept by RabbitMQ behind our adapter.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;

use async_trait::async_trait;
use common::Node;
use quadrille_runtime::amqp::{Amqp, AmqpConfig};
use quadrille_runtime::broker::Broker;
use quadrille_runtime::conformance::broker::Stage;
use std::sync::{Arc, LazyLock};

/// One node for all: each claim has a virtual host of its own. It ends with this process.
static NODE: LazyLock<Node> = LazyLock::new(|| Node::start("claims"));

struct Rabbit;

#[async_trait]
impl Stage for Rabbit {
    async fn fresh(&self) -> Arc<dyn Broker> {
        let url = tokio::task::spawn_blocking(|| NODE.fresh_url()).await.unwrap();
        Arc::new(Amqp::new(&AmqpConfig::new(url, "claims")).unwrap())
    }
}

quadrille_runtime::broker_conformance!(Rabbit);
