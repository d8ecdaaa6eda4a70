//! No key is ever printed, and no request leaves for an address that nobody configured.
mod stand_in;

use quadrille_adapters::Base;
use quadrille_adapters::http_carrier::HttpCarrier;
use quadrille_adapters::stripe::Stripe;
use quadrille_contracts::*;
use quadrille_core::Example;
use quadrille_payment::provider::*;
use quadrille_runtime::adapter::{Call, Caller};
use quadrille_runtime::secret::Secret;
use stand_in::{DEADLINE, FAULTS, StandIn};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// Looks like a word of Stripe's, so that only striking it out keeps it from being printed.
const CANARY: &str = "sk_canary";

#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);
impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Says the key back in each place where an error might be read.
struct Echo;
impl stand_in::Books for Echo {
    fn serve(&mut self, request: &stand_in::Request) -> (u16, String) {
        let key = request.headers["authorization"].strip_prefix("Bearer ").unwrap().to_owned();
        let error = format!(r#"{{"type":"{key}","code":"{key}","message":"{key}"}}"#);
        (401, format!(r#"{{"error":{error}}}"#))
    }
}

#[tokio::test]
async fn the_key_appears_in_no_error_no_debug_and_no_log_however_talkative() {
    let logs = Logs::default();
    let to = logs.clone();
    tracing_subscriber::fmt()
        .with_env_filter("trace")
        .with_ansi(false)
        .with_writer(move || to.clone())
        .init();
    let secret = || Secret::new(CANARY).unwrap();
    let echo = StandIn::open(Echo);
    let honest = StandIn::open(stand_in::stripe::Stripe::default());
    let mut printed = String::new();
    for (url, faults) in [(&echo.url, &[][..]), (&honest.url, &FAULTS[..])] {
        let stripe = Stripe::new(Base::new(url).unwrap(), secret());
        printed += &format!("{stripe:?}");
        printed += &format!("{:?}", HttpCarrier::new(Base::new(url).unwrap(), Some(secret())));
        honest.misbehave(&faults.iter().copied().map(Some).collect::<Vec<_>>());
        for attempt in 1..=FAULTS.len() as u32 {
            let token = PaymentToken::example();
            let (order, amount) = (OrderId::example(), Money::example());
            let request = ProviderAuthorize { order, amount, token }.into();
            let (key, age) = (Uuid::new_v4(), Duration::ZERO);
            let call = Call { key, attempt, age, deadline: DEADLINE };
            if let Err(error) = stripe.call(request, &call).await {
                printed += &format!("{error} {error:?}\n");
            }
        }
    }
    assert!(printed.contains("***"), "{printed}");
    assert!(!printed.contains(CANARY), "{printed}");
    let logs = String::from_utf8(logs.0.lock().unwrap().clone()).unwrap();
    assert!(logs.contains("ureq"), "the client's own log is not part of this test any more");
    assert!(!logs.contains(CANARY), "{logs}");
    // There the client dumps what goes over the line, sixteen bytes a line of the log.
    let dumps = logs.lines().filter(|line| line.contains("ureq_proto::util")).count();
    assert_eq!(dumps, 0, "TRACE of the crate log must stay left out: see `log` in Cargo.toml");
}

#[test]
fn only_https_and_this_machine_itself_can_be_asked() {
    for good in [
        "https://api.stripe.com",
        "https://carrier.example:8443/v2/",
        "http://127.0.0.1:9000",
        "http://127.8.9.10",
        "http://[::1]:9000/api",
        "http://localhost:9000",
    ] {
        assert!(Base::new(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "api.stripe.com",
        "http://api.stripe.com",
        "http://10.0.0.1",
        "http://0.0.0.0:80",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "https://user:s3cret@example.com",
        "https://example.com/?key=s3cret",
        "https://example.com/#s3cret",
        "https://example.com/a/../b",
        "ftp://127.0.0.1",
        "file:///s3cret",
        "/s3cret",
    ] {
        let error = Base::new(bad).expect_err(bad).to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
