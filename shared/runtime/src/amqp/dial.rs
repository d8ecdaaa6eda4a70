//! A connection that is there within a deadline, or leaves nothing behind.
//!
//! lapin has no deadline for the handshake. A peer that accepts and says nothing would hold one
//! thread for each try for ever: giving up the future does not end the thread, only the end of its
//! socket does. So we keep a duplicate of the socket and shut it down, at the deadline and whenever
//! we have had enough.
use super::fault::{DIAL_MS, Failed, within};
use lapin::tcp::AsyncTcpStream;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often we hear from each other: a frozen broker is found after twice this time, and so are we
/// by the broker, which has our deliveries until then. With 10 s both together took 27 s.
const HEARTBEAT_SECONDS: u16 = 8;

/// Our hand on the socket of a connection. Dropping it ends the connection.
#[derive(Debug)]
pub(super) struct Socket(Arc<Mutex<Hold>>);

#[derive(Debug)]
enum Hold {
    Awaited,
    Open(TcpStream),
    Cut,
}

impl Socket {
    /// Ends the connection, whatever state it is in, and with it its thread. Does not wait.
    pub(super) fn cut(&self) {
        let held = std::mem::replace(&mut *lock(&self.0), Hold::Cut);
        if let Hold::Open(socket) = held {
            // It may have ended by itself: that is what we want.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        matches!(*lock(&self.0), Hold::Cut)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.cut();
    }
}

fn lock(hold: &Mutex<Hold>) -> MutexGuard<'_, Hold> {
    hold.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a duplicate of a new socket, unless nobody wants it any more.
fn keep(hold: &Mutex<Hold>, socket: &impl AsFd) -> io::Result<()> {
    let duplicate = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
    let mut hold = lock(hold);
    if matches!(*hold, Hold::Cut) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    *hold = Hold::Open(duplicate);
    Ok(())
}

/// Connects within [`DIAL_MS`]. If this is given up midway, the socket is shut down all the same.
pub(super) async fn dial(
    mut uri: AMQPUri,
    name: &str,
    at: &str,
) -> Result<(Connection, Socket), Failed> {
    uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let socket = Socket(Arc::new(Mutex::new(Hold::Awaited)));
    let hold = Arc::clone(&socket.0);
    let attempted = || format!("connecting to {at}");
    let connected = async {
        Connection::connector(
            uri,
            lapin::runtime::default_runtime()?,
            // Runs on lapin's thread, where giving up the outer future is not felt: it needs a
            // deadline too. TCP_NODELAY is set by the runtime's connect.
            async move |uri: AMQPUri, runtime| {
                let address = (uri.authority.host.clone(), uri.authority.port);
                let reach = AsyncTcpStream::connect(&runtime, runtime.to_socket_addrs(address));
                let reached = tokio::time::timeout(Duration::from_millis(DIAL_MS), reach).await;
                let stream = reached.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    keep(&hold, plain.get_ref())?;
                }
                Ok(stream)
            },
            properties,
        )
        .await
    };
    let connection = within(DIAL_MS, attempted, connected).await;
    Ok((connection.map_err(Failed::while_dialling)?, socket))
}
