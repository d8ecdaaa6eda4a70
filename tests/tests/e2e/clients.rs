//! Upstream systems in other languages: JSON and a routing key are all that they need.

use anyhow::{Result, ensure};
use quadrille_tests::clients::Sender;
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage, expect};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_from_python_or_node_runs_to_its_end_on_sqlite() {
    good_ones(Kind::AmqpSqlite).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_from_python_or_node_runs_to_its_end_on_postgresql() {
    good_ones(Kind::AmqpPostgres { replicas: 2 }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_message_from_python_or_node_is_parked_with_its_field_counted_and_logged_once() {
    wrong_ones().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_node_are_told_when_nobody_listens() {
    let stage = Stage::start(Kind::AmqpSqlite).await.unwrap();
    for sender in Sender::ALL {
        let error = sender.send(url(&stage), "order.plaec.v1", "{}").unwrap_err();
        assert!(format!("{error:#}").contains("nobody consumes order.plaec.v1"), "{error:#}");
    }
}

fn url(stage: &Stage) -> &str {
    stage.amqp_url().expect("the stage stands on RabbitMQ")
}

async fn good_ones(kind: Kind) -> Result<()> {
    let mut stage = Stage::start(kind).await?;
    for sender in Sender::ALL {
        let sku = format!("TEA-{sender:?}");
        let goods = json!({"sku": sku, "units": 10, "receipt": "DN-1"}).to_string();
        sender.send(url(&stage), "stock.receive.v1", &goods)?;
        stage.stock_was_received(&sku, 10).await?;
        let stories = [
            (OrderSpec::of(&sku), "\"Completed\""),
            (OrderSpec::of(&sku).token("tok_declined"), "\"Cancelled\""),
        ];
        for (order, end) in stories {
            let body = order.body().to_string();
            sender.send(url(&stage), "order.place.v1", &body)?;
            // A sender that does not know whether it was heard says it again.
            sender.send(url(&stage), "order.place.v1", &body)?;
            stage.order_was_placed(&order.order);
            stage.wait_for(&order.order, end, SOON).await?;
        }
        let mut order = OrderSpec::of(&sku);
        order.city = "Nowhere";
        sender.send(url(&stage), "order.place.v1", &order.body().to_string())?;
        stage.order_was_placed(&order.order);
        stage.wait_for(&order.order, "\"Cancelled\"", SOON).await?;
        expect(&stage, "payment", &order.order, "\"Refunded\"").await?;
    }
    stage.wait_for_the_end(&[], SOON).await?;
    println!("{kind:?}: {:?}", stage.audit().await?);
    stage.all_alive()
}

async fn wrong_ones() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    for (n, sender) in (1..).zip(Sender::ALL) {
        let goods = json!({"sku": format!("TEA-{sender:?}"), "units": "three", "receipt": "DN-1"});
        sender.send(url(&stage), "stock.receive.v1", &goods.to_string())?;
        let mut order = OrderSpec::of("TEA").body();
        order["total"]["currency"] = "EURO".into();
        sender.send(url(&stage), "order.place.v1", &order.to_string())?;
        let wrong = [("inventory", "/units"), ("order", "/total/currency")];
        for (service, pointer) in wrong {
            let row = stage.wait_for_parked(service, n).await?;
            ensure!(row.reason == "malformed_body", "{row:?}");
            ensure!(row.pointer.as_deref() == Some(pointer), "{row:?}");
            let counted = stage.counted_as_parked(service, "malformed_body")?;
            ensure!(counted == n as u64, "{service} counted {counted} after {n}");
            let logged = stage.logged(service, &row.id.to_string());
            ensure!(logged.len() == 1, "logged {} times: {logged:#?}", logged.len());
            ensure!(logged[0].contains(&format!("pointer=\"{pointer}\"")), "{logged:?}");
            println!("{sender:?}: {}", logged[0]);
        }
    }
    stage.all_alive()
}
