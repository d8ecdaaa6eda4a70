//! The audit finds what was tampered with, and says where.
use crate::{SOON, quadrille, run};
use quadrille_tests::keeper::Keeper;
use quadrille_tests::process::Process;
use rusqlite::Connection;
use serde_json::json;
use std::time::{Duration, Instant};

/// Plays a demo, changes its data, and expects the audit to say so.
fn finds(service: &str, sql: &str, words: &[&str]) {
    let keeper = Keeper::new("audit").unwrap();
    let data = keeper.folder().join("data");
    let data = data.to_str().unwrap();
    let demo = run(&["demo", "--data", data]);
    assert_eq!(demo.code, Some(0), "{demo:?}");
    let file = Connection::open(format!("{data}/{service}.sqlite")).unwrap();
    file.execute_batch(sql).unwrap();
    assert!(file.total_changes() > 0, "nothing was changed");
    drop(file);

    let audit = run(&["audit", "--settled", "--data", data]);
    assert_eq!(audit.code, Some(1), "{audit:?}");
    for word in words {
        assert!(audit.out.contains(word), "{word}: {}", audit.out);
    }
    let json = run(&["audit", "--settled", "--data", data, "-o", "json"]);
    assert_eq!(json.code, Some(1), "{json:?}");
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(!json["violations"].as_array().unwrap().is_empty());
}

#[test]
fn a_row_that_was_taken_out_of_a_journal_is_missed() {
    finds(
        "inventory",
        "DELETE FROM journal WHERE cause_name = 'shipment.initiated'",
        &["WRONG", "the positions of a journal have no gap", "follows"],
    );
}

#[test]
fn goods_that_nobody_received_are_found() {
    finds(
        "inventory",
        r#"UPDATE journal SET state = CAST('{"Stock":{"available":999}}' AS BLOB)
           WHERE version = 3 AND entity LIKE 'sku:%'"#,
        &["SKU TEA-250", "20 received, 999 available"],
    );
}

#[test]
fn an_event_that_one_service_never_got_is_named() {
    finds(
        "shipping",
        "DELETE FROM inbox
             WHERE id IN (SELECT cause FROM journal WHERE cause_name = 'order.placed');
         DELETE FROM journal WHERE cause_name = 'order.placed'",
        &["order.placed never reached shipping"],
    );
}

#[test]
fn a_state_that_no_step_has_led_to_is_found() {
    finds(
        "inventory",
        r#"UPDATE entity SET state = CAST('{"Stock":{"available":999}}' AS BLOB)
           WHERE key LIKE 'sku:%'"#,
        &["WRONG", "sku:TEA-250: inventory stores version", "999"],
    );
}

#[test]
fn an_audit_that_goes_on_tells_when_something_becomes_wrong() {
    let keeper = Keeper::new("audit").unwrap();
    let data = keeper.folder().join("data");
    let data = data.to_str().unwrap();
    let too_often = run(&["audit", "--data", data, "--every", "5ms"]);
    assert_eq!(too_often.code, Some(64), "{too_often:?}");
    let nothing = run(&["audit", "--data", data, "--every", "1s"]);
    assert_eq!(nothing.code, Some(69), "{nothing:?}");

    let demo = run(&["demo", "--data", data]);
    assert_eq!(demo.code, Some(0), "{demo:?}");
    let watch = quadrille(&["audit", "--data", data, "--every", "1s", "-o", "json"]);
    let mut watch = watch.start().unwrap();
    let rounds = |watch: &Process| -> Vec<serde_json::Value> {
        watch.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let wait_for = |watch: &Process, clean: bool| {
        let until = Instant::now() + SOON;
        while rounds(watch).last().is_none_or(|last| (last["violations"] == json!([])) != clean) {
            assert!(Instant::now() < until, "{} {}", watch.stdout(), watch.stderr());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for(&watch, true);
    let file = Connection::open(format!("{data}/payment.sqlite")).unwrap();
    file.execute_batch("DELETE FROM journal WHERE cause_name = 'order.cancelled'").unwrap();
    drop(file);
    wait_for(&watch, false);
    assert_eq!(watch.terminate(SOON).unwrap().code(), Some(1), "{}", watch.stderr());
}
