//! The environment: no setting makes the reader panic, and no error shows a secret.
use super::{Taken, damage, fuzz};
use fastrand::Rng;
use quadrille_runtime::config::{Config, Flags, SETTINGS};
use std::collections::BTreeMap;

const SECRET: &str = "canary-5f3a";

fn good(variable: &str) -> String {
    match variable {
        "QUADRILLE_AMQP_URL" => format!("amqp://user:{SECRET}@127.0.0.1:5672/%2f"),
        "QUADRILLE_POSTGRES_URL" => format!("postgres://user:{SECRET}@127.0.0.1:5432/orders"),
        "QUADRILLE_REDIS_URL" => format!("redis://:{SECRET}@127.0.0.1:6379/0"),
        "QUADRILLE_PAYMENT_KEY" => SECRET.to_owned(),
        "QUADRILLE_PAYMENT_URL" | "QUADRILLE_CARRIER_URL" => "https://example.com/v1".to_owned(),
        "QUADRILLE_HTTP" => "127.0.0.1:8080".to_owned(),
        "QUADRILLE_BATCH_MAX" => "64".to_owned(),
        "QUADRILLE_BUNDLING" => "on".to_owned(),
        "QUADRILLE_LOG_FORMAT" => "json".to_owned(),
        "QUADRILLE_LOG" => "info,quadrille_runtime=debug".to_owned(),
        _ => "data".to_owned(),
    }
}

/// Damage around the secret, never in it: otherwise nobody could tell whether it is shown.
fn spoiled(rng: &mut Rng, good: &str) -> String {
    match good.split_once(SECRET) {
        Some((before, after)) => {
            format!("{}{SECRET}{}", damage::text(rng, before), damage::text(rng, after))
        }
        None => damage::text(rng, good),
    }
}

#[test]
fn a_setting_is_taken_or_refused_by_name_and_no_secret_is_shown() {
    fuzz("a_setting_is_taken", |rng| {
        let mut vars = BTreeMap::new();
        for _ in 0..rng.usize(1..=3) {
            let variable = SETTINGS[rng.usize(0..SETTINGS.len())].variable;
            let value = good(variable);
            let value = if rng.bool() { value } else { spoiled(rng, &value) };
            let name = if rng.u8(0..8) > 0 {
                variable.to_owned()
            } else {
                format!("QUADRILLE_{}", damage::text(rng, variable))
            };
            vars.insert(name, value);
        }
        match Config::from_vars(&Flags::default(), vars.clone()) {
            Ok(config) => {
                assert!(!format!("{config:?}").contains(SECRET), "shown");
                Taken(true)
            }
            Err(error) => {
                let said = error.to_string();
                assert!(!said.contains(SECRET), "{said}");
                assert!(vars.keys().any(|name| said.contains(name.as_str())), "{said}: of whom?");
                Taken(false)
            }
        }
    });
}
