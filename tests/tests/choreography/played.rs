//! What the checker finds in a broken machine happens in the real runtime too, step by step.
use super::bugs::{Bug, Planted};
use quadrille::choreography::{PARTICIPANTS, Scope};
use quadrille::replay::{Outcome, Replay};
use quadrille_check::{Choreography, Schedule};
use quadrille_core::Service;
use quadrille_inventory::Inventory;
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_runtime::config::{Config, Flags};
use quadrille_shipping::Shipment;
use quadrille_tests::servers::{Postgres, RabbitMq};
use std::collections::BTreeMap;

/// A virtual host of a real RabbitMQ, and a database of a real PostgreSQL.
pub(super) fn on_servers() -> Flags {
    let (rabbit, postgres) = (RabbitMq::shared(), Postgres::shared());
    let amqp_url = Some(rabbit.vhost().expect("a virtual host"));
    let postgres_url = Some(postgres.database().expect("a database"));
    Flags { amqp_url, postgres_url, ..Flags::default() }
}

/// Plays a schedule with the broken machine among the real ones.
pub(super) fn played<B: Bug>(scope: &Scope, schedule: Schedule, flags: &Flags) -> Outcome {
    let config = Config::from_vars(flags, BTreeMap::new()).expect("good flags");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let played = runtime.block_on(async {
        let mut replay = Replay::open(config, schedule, PARTICIPANTS).await?;
        let at_start = scope.choreography();
        seat::<B, Order>(&mut replay, &at_start).await?;
        seat::<B, Inventory>(&mut replay, &at_start).await?;
        seat::<B, Payment>(&mut replay, &at_start).await?;
        seat::<B, Shipment>(&mut replay, &at_start).await?;
        replay.play().await
    });
    let played = played.expect("broker and stores are there");
    println!("{played}");
    played.outcome
}

async fn seat<B: Bug, S: Service>(
    replay: &mut Replay,
    at_start: &Choreography,
) -> anyhow::Result<()> {
    if S::NAME == B::Real::NAME {
        replay.seat::<Planted<B>>(at_start).await
    } else {
        replay.seat::<S>(at_start).await
    }
}
