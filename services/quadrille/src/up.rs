//! `quadrille up`: all services in one process, until Ctrl-C.
use crate::everyone::{self, Everyone, SERVICES, open_stores};
use crate::screen::note;
use quadrille_contracts::{OrderId, OrderPlace, StockReceive};
use quadrille_core::Event;
use quadrille_runtime::clock::{Clock, SystemClock};
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::{Failed, serve_probes, stop_on_signal};
use quadrille_runtime::platform::Platform;
use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often to look whether all services are ready.
const LOOK: Duration = Duration::from_millis(10);

/// After so long it is said what is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs until a signal, on whatever the settings name.
pub async fn up(config: Config) -> Result<(), Failed> {
    let stop = stop_on_signal();
    let platform = Arc::new(Platform::open(config, "quadrille").await?);
    let stores = open_stores(&platform).await?;
    serve_probes(&platform, &stop);
    let mut ended = pin!(Everyone::start(&platform, &stores, &stop)?.ended());
    let early = tokio::select! {
        biased;
        ended = &mut ended => Some(ended),
        () = ready(&platform) => None,
    };
    let ended = match early {
        Some(ended) => ended,
        None => {
            note(described(platform.config()));
            ended.await
        }
    };
    platform.close().await;
    everyone::close(&stores).await;
    ended
}

/// Waits for as long as it takes, as the services do.
async fn ready(platform: &Platform) {
    let mut say_at = Some(Instant::now() + PATIENCE);
    loop {
        let all = platform.readiness();
        if all.len() == SERVICES.len() && all.iter().all(|one| one.ready) {
            return;
        }
        if say_at.is_some_and(|at| Instant::now() >= at) {
            let because = all.iter().find_map(|one| one.because.first()).map_or("", |why| why);
            note(format_args!("still waiting: {because}"));
            say_at = None;
        }
        SystemClock.sleep(LOOK).await;
    }
}

/// What runs where, and how to send the first order.
fn described(config: &Config) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("a String takes all");
    line("\norder, inventory, payment and shipping are up.");
    line(match config.amqp_url {
        Some(_) => "  broker   RabbitMQ",
        None => "  broker   embedded: reached by this process only; --amqp-url names a RabbitMQ",
    });
    line(&match (&config.postgres_url, &config.data) {
        (Some(_), _) => "  store    PostgreSQL, a schema for each service".to_owned(),
        (None, Some(data)) => format!("  store    SQLite, in the folder {}", data.display()),
        (None, None) => {
            "  store    SQLite in memory, gone at the end; --data DIR keeps it".to_owned()
        }
    });
    let outside = |url: &Option<String>, variable| match url {
        Some(url) => url.clone(),
        None => format!("simulated; {variable} names a real one"),
    };
    line(&format!("  payment  {}", outside(&config.payment_url, "QUADRILLE_PAYMENT_URL")));
    line(&format!("  carrier  {}", outside(&config.carrier_url, "QUADRILLE_CARRIER_URL")));
    line(&match config.http {
        Some(http) => format!("  probes   http://{http}/readyz, /livez and /metrics"),
        None => "  probes   off; --http 127.0.0.1:8080 serves them".to_owned(),
    });
    line(&first_order(config));
    line("Ctrl-C stops it.");
    text
}

fn first_order(config: &Config) -> String {
    if config.amqp_url.is_none() {
        return "\nNothing outside can send orders to an embedded broker: name a RabbitMQ\n\
                with --amqp-url, or let `quadrille demo` play some."
            .to_owned();
    }
    let order = OrderId(Uuid::now_v7());
    let place = OrderPlace { order, decide_within_ms: None, ..OrderPlace::example() };
    let json = |body: Result<String, _>| body.expect("messages are plain data");
    let stock = json(serde_json::to_string(&StockReceive::example()));
    let place = json(serde_json::to_string(&place));
    let stores = match (&config.postgres_url, &config.data) {
        (Some(_), _) => "--postgres-url URL".to_owned(),
        (None, Some(data)) => format!("--data {}", data.display()),
        (None, None) => "--data DIR (once there is one)".to_owned(),
    };
    format!(
        "\nThe first order, in any language: publish to the exchange quadrille.commands\n\
         with these routing keys and bodies (tests/clients: senders for Python, Node).\n\n\
         stock.receive.v1\n{stock}\n\norder.place.v1\n{place}\n\n\
         Then: quadrille history {order} {stores}"
    )
}
