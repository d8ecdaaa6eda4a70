//! A header that ends any plain consumer of lapin: tables within tables, read by recursion.
//!
//! Debug builds need far more stack for each level than a program can be given, so they are tried
//! with 7 KB of it and release builds with the deepest that a frame of 128 KiB can hold.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use quadrille_runtime::amqp::stack::{STACK_MIN_BYTES, STACK_VARIABLE};
use quadrille_tests::process::{Program, is_release};
use quadrille_tests::stage::{Kind, Letter, OrderSpec, SOON, Stage, send};

/// Set for the copy of this test binary that sends: the URL, the kind of nesting and its depth. It
/// needs as much stack as whoever reads it.
const BOMBER: &str = "BOMBER";

/// Seven kilobytes of nested tables: enough for the 2 MiB of stack that threads have by default.
const SMALL: (&str, usize) = ("tables", 1_000);

/// The deepest that a frame can hold, in both ways to nest.
const LARGEST: [(&str, usize); 2] = [("tables", 18_600), ("arrays", 26_000)];

#[tokio::test(flavor = "multi_thread")]
async fn seven_kilobytes_of_nested_headers_are_parked_and_every_process_lives() {
    if let Ok(told) = std::env::var(BOMBER) {
        return throw(&told).await.unwrap();
    }
    suffer(&[SMALL]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_header_that_fits_a_frame_is_parked_and_every_process_lives() {
    if !is_release().unwrap() {
        println!("SKIPPED: a debug build has not the stack for it; run `tests/run`");
        return;
    }
    suffer(&LARGEST).await.unwrap();
}

async fn suffer(bombs: &[(&str, usize)]) -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpPostgres { replicas: 2 }).await?;
    stage.receive_stock("TEA", 1_000).await?;
    for (n, (kind, levels)) in (1..).zip(bombs) {
        let told = format!("{} {kind} {levels}", stage.amqp_url().context("no URL")?);
        let mut bomber = Program::new(std::env::current_exe()?)
            .env(BOMBER, told)
            .env(STACK_VARIABLE, STACK_MIN_BYTES.to_string())
            .arg("--exact")
            .arg("bomb::seven_kilobytes_of_nested_headers_are_parked_and_every_process_lives")
            .start()?;
        let ended = bomber.wait(SOON)?;
        ensure!(ended.success(), "{kind}: {ended}: {}{}", bomber.stdout(), bomber.stderr());
        let (order, began) = (OrderSpec::of("TEA"), Instant::now());
        stage.place(&order).await?;
        stage.wait_for(&order.order, "\"Completed\"", SOON).await?;
        let row = stage.wait_for_parked("order", n).await?;
        ensure!(row.reason == "malformed_headers", "{row:?}");
        ensure!(row.detail == "header bomb nests deeper than 4", "{}", row.detail);
        ensure!(stage.logged("order", &row.id.to_string()).len() == 1);
        println!("{levels} {kind}: {}; the next order took {:?}", row.detail, began.elapsed());
        stage.all_alive()?;
    }
    stage.wait_for_the_end(&[], SOON).await?;
    stage.audit().await?;
    stage.stop(Duration::from_secs(10)).await?;
    Ok(())
}

/// In the other process: sends one order under a header like that.
async fn throw(told: &str) -> Result<()> {
    let told: Vec<_> = told.split(' ').collect();
    let (url, kind, levels) = (told[0], told[1], told[2].parse::<usize>()?);
    let nest = |inner| match kind {
        "tables" => {
            let mut table = FieldTable::default();
            table.insert("".into(), inner);
            AMQPValue::FieldTable(table)
        }
        _ => AMQPValue::FieldArray(FieldArray::from(vec![inner])),
    };
    let mut headers = FieldTable::default();
    headers.insert("bomb".into(), (0..levels).fold(AMQPValue::Void, |inner, _| nest(inner)));
    let letter = Letter::command("order.place.v1", &OrderSpec::of("TEA").body());
    let letter = Letter { table: Some(headers), ..letter };
    send(url, &letter).await
}
