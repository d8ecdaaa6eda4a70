//! The demo: every story ends as told, and killed at any moment nothing is lost.
use crate::{SOON, quadrille, run};
use quadrille_runtime::sqlite::Sqlite;
use quadrille_runtime::store::Store;
use quadrille_tests::keeper::Keeper;
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn seven_orders_end_as_told_and_the_audit_finds_nothing() {
    let said = run(&["demo"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("All 7 orders ended as told"), "{}", said.out);
    assert!(!said.out.contains("WRONG"), "{}", said.out);
    for outcome in [
        "ships           | completed | issued   | captured | initiated",
        "declined        | cancelled | released | declined | aborted",
        "out of stock    | cancelled | rejected | voided   | aborted",
        "carrier refuses | cancelled | released | refunded | failed",
        "cancel too late | completed | issued   | captured | initiated",
        "cancel in time  | cancelled | released | voided   | aborted",
        "deadline        | cancelled | released | voided   | aborted",
    ] {
        assert!(said.out.contains(outcome), "{outcome}\n{}", said.out);
    }
    let widest = said.out.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "a line has {widest:?} columns\n{}", said.out);
}

#[test]
fn for_programs_a_demo_is_one_json_document() {
    let said = run(&["demo", "-o", "json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let answer: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let stories = answer["stories"].as_array().unwrap();
    assert_eq!(stories.len(), 7);
    assert!(stories.iter().all(|story| story["as_told"] == true), "{}", said.out);
    assert_eq!(answer["audit"]["violations"], serde_json::json!([]));
}

/// When to kill a demo, and what it is doing then.
const KILLS: [(&str, Duration); 9] = [
    // Opening its files.
    ("", Duration::from_millis(20)),
    ("", Duration::from_millis(90)),
    // Goods are on the shelf, orders are being placed.
    ("Stock:", Duration::ZERO),
    ("1 of 7", Duration::ZERO),
    // Finishing what was found.
    (": found", Duration::ZERO),
    ("4 of 7", Duration::ZERO),
    // Two orders wait for their provider.
    ("6 of 7", Duration::ZERO),
    ("7 of 7", Duration::from_millis(400)),
    // All is done, and perhaps not yet audited.
    ("How the orders ended", Duration::ZERO),
];

#[tokio::test]
async fn killed_at_any_moment_and_started_again_every_order_ends_once() {
    let keeper = Keeper::new("demo").unwrap();
    let data = keeper.folder().join("data");
    let data = data.to_str().unwrap();
    let mut placed = BTreeSet::new();
    for (line, after) in KILLS {
        let mut demo = quadrille(&["demo", "--data", data]).start().unwrap();
        if !line.is_empty() {
            demo.wait_for_line(line, SOON).unwrap();
        }
        tokio::time::sleep(after).await;
        demo.kill9().unwrap();
        placed.extend(seen_placed(&demo.stdout()));
    }
    assert!(placed.len() > 7, "the kills came too early to prove anything: {placed:?}");

    let last = run(&["demo", "--data", data]);
    assert_eq!(last.code, Some(0), "{last:?}");
    assert!(last.out.contains(": found"), "{}", last.out);
    placed.extend(seen_placed(&last.out));
    let store = Sqlite::open_read_only(format!("{data}/order.sqlite")).unwrap();
    let orders = store.entities("", "", 10_000).await.unwrap();
    let ended = |id: &String| {
        let row = orders.iter().find(|row| row.key == *id);
        let state = row.map(|row| String::from_utf8_lossy(&row.state).into_owned());
        matches!(state.as_deref(), Some("\"Completed\"" | "\"Cancelled\""))
    };
    let lost: Vec<_> = placed.iter().filter(|id| !ended(id)).collect();
    assert!(lost.is_empty(), "these were placed and have not ended: {lost:?}");
    assert!(orders.iter().all(|row| ended(&row.key)), "{orders:?}");

    let audit = run(&["audit", "--settled", "--data", data]);
    assert_eq!(audit.code, Some(0), "{audit:?}");
}

/// The ids of orders of which a step was drawn.
fn seen_placed(out: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut about = None;
    for line in out.lines() {
        if let Some((_, id)) = line.split_once(" order 0") {
            about = Some(format!("0{id}"));
        } else if line.contains("● placed") {
            all.extend(about.take());
        }
    }
    all
}

#[tokio::test]
async fn two_demos_cannot_share_a_folder() {
    let keeper = Keeper::new("demo").unwrap();
    let data = keeper.folder().join("data");
    let data = data.to_str().unwrap();
    let mut first = quadrille(&["demo", "--data", data]).start().unwrap();
    first.wait_for_line("1 of 7", SOON).unwrap();
    let second = run(&["demo", "--data", data]);
    assert_eq!(second.code, Some(69), "{second:?}");
    assert!(second.err.contains("another process has it open: stop that one"), "{}", second.err);
    assert_eq!(first.wait(SOON).unwrap().code(), Some(0), "the first was not disturbed");
}
