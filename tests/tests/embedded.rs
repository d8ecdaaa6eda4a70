//! The whole choreography in one process, with nothing installed.
use quadrille::everyone::{Everyone, open_stores};
use quadrille_runtime::config::{Config, Flags};
use quadrille_runtime::message::Raw;
use quadrille_runtime::platform::Platform;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn an_order_of_goods_that_are_there_is_completed() {
    let config = Config::from_vars(&Flags::default(), BTreeMap::new()).unwrap();
    let platform = Arc::new(Platform::open(config, "test").await.unwrap());
    let stores = open_stores(&platform).await.unwrap();
    let stop = CancellationToken::new();
    let everyone = Everyone::start(&platform, &stores, &stop).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let send = async |key: &str, body: serde_json::Value| {
        let raw = Raw { body: body.to_string().into(), ..Raw::default() };
        let local = platform.local().unwrap();
        local.publish_raw("quadrille.commands", key, raw).await.unwrap();
    };
    send("stock.receive.v1", json!({"sku": "TEA", "units": 5, "receipt": "r-1"})).await;
    let order = "0190a5c3-4d5e-7f60-8a9b-c0d1e2f30415";
    let place = json!({
        "order": order, "customer": "c-1", "payment_token": "tok_visa",
        "lines": {"TEA": {"units": 2, "price_minor": 100}},
        "total": {"minor": 200, "currency": "EUR"},
        "ship_to": {"name": "A", "street": "S", "postcode": "1", "city": "B", "country": "DE"},
    });
    let began = Instant::now();
    send("order.place.v1", place).await;
    loop {
        let rows = stores["order"].history(&[order.to_owned()]).await.unwrap();
        let last = rows.last().map(|row| String::from_utf8_lossy(&row.state).into_owned());
        if last.as_deref() == Some("\"Completed\"") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "still {last:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("completed in {:?}", began.elapsed());
    stop.cancel();
    everyone.ended().await.unwrap();
}
