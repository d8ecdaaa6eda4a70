//! Properties that mean something to the broker, and that anybody may write.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use quadrille_tests::stage::{Kind, Letter, OrderSpec, SOON, Stage};
use tokio::time::sleep;

use super::{Operator, ctl};
use crate::finish;

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_user_never_gets_past_the_broker() {
    forged_user().await.unwrap();
}

async fn forged_user() -> Result<()> {
    let stage = Stage::start(Kind::AmqpSqlite).await?;
    let operator = Operator::of(&stage).await?;
    operator.channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (order, properties) = (OrderSpec::of("TEA"), BasicProperties::default());
    let (exchange, key) = ("quadrille.commands".into(), "order.place.v1".into());
    let body = order.body().to_string();
    let sent = operator.channel.basic_publish(
        exchange,
        key,
        BasicPublishOptions::default(),
        body.as_bytes(),
        properties.with_user_id("somebody-else".into()),
    );
    let refused = match sent.await {
        Ok(confirm) => confirm.await.map(drop),
        Err(error) => Err(error),
    };
    let error = refused.err().context("the broker took a forged user")?;
    ensure!(error.to_string().contains("user_id"), "{error}");
    ensure!(stage.state("order", &order.order).await?.is_none());
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_time_is_over_lies_with_the_dead_letters_and_has_no_effect() {
    expired().await.unwrap();
}

async fn expired() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100).await?;
    stage.kill("order")?;
    let operator = Operator::of(&stage).await?;
    let order = OrderSpec::of("TEA");
    let (exchange, key) = ("quadrille.commands".into(), "order.place.v1".into());
    let properties = BasicProperties::default().with_expiration("200".into());
    let (options, body) = (BasicPublishOptions::default(), order.body().to_string());
    operator.channel.basic_publish(exchange, key, options, body.as_bytes(), properties).await?;
    sleep(Duration::from_millis(500)).await;
    stage.revive("order")?;
    stage.probe(SOON).await?;
    let until = Instant::now() + SOON;
    loop {
        let told = ctl(&stage, "list_queues", &["--no-table-headers", "name", "messages"]).await?;
        if told.lines().any(|line| line == "quadrille.order.dead\t1") {
            break;
        }
        ensure!(Instant::now() < until, "{told}");
        sleep(Duration::from_millis(500)).await;
    }
    ensure!(stage.state("order", &order.order).await?.is_none());
    stage.wait_for_the_end(&[], SOON).await?;
    stage.audit().await?;
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_history_of_deaths_and_the_longest_routing_key_change_nothing() {
    forged_deaths().await.unwrap();
}

async fn forged_deaths() -> Result<()> {
    let stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100).await?;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut death = FieldTable::default();
    death.insert("count".into(), AMQPValue::LongLongInt(i64::MAX));
    death.insert("queue".into(), text("quadrille.order"));
    death.insert("exchange".into(), text("quadrille.order.dead"));
    death.insert("reason".into(), text("expired"));
    let mut headers = FieldTable::default();
    let deaths = FieldArray::from(vec![AMQPValue::FieldTable(death)]);
    headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
    headers.insert("x-first-death-queue".into(), text("quadrille.order"));
    headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(1_000));
    let order = OrderSpec::of("TEA");
    let letter = Letter::command("order.place.v1", &order.body());
    stage.publish(Letter { table: Some(headers), ..letter }).await?;
    stage.order_was_placed(&order.order);
    stage.wait_for(&order.order, "\"Completed\"", SOON).await?;
    // 255 bytes are the most that this wire can carry; nobody is bound for them.
    let operator = Operator::of(&stage).await?;
    operator.channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, key) = ("quadrille.commands".into(), "k".repeat(255).as_str().into());
    let sent =
        operator.channel.basic_publish(exchange, key, options, b"{}", BasicProperties::default());
    let returned = sent.await?.await?.take_message();
    ensure!(returned.is_some(), "somebody took it");
    stage.wait_for_the_end(&[], SOON).await?;
    stage.audit().await?;
    finish(stage).await
}
