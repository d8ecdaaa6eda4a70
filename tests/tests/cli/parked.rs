//! Parked messages, from the wrong message to the decision, with the real programs on RabbitMQ.
use crate::{Said, run};
use anyhow::Result;
use quadrille_tests::stage::{Kind, Letter, OrderSpec, SOON, Stage, order_id};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A stage with a message that shipping could not use: a delivery of what was never sent.
struct Setting {
    stage: Stage,
    order: String,
    data: String,
}

impl Setting {
    async fn new() -> Result<Setting> {
        let stage = Stage::start(Kind::AmqpSqlite).await?;
        let data = stage.data().unwrap().to_str().unwrap().to_owned();
        Ok(Setting { stage, order: order_id(), data })
    }

    async fn confirm_delivery(&self) -> Result<()> {
        let body = json!({"order": self.order});
        self.stage.publish(Letter::command("shipment.confirm_delivery.v1", &body)).await
    }

    /// Waits until so many messages of a service are parked.
    async fn parked(&self, service: &str, count: usize) -> Result<()> {
        let until = Instant::now() + SOON;
        while self.stage.parked(service).await?.len() != count {
            assert!(Instant::now() < until, "{service} has not parked {count}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn parked_verb(&self, arguments: &[&str]) -> Said {
        let all = [&["parked"], arguments, &["--data", self.data.as_str()]].concat();
        run(&all)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.parked_verb(&[arguments, &["-o", "json"]].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }
}

#[tokio::test]
async fn a_wrong_message_is_listed_with_its_reason_and_field_and_shown_whole() -> Result<()> {
    let setting = Setting::new().await?;
    let wrong = json!({"sku": "TEA", "units": 0, "receipt": "r-1"});
    setting.stage.publish(Letter::command("stock.receive.v1", &wrong)).await?;
    setting.parked("inventory", 1).await?;

    let list = setting.parked_verb(&["list"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    for part in ["inventory  malformed_body", "stock.receive", "/units: ", "1 message."] {
        assert!(list.out.contains(part), "{part}: {}", list.out);
    }
    assert_eq!(setting.json(&["list", "--service", "order"]), json!([]));
    assert_eq!(setting.json(&["list", "--reason", "rejected"]), json!([]));
    assert_eq!(setting.json(&["list", "--name", "stock.receive"]).as_array().unwrap().len(), 1);

    let id = setting.json(&["list"])[0]["id"].as_str().unwrap().to_owned();
    let shown = setting.parked_verb(&["show", &id]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for part in ["stock.receive.v1", "quadrille.commands", "\"units\": 0"] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    // Wrong as it is, it fails again: that is another parked message.
    assert_eq!(setting.parked_verb(&["redrive", &id, "--yes"]).code, Some(0));
    let until = Instant::now() + SOON;
    while setting.json(&["show", &id])["message"]["status"] != "redriven" {
        assert!(Instant::now() < until, "it was not tried again");
    }
    setting.parked("inventory", 1).await?;
    let dropped = setting.parked_verb(&["drop", "--all", "--yes", "--by", "kim", "--why", "ours"]);
    assert_eq!(dropped.code, Some(0), "{dropped:?}");
    setting.parked("inventory", 0).await?;
    let again = setting.json(&["list", "--status", "dropped"])[0]["id"].clone();
    assert_ne!(again, id.as_str());
    let decisions = setting.json(&["show", again.as_str().unwrap()])["decisions"].clone();
    let decided = [&decisions[0]["status"], &decisions[0]["by"], &decisions[0]["why"]];
    assert_eq!(decided, ["dropped", "kim", "ours"]);
    Ok(())
}

#[tokio::test]
async fn what_a_stranger_wrote_cannot_move_the_cursor() -> Result<()> {
    let setting = Setting::new().await?;
    let wrong = Letter::bytes("stock.receive.v1", "\u{1b}[2J\u{7}{")
        .with(|raw| raw.kind = Some("stock.receive\u{1b}[1m".to_owned()));
    setting.stage.publish(wrong).await?;
    setting.parked("inventory", 1).await?;
    let id = setting.json(&["list"])[0]["id"].as_str().unwrap().to_owned();
    for verb in [&["list"][..], &["show", &id], &["drop", &id]] {
        let said = setting.parked_verb(verb);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(!said.out.contains(['\u{1b}', '\u{7}']), "{:?}", said.out);
    }
    Ok(())
}

#[tokio::test]
async fn a_redriven_message_runs_to_its_end() -> Result<()> {
    let setting = Setting::new().await?;
    setting.confirm_delivery().await?;
    setting.parked("shipping", 1).await?;
    setting.stage.receive_stock("TEA", 5).await?;
    let order = OrderSpec { order: setting.order.clone(), ..OrderSpec::of("TEA") };
    setting.stage.place(&order).await?;
    setting.stage.wait_for(&order.order, "\"Completed\"", SOON).await?;

    let dry = setting.parked_verb(&["redrive", "--reason", "rejected"]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.out.contains("Nothing was changed: --yes does it."), "{}", dry.out);
    assert_eq!(setting.stage.parked("shipping").await?.len(), 1, "a dry run changes nothing");

    let why = ["--why", "the parcel is out", "--by", "kim"];
    let done =
        setting.parked_verb(&[&["redrive", "--reason", "rejected", "-y"], &why[..]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    let until = Instant::now() + SOON;
    loop {
        let state = setting.stage.state("shipping", &order.order).await?.unwrap_or_default();
        if state.contains("Delivered") {
            break;
        }
        assert!(Instant::now() < until, "still {state}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let redriven = setting.json(&["list", "--status", "redriven"]);
    let id = redriven[0]["id"].as_str().unwrap();
    let shown = setting.parked_verb(&["show", id]);
    assert!(shown.out.contains("redriving by kim: the parcel is out"), "{}", shown.out);

    let again = setting.parked_verb(&["redrive", id, "--yes"]);
    assert_eq!(again.code, Some(1), "it was tried: {again:?}");
    Ok(())
}
