//! A TCP proxy on loopback that knows frames, and does harm exactly between them, or within one.
//!
//! It stands between a client and a broker or a database, and does what its rules say: it cuts
//! after the fifth publish, swallows confirms, stops reading. Rules are changed while it runs.
//!
//! Messages are never repeated or invented: that would be no AMQP any more.
//!
//! ```no_run
//! use quadrille_proxy::{Protocol, Proxy};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let proxy = Proxy::start("127.0.0.1:0".parse()?, "127.0.0.1:5672".parse()?, Protocol::Amqp);
//! let proxy = proxy.await?;
//! println!("connect to {}", proxy.address());
//! proxy.set(&["cut:publish:5".parse()?, "delay:20ms".parse()?]);
//! # Ok(()) }
//! ```
mod connection;
mod frames;
mod laws;
mod rule;

pub use laws::Counts;
pub use rule::{BadRule, End, Place, Rule, Side};

use laws::Laws;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How long to wait after a connection could not be accepted, as when there are too many files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What is spoken between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AMQP 0-9-1: whole frames are passed on.
    Amqp,
    /// PostgreSQL: the server's messages are known, what the client says is passed on as it comes.
    Postgres,
    /// Anything: rules about messages never apply.
    Bytes,
}

/// Why a proxy cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("listening on {address}: {source}; choose another address, or port 0 for any")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{address} is not on loopback: a proxy that does harm stays on 127.0.0.1")]
    NotLoopback { address: SocketAddr },
}

/// A running proxy. Dropping it ends all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What all connections look at.
#[derive(Debug)]
struct Shared {
    /// Where the next client is connected to.
    upstream: Mutex<SocketAddr>,
    protocol: Protocol,
    laws: Mutex<Laws>,
    /// Told when rules are changed.
    changed: watch::Sender<()>,
    /// The last blow against all connections at once.
    strike: watch::Sender<End>,
}

impl Shared {
    fn upstream(&self) -> MutexGuard<'_, SocketAddr> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn laws(&self) -> MutexGuard<'_, Laws> {
        self.laws.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Listens, and connects each client to `upstream`. Without rules everything passes.
    ///
    /// # Errors
    /// If one of the addresses is not on loopback, or the first cannot be listened on.
    pub async fn start(
        listen: SocketAddr,
        upstream: SocketAddr,
        protocol: Protocol,
    ) -> Result<Self, ProxyError> {
        for address in [listen, upstream] {
            if !address.ip().is_loopback() {
                return Err(ProxyError::NotLoopback { address });
            }
        }
        let failed = |source| ProxyError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (changed, strike) = (watch::Sender::new(()), watch::Sender::new(End::Cut));
        let (upstream, laws) = (Mutex::new(upstream), Mutex::default());
        let shared = Arc::new(Shared { upstream, protocol, laws, changed, strike });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects whoever comes from now on to another server, as an address does that moves to a
    /// promoted standby. Connections that are open stay where they are.
    ///
    /// # Errors
    /// If that is not on loopback.
    pub fn redirect(&self, upstream: SocketAddr) -> Result<(), ProxyError> {
        if !upstream.ip().is_loopback() {
            return Err(ProxyError::NotLoopback { address: upstream });
        }
        *self.shared.upstream() = upstream;
        Ok(())
    }

    /// These rules from now on, and no others; what they count begins at zero.
    pub fn set(&self, rules: &[Rule]) {
        self.shared.laws().set(rules);
        self.shared.changed.send_replace(());
    }

    /// No rules any more. What was halted stays so, as a connection does whose packets were lost.
    pub fn clear(&self) {
        self.set(&[]);
    }

    /// Ends all connections that there are, at once.
    pub fn strike(&self, end: End) {
        self.shared.strike.send_replace(end);
    }

    /// What has gone through so far.
    pub fn counts(&self) -> Counts {
        self.shared.laws().counts()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections' tasks belong to this one, and end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! { biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(connection::serve(client, shared.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            }
        }
    }
}
