//! A service of one's own, as the README shows it, joins the dance.

use anyhow::{Result, ensure};
use quadrille_runtime::sqlite::Sqlite;
use quadrille_runtime::store::Store;
use quadrille_tests::process::{Program, target_bin};
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn the_service_of_the_readme_hears_of_orders_and_ends_with_them() {
    joins().await.unwrap();
}

async fn joins() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    let data = stage.data().expect("it is a stage on files").to_owned();
    let mut loyalty = Program::new(target_bin("examples/loyalty")?)
        .env("QUADRILLE_AMQP_URL", stage.amqp_url().expect("it is a stage on RabbitMQ"))
        .env("QUADRILLE_DATA", &data)
        .env("NO_COLOR", "1")
        .start()?;
    loyalty.wait_for_line("consuming service=", SOON)?;
    stage.receive_stock("TEA", 10).await?;
    let (good, bad) = (OrderSpec::of("TEA"), OrderSpec::of("TEA").token("tok_declined"));
    stage.place(&good).await?;
    stage.place(&bad).await?;
    let points = Sqlite::open_read_only(data.join("loyalty.sqlite"))?;
    for (order, expected) in [(&good, "\"Earned\""), (&bad, "\"Lost\"")] {
        let until = Instant::now() + SOON;
        loop {
            let rows = points.entities(&order.order, "", 1).await?;
            let state = rows.first().map(|row| String::from_utf8_lossy(&row.state).into_owned());
            if state.as_deref() == Some(expected) {
                break;
            }
            ensure!(Instant::now() < until, "its points are {state:?}, not {expected}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    stage.wait_for_the_end(&[good.order, bad.order], SOON).await?;
    ensure!(loyalty.terminate(SOON)?.success(), "it did not stop as asked");
    stage.audit().await?;
    stage.stop(SOON).await?;
    Ok(())
}
