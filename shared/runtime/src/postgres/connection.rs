//! Where the server is, how a session on it is set up, and the pool of sessions.
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};

use super::error::{broken, of_pool};
use super::session::Session;
use crate::store::StoreError;

/// How long to wait for a new connection: a server that is there answers within milliseconds.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait for somebody to give a connection back.
const WAIT_FOR_FREE: Duration = Duration::from_secs(5);
/// After so long without a sign of life the peer is asked, and then given up.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// The longest name of a service: PostgreSQL cuts names at 63 bytes, `quadrille_` takes ten.
const SERVICE_MAX_BYTES: usize = 53;

/// How every session is set up; these win over what the URL or the role says.
///
/// * Deadlines: a statement 5 s, a lock 2 s, an idle transaction 10 s.
/// * Generic plans and no sequential scans: a plan made while a table was empty goes on scanning it
///   as it grows (measured: 2.35 times slower), and every query here has an index.
/// * No compilation of plans: a small table without a fitting index looks infinitely dear without
///   sequential scans, and compiling its plan took 100 to 300 ms (measured).
/// * A commit is on the disk when it is answered, whatever the database's default is.
const SETTINGS: &str = "-c statement_timeout=5000 -c lock_timeout=2000 \
    -c idle_in_transaction_session_timeout=10000 \
    -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off \
    -c synchronous_commit=on";

/// Who only looks writes nothing, whatever the role may do, and a standby will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
}

/// How many connections one store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize(pub usize);

impl Default for PoolSize {
    /// Two units of work, one for timers and requests, one for people who ask.
    fn default() -> Self {
        Self(4)
    }
}

/// The pool, with a name for the server that is fit for logs.
#[derive(Clone)]
pub(super) struct Server {
    pool: Pool,
    /// Host, port and database. Never user or password.
    name: String,
}

impl Server {
    /// Reads the URL. Connects to nothing yet.
    pub(super) fn new(
        url: &str,
        service: &str,
        size: PoolSize,
        access: Access,
    ) -> Result<Self, StoreError> {
        let attempted = "reading the URL of the store";
        // Why the URL is wrong is kept to ourselves: parsers quote what they trip over,
        // and that may be the password.
        let mut config: Config = url.parse().map_err(|_| {
            broken(attempted, "not a PostgreSQL URL: write postgres://user:password@host/database")
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            let why = "no host in it: write postgres://user:password@host/database";
            return Err(broken(attempted, why));
        }
        if config.get_ssl_mode() == SslMode::Require {
            // Better no connection than one that is not what was asked for.
            let why = "TLS is not built in: use sslmode=prefer on a private network, or a tunnel";
            return Err(broken(attempted, why));
        }
        let schema = schema_of(service)?;
        let theirs = config.get_options().unwrap_or_default().to_owned();
        let (read_only, server) = match access {
            Access::Write => ("off", TargetSessionAttrs::ReadWrite),
            Access::Read => ("on", TargetSessionAttrs::Any),
        };
        config.options(format!(
            "{theirs} {SETTINGS} -c default_transaction_read_only={read_only} \
             -c search_path={schema}"
        ));
        if config.get_application_name().is_none() {
            config.application_name(&schema);
        }
        config
            .connect_timeout(CONNECT_WITHIN)
            .tcp_user_timeout(SILENCE_MAX)
            .keepalives_idle(SILENCE_MAX)
            .target_session_attrs(server);
        let name = name_of(&config);
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, manager))
            .max_size(size.0.max(1))
            .timeouts(Timeouts {
                wait: Some(WAIT_FOR_FREE),
                create: Some(CONNECT_WITHIN),
                recycle: Some(CONNECT_WITHIN),
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| broken("building the pool of connections", error.to_string()))?;
        Ok(Self { pool, name })
    }

    /// A connection that was alive when last looked at; dead ones are thrown away here.
    pub(super) async fn session(&self) -> Result<Session, StoreError> {
        let client = self.pool.get().await;
        let client = client.map_err(|error| {
            of_pool(&format!("connecting to PostgreSQL at {}", self.name), &error)
        })?;
        Ok(Session::new(client))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// The schema of a service. Its name goes into the settings as it is, hence the narrow alphabet.
fn schema_of(service: &str) -> Result<String, StoreError> {
    let letters = service.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if service.is_empty() || service.len() > SERVICE_MAX_BYTES || !letters {
        return Err(broken(
            "naming the schema of the service",
            format!("a service is named with up to {SERVICE_MAX_BYTES} of a-z, 0-9 and _"),
        ));
    }
    Ok(format!("quadrille_{service}"))
}

fn name_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    let port = config.get_ports().first().unwrap_or(&5432);
    let database = config.get_dbname().or(config.get_user()).unwrap_or("?");
    format!("{host}:{port}/{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_error_about_the_url() {
        for url in ["postgre://u:hunter2@h/d", "u:hunter2@h=1", "postgres://u:hunter2@h:port/d"] {
            let Err(error) = Server::new(url, "order", PoolSize(1), Access::Write) else {
                panic!("{url} passed")
            };
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_connection_that_must_be_secret_is_refused_and_not_made_in_the_open() {
        let url = "postgres://u@h/d?sslmode=require";
        let Err(error) = Server::new(url, "order", PoolSize(1), Access::Write) else {
            panic!("it passed")
        };
        assert!(error.to_string().contains("TLS is not built in"), "{error}");
    }

    #[test]
    fn a_server_is_named_without_its_user_and_password() {
        let server = Server::new("postgres://u:hunter2@h:6/d", "order", PoolSize(1), Access::Write);
        assert_eq!(server.map(|s| s.name).ok().as_deref(), Some("h:6/d"));
    }

    #[test]
    fn a_service_that_would_need_quoting_is_refused() {
        for service in ["", "a-b", "A", "a b", "a;drop", &"x".repeat(54)] {
            assert!(schema_of(service).is_err(), "{service}");
        }
    }
}
