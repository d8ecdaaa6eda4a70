//! Everything in one process on real servers: what it says is true, and verbs find its data.
use crate::{SOON, quadrille, run};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use quadrille_tests::servers::{Postgres, RabbitMq};
use std::time::{Duration, Instant};

/// Publishes as any program would, and sees that a queue took it.
async fn publish(url: &str, routing_key: &str, body: &str) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let published = channel.basic_publish(
        "quadrille.commands".into(),
        routing_key.into(),
        options,
        body.as_bytes(),
        BasicProperties::default(),
    );
    let confirmed = published.await.unwrap().await.unwrap();
    assert!(matches!(confirmed, Confirmation::Ack(None)), "{confirmed:?}");
    connection.close(200, "done".into()).await.unwrap();
}

#[tokio::test]
async fn the_first_order_that_up_proposes_runs_to_its_end() {
    let amqp = RabbitMq::shared().vhost().unwrap();
    let postgres = Postgres::shared().database().unwrap();
    let mut up =
        quadrille(&["up", "--amqp-url", &amqp, "--postgres-url", &postgres]).start().unwrap();
    up.wait_for_line("Ctrl-C stops it", SOON).unwrap();
    let said = up.stderr();
    assert!(said.contains("broker   RabbitMQ\n") && said.contains("store    PostgreSQL"), "{said}");
    let proposed = |key: &str| {
        let mut lines = said.lines().skip_while(|line| *line != key);
        lines.nth(1).unwrap_or_else(|| panic!("no {key} in {said}")).to_owned()
    };
    let place = proposed("order.place.v1");
    let order = serde_json::from_str::<serde_json::Value>(&place).unwrap()["order"].clone();
    publish(&amqp, "stock.receive.v1", &proposed("stock.receive.v1")).await;
    publish(&amqp, "order.place.v1", &place).await;

    let call = ["history", order.as_str().unwrap(), "--postgres-url", &postgres];
    let until = Instant::now() + SOON;
    loop {
        let history = run(&call);
        if history.out.contains("● completed closed") {
            break;
        }
        assert!(Instant::now() < until, "{history:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stopped = up.terminate(SOON).unwrap();
    assert_eq!(stopped.code(), Some(0), "{}", up.stderr());
    let audit = run(&["audit", "--settled", "--postgres-url", &postgres]);
    assert_eq!(audit.code, Some(0), "{audit:?}");
    let parked = run(&["parked", "list", "--postgres-url", &postgres]);
    assert_eq!(parked.out, "No message is parked.\n", "{parked:?}");
}

#[test]
fn embedded_it_says_that_nothing_is_kept_and_how_to_change_that() {
    let mut up = quadrille(&["up"]).start().unwrap();
    up.wait_for_line("Ctrl-C stops it", SOON).unwrap();
    let said = up.stderr();
    for part in ["--amqp-url", "--data DIR keeps it", "quadrille demo"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(up.terminate(SOON).unwrap().code(), Some(0));
}
