//! `quadrille proxy`: stands between the services and a broker or a database, and does harm.
use crate::screen::{note, say};
use clap::{Args, ValueEnum};
use quadrille_proxy::{Protocol, Proxy, Rule};
use quadrille_runtime::entry::{Failed, stop_on_signal};
use std::net::SocketAddr;

/// What `quadrille proxy` was told.
#[derive(Debug, Args)]
pub struct Options {
    /// Where clients connect to, on loopback; port 0 for any
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The broker or database, on loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5672")]
    upstream: SocketAddr,
    /// amqp, postgres, or bytes for anything else
    #[arg(long, value_name = "NAME", default_value = "amqp", hide_possible_values = true)]
    protocol: Spoken,
    /// What to do, such as cut:publish:5; may be repeated
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Spoken {
    Amqp,
    Postgres,
    Bytes,
}

/// Runs until a signal, then says what went through.
///
/// # Errors
/// If it cannot listen, or an address is not on loopback.
pub async fn proxy(options: Options) -> Result<(), Failed> {
    let Options { listen, upstream, protocol, rules } = options;
    let protocol = match protocol {
        Spoken::Amqp => Protocol::Amqp,
        Spoken::Postgres => Protocol::Postgres,
        Spoken::Bytes => Protocol::Bytes,
    };
    let stop = stop_on_signal();
    let proxy = Proxy::start(listen, upstream, protocol).await.map_err(Failed::unavailable)?;
    proxy.set(&rules);
    let address = proxy.address();
    note(format_args!("{address} leads to {upstream}; Ctrl-C stops it"));
    stop.cancelled().await;
    say(format_args!("{}\n", proxy.counts()))
}
