//! Two replicas and one timer: whoever comes second must not stumble over it.

use std::time::{Duration, Instant};

use anyhow::Result;
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage};

/// Enough that some deadline is claimed by one replica while the other cancels it.
const ORDERS: u32 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_races_with_its_order_stops_no_replica() {
    race().await.unwrap();
}

async fn race() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpPostgres { replicas: 2 }).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let began = Instant::now();
    let mut orders = Vec::new();
    for n in 0..ORDERS {
        // From far too short to just enough, so that many fire in the moment of the decision.
        let order = OrderSpec { decide_within_ms: Some(100 + n), ..OrderSpec::of("TEA") };
        stage.place(&order).await?;
        orders.push(order.order);
    }
    stage.wait_for_the_end(&orders, SOON).await?;
    println!("deadlines: ended in {:?}, {:?}", began.elapsed(), stage.audit().await?);
    let stumbled = stage.logged("order", "the store does not answer");
    assert_eq!(stumbled, Vec::<String>::new(), "the store was always there");
    stage.stop(Duration::from_secs(10)).await?;
    Ok(())
}
