//! Private real servers for tests: RabbitMQ, PostgreSQL and Redis as child processes.
//!
//! Each has ports of its own on 127.0.0.1 and a temporary folder of its own, needs no
//! configuration, leaves nothing behind (see [`crate::keeper`]) and works as root and as anybody
//! else. `start` makes one for a single test, to be struck by faults; `shared` gives the one of
//! the test binary, in which every test takes a virtual host or a database for itself. Under a
//! runner that gives each test its own process, such as nextest, `shared` starts one for each.
//!
//! The calls block their thread, for seconds when they start something; a test may do that.
//!
//! ```no_run
//! use quadrille_harness::servers::{Postgres, RabbitMq};
//!
//! let broker = RabbitMq::shared().vhost()?; // amqp://guest:guest@127.0.0.1:21807/test-1
//! let store = Postgres::shared().database()?; // postgres://quadrille@127.0.0.1:21810/test_1
//! # anyhow::Ok(())
//! ```

mod cluster;
mod port;
mod postgres;
mod rabbitmq;
mod redis;
mod server;

pub use cluster::Cluster;
pub use postgres::{Postgres, Stop};
pub use rabbitmq::RabbitMq;
pub use redis::Redis;
