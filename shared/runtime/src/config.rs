//! The one place that reads flags and environment variables: everything a process can be told.
use crate::admit::distance;
use crate::processor::BATCH_MAX;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a process is told: flags win over `QUADRILLE_*` variables, and both over the defaults.
///
/// With nothing set, everything runs inside the process and is forgotten at its end.
#[derive(Clone, Debug)]
pub struct Config {
    /// RabbitMQ; none: the embedded broker.
    pub amqp_url: Option<Secret>,
    /// PostgreSQL; none: SQLite.
    pub postgres_url: Option<Secret>,
    /// Redis; none: a cache inside the process. Used by the read side.
    pub redis_url: Option<Secret>,
    /// Where SQLite and the embedded broker keep their files; none: in memory.
    pub data: Option<PathBuf>,
    /// Where `/livez`, `/readyz` and `/metrics` are served; none: nowhere.
    pub http: Option<SocketAddr>,
    /// Messages in one unit of work, 1 to [`BATCH_MAX`].
    pub batch_max: usize,
    /// May events of one unit of work travel in one AMQP message?
    pub bundling: bool,
    /// What is logged, as `tracing` filters have it.
    pub log: String,
    pub log_json: bool,
    /// The payment provider; none: the simulated one.
    pub payment_url: Option<String>,
    pub payment_key: Option<Secret>,
    /// The carrier; none: the simulated one.
    pub carrier_url: Option<String>,
    #[cfg(feature = "fault-points")]
    pub faults: crate::fault_points::Faults,
}

/// One thing that a process can be told.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub variable: &'static str,
    /// True if a file with the value may be named instead, by the variable with `_FILE` behind it.
    pub secret: bool,
    pub default: &'static str,
    pub meaning: &'static str,
}

/// All settings: the reference page, the check for unknown variables and the reading use this list.
pub const SETTINGS: &[Setting] = &[
    setting(
        "QUADRILLE_AMQP_URL",
        true,
        "embedded broker",
        "RabbitMQ, as amqp://user:password@host:5672/vhost",
    ),
    setting(
        "QUADRILLE_POSTGRES_URL",
        true,
        "SQLite",
        "PostgreSQL, as postgres://user:password@host:5432/database",
    ),
    setting(
        "QUADRILLE_REDIS_URL",
        true,
        "cache in the process",
        "Redis, as redis://host:6379/0; used by the read side",
    ),
    setting("QUADRILLE_DATA", false, "memory", "folder for SQLite and the embedded broker"),
    setting(
        "QUADRILLE_HTTP",
        false,
        "off",
        "address for /livez, /readyz and /metrics, as 127.0.0.1:8080",
    ),
    setting("QUADRILLE_BATCH_MAX", false, "256", "messages in one unit of work, 1 to 256"),
    setting(
        "QUADRILLE_BUNDLING",
        false,
        "off",
        "on: events of one unit of work may share an AMQP message",
    ),
    setting("QUADRILLE_LOG", false, "info", "what is logged, as in info,quadrille_runtime=debug"),
    setting("QUADRILLE_LOG_FORMAT", false, "text", "text or json"),
    setting(
        "QUADRILLE_PAYMENT_URL",
        false,
        "simulated",
        "the payment provider's API, as https://api.stripe.com",
    ),
    setting("QUADRILLE_PAYMENT_KEY", true, "none", "the secret key for it"),
    setting("QUADRILLE_CARRIER_URL", false, "simulated", "the carrier's API"),
    #[cfg(feature = "fault-points")]
    setting("QUADRILLE_FAULT", false, "none", "where this process ends, as committed:3:kill"),
];

const fn setting(
    variable: &'static str,
    secret: bool,
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting { variable, secret, default, meaning }
}

/// A setting that cannot be used. The message names it and says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{variable} is not a setting{hint}: see `quadrille settings` for all")]
    Unknown { variable: String, hint: String },
    #[error("{variable}: {why}")]
    Bad { variable: String, why: String },
    #[error("{variable} and {variable}_FILE are both set: unset one of them")]
    Twice { variable: String },
}

/// Flags that most programs share; each is a setting too.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// RabbitMQ, as amqp://user:password@host:5672/vhost [variable: QUADRILLE_AMQP_URL; default: embedded]
    #[arg(long, value_name = "URL", global = true)]
    pub amqp_url: Option<String>,
    /// PostgreSQL, as postgres://user:password@host:5432/database [variable: QUADRILLE_POSTGRES_URL; default: SQLite]
    #[arg(long, value_name = "URL", global = true)]
    pub postgres_url: Option<String>,
    /// Redis, as redis://host:6379/0 [variable: QUADRILLE_REDIS_URL; default: in the process]
    #[arg(long, value_name = "URL", global = true)]
    pub redis_url: Option<String>,
    /// Folder for SQLite and the embedded broker [variable: QUADRILLE_DATA; default: memory]
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// Address for /livez, /readyz and /metrics [variable: QUADRILLE_HTTP; default: off]
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub http: Option<SocketAddr>,
    /// What is logged if QUADRILLE_LOG does not say; none: `info`.
    #[arg(skip)]
    pub log: Option<&'static str>,
}

impl Config {
    /// Reads this process's environment, and what its flags say instead.
    pub fn read(flags: &Flags) -> Result<Self, ConfigError> {
        let vars = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        Self::from_vars(flags, vars.collect())
    }

    /// The same from given variables; those that do not begin with `QUADRILLE_` are left alone.
    pub fn from_vars(
        flags: &Flags,
        mut vars: BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        vars.retain(|name, value| name.starts_with("QUADRILLE_") && !value.is_empty());
        known(&vars)?;
        let data = flags.data.as_ref().map(|data| data.to_string_lossy().into_owned());
        let http = flags.http.as_ref().map(ToString::to_string);
        let mut given = |variable: &str, flag: &Option<String>| {
            if let Some(flag) = flag {
                vars.remove(&format!("{variable}_FILE"));
                vars.insert(variable.to_owned(), flag.clone());
            }
        };
        given("QUADRILLE_AMQP_URL", &flags.amqp_url);
        given("QUADRILLE_POSTGRES_URL", &flags.postgres_url);
        given("QUADRILLE_REDIS_URL", &flags.redis_url);
        given("QUADRILLE_DATA", &data);
        given("QUADRILLE_HTTP", &http);
        let plain = |variable: &str| vars.get(variable).cloned();
        Ok(Self {
            amqp_url: url(&vars, "QUADRILLE_AMQP_URL", &["amqp"])?,
            postgres_url: url(&vars, "QUADRILLE_POSTGRES_URL", &["postgres", "postgresql"])?,
            redis_url: url(&vars, "QUADRILLE_REDIS_URL", &["redis"])?,
            data: plain("QUADRILLE_DATA").map(PathBuf::from),
            http: parsed(&vars, "QUADRILLE_HTTP", "must be an address such as 127.0.0.1:8080")?,
            batch_max: batch_max(&vars)?,
            bundling: word(&vars, "QUADRILLE_BUNDLING", ["off", "on"])? == 1,
            log: plain("QUADRILLE_LOG").unwrap_or_else(|| flags.log.unwrap_or("info").to_owned()),
            log_json: word(&vars, "QUADRILLE_LOG_FORMAT", ["text", "json"])? == 1,
            payment_url: plain("QUADRILLE_PAYMENT_URL"),
            payment_key: secret(&vars, "QUADRILLE_PAYMENT_KEY")?,
            carrier_url: plain("QUADRILLE_CARRIER_URL"),
            #[cfg(feature = "fault-points")]
            faults: faults(&vars)?,
        })
    }
}

fn known(vars: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for variable in vars.keys() {
        let plain = variable.strip_suffix("_FILE").unwrap_or(variable);
        let found = SETTINGS.iter().find(|s| s.variable == plain);
        if found.is_some_and(|s| s.secret || plain == variable) {
            continue;
        }
        let near = SETTINGS.iter().map(|s| (distance(s.variable, plain), s.variable)).min();
        let hint = near.filter(|(distance, _)| *distance <= 4);
        let hint = hint.map_or(String::new(), |(_, near)| format!(" (did you mean {near}?)"));
        return Err(ConfigError::Unknown { variable: variable.clone(), hint });
    }
    Ok(())
}

fn secret(vars: &BTreeMap<String, String>, variable: &str) -> Result<Option<Secret>, ConfigError> {
    let bad = |why: String| ConfigError::Bad { variable: variable.to_owned(), why };
    let text = match (vars.get(variable), vars.get(&format!("{variable}_FILE"))) {
        (Some(_), Some(_)) => return Err(ConfigError::Twice { variable: variable.to_owned() }),
        (Some(text), None) => text.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|e| bad(format!("the file {file} cannot be read ({e})")))?,
        (None, None) => return Ok(None),
    };
    Secret::new(&text).map(Some).map_err(|e| bad(e.to_string()))
}

fn url(
    vars: &BTreeMap<String, String>,
    variable: &str,
    schemes: &[&str],
) -> Result<Option<Secret>, ConfigError> {
    let Some(url) = secret(vars, variable)? else { return Ok(None) };
    let scheme = url.expose().split_once("://").map_or("", |(scheme, _)| scheme);
    if schemes.contains(&scheme) {
        return Ok(Some(url));
    }
    let why = format!("must begin with {}://", schemes.join(":// or "));
    Err(ConfigError::Bad { variable: variable.to_owned(), why })
}

fn parsed<T: std::str::FromStr>(
    vars: &BTreeMap<String, String>,
    variable: &str,
    rule: &str,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = vars.get(variable) else { return Ok(None) };
    let bad = |_| ConfigError::Bad {
        variable: variable.to_owned(),
        why: format!("{rule}, not {text:?}"),
    };
    text.parse().map(Some).map_err(bad)
}

#[cfg(feature = "fault-points")]
fn faults(vars: &BTreeMap<String, String>) -> Result<crate::fault_points::Faults, ConfigError> {
    let variable = "QUADRILLE_FAULT";
    let text = vars.get(variable).map(String::as_str);
    let bad = |why| ConfigError::Bad { variable: variable.to_owned(), why };
    crate::fault_points::Faults::read(text).map_err(bad)
}

fn batch_max(vars: &BTreeMap<String, String>) -> Result<usize, ConfigError> {
    let rule = "must be a number from 1 to 256";
    match parsed::<usize>(vars, "QUADRILLE_BATCH_MAX", rule)? {
        None => Ok(BATCH_MAX),
        Some(n) if (1..=BATCH_MAX).contains(&n) => Ok(n),
        Some(n) => Err(ConfigError::Bad {
            variable: "QUADRILLE_BATCH_MAX".to_owned(),
            why: format!("{rule}, not {n}"),
        }),
    }
}

/// One of two words; the first is the default.
fn word(
    vars: &BTreeMap<String, String>,
    variable: &str,
    words: [&str; 2],
) -> Result<usize, ConfigError> {
    let Some(text) = vars.get(variable) else { return Ok(0) };
    words.iter().position(|word| word == text).ok_or_else(|| ConfigError::Bad {
        variable: variable.to_owned(),
        why: format!("must be {} or {}, not {text:?}", words[0], words[1]),
    })
}
