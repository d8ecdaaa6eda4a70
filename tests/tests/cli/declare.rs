//! Queues that are there before their services are: nobody misses what was said before it came.
use crate::{SOON, quadrille, run};
use quadrille_runtime::amqp::{Amqp, AmqpConfig};
use quadrille_runtime::broker::Broker;
use quadrille_tests::keeper::Keeper;
use quadrille_tests::process::{Process, Program, target_bin};
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Letter, OrderSpec, send};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

fn start(service: &str, amqp: &str, data: &Path) -> Process {
    let program = Program::new(target_bin(service).unwrap());
    program.env("QUADRILLE_AMQP_URL", amqp).env("QUADRILLE_DATA", data).start().unwrap()
}

#[tokio::test]
async fn what_is_declared_first_keeps_events_for_services_that_come_later() {
    let amqp = RabbitMq::shared().vhost().unwrap();
    let declared = run(&["declare", "--amqp-url", &amqp]);
    assert_eq!(declared.code, Some(0), "{declared:?}");
    for line in ["quadrille.payment  queue, dead letters in quadrille.payment.dead", "All of it"] {
        assert!(declared.out.contains(line), "{line}: {}", declared.out);
    }
    let again = run(&["declare", "--amqp-url", &amqp, "-o", "json"]);
    let all: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 4, "{again:?}");

    let kept = Keeper::new("declare").unwrap();
    let (data, order) = (kept.folder(), OrderSpec::of("TEA"));
    let stock = json!({ "sku": "TEA", "units": 5, "receipt": "delivery-1" });
    send(&amqp, &Letter::command("stock.receive.v1", &stock)).await.unwrap();
    send(&amqp, &Letter::command("order.place.v1", &order.body())).await.unwrap();

    let mut running = vec![start("order", &amqp, data)];
    let operator = Amqp::new(&AmqpConfig::new(&amqp, "operator")).unwrap();
    let until = Instant::now() + SOON;
    for queue in ["quadrille.inventory", "quadrille.payment", "quadrille.shipping"] {
        while operator.depth(queue).await.unwrap() == 0 {
            assert!(Instant::now() < until, "nothing waits in {queue}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    operator.close().await;

    running.extend(["shipping", "payment", "inventory"].map(|one| start(one, &amqp, data)));
    let stores = ["--data", data.to_str().unwrap()];
    while !run(&[&["history", &order.order], &stores[..]].concat()).out.contains("completed closed")
    {
        assert!(Instant::now() < until, "the order did not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for mut one in running {
        assert_eq!(one.terminate(SOON).unwrap().code(), Some(0), "{}", one.stderr());
    }
    let audit = run(&[&["audit", "--settled"], &stores[..]].concat());
    assert_eq!(audit.code, Some(0), "{audit:?}");
}

#[test]
fn a_broker_must_be_named_and_reached_to_be_declared_on() {
    let unnamed = run(&["declare"]);
    assert_eq!(unnamed.code, Some(64), "{unnamed:?}");
    assert!(unnamed.err.contains("--amqp-url"), "{unnamed:?}");
    let away = quadrille(&["declare", "--amqp-url", "amqp://guest:secret@127.0.0.1:9"]);
    let away = crate::said(away.start().unwrap());
    assert_eq!(away.code, Some(69), "{away:?}");
    assert!(!away.err.contains("secret"), "{away:?}");
}
