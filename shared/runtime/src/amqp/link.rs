//! One connection to the broker that is opened again when it is needed and gone.
use super::dial::{Socket, dial};
use super::fault::{CALL_MS, CLOSE_MS, DIAL_MS, Failed, within};
use super::topology;
use crate::broker::{BrokerError, Topology};
use lapin::options::ConfirmSelectOptions;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// All that was declared, by service: declared again on each new connection, as the broker may be a
/// new one.
pub(super) type Declared = Arc<Mutex<Vec<Topology>>>;

/// A connection that works, as far as we know.
pub(super) struct Live {
    // Dropped in this order: lapin says goodbye before the socket goes.
    connection: Connection,
    /// Confirm channels on which nothing is under way.
    idle: Mutex<Vec<Channel>>,
    socket: Socket,
    user: String,
    /// We may not declare, and have seen that all is there.
    onlooker: AtomicBool,
}

impl Live {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The login, which the broker compares with the property `user_id`.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn is_onlooker(&self) -> bool {
        self.onlooker.load(Ordering::Relaxed)
    }

    pub(super) fn set_onlooker(&self, yes: bool) {
        self.onlooker.store(yes, Ordering::Relaxed);
    }

    pub(super) fn is_well(&self) -> bool {
        self.connection.status().connected() && !self.socket.is_cut()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Ends the connection at once. All that is under way on it fails; the broker gives deliveries
    /// back.
    pub(super) fn cut(&self) {
        self.socket.cut();
    }

    /// Ends the connection unless all went well or only a channel was closed: what is unclear stays
    /// unclear on it.
    pub(super) fn or_cut<T, E: CutOn>(&self, result: Result<T, E>) -> Result<T, BrokerError> {
        result.map_err(|error| {
            if error.cuts() {
                self.cut();
            }
            error.into()
        })
    }

    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let opened = self.connection.create_channel();
        self.or_cut(within(CALL_MS, || "opening a channel".to_owned(), opened).await)
    }

    /// A channel with confirms that nobody else uses. If all on it is answered, give it back with
    /// [`Self::put`].
    ///
    /// lapin counts confirms and queues frames under two locks: two tasks on one channel mix up
    /// their confirms.
    pub(super) async fn take(&self) -> Result<Channel, BrokerError> {
        let idle = lock(&self.idle).pop();
        if let Some(channel) = idle.filter(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let channel = self.channel().await?;
        let asked = channel.confirm_select(ConfirmSelectOptions::default());
        self.or_cut(within(CALL_MS, || "asking for confirms".to_owned(), asked).await)?;
        Ok(channel)
    }

    pub(super) fn put(&self, channel: Channel) {
        lock(&self.idle).push(channel);
    }
}

/// Errors know whether their connection can go on.
pub(super) trait CutOn: Into<BrokerError> {
    fn cuts(&self) -> bool;
}

impl CutOn for Failed {
    fn cuts(&self) -> bool {
        !self.is_of_channel()
    }
}

impl CutOn for BrokerError {
    fn cuts(&self) -> bool {
        !matches!(self, BrokerError::Refused { .. })
    }
}

/// Opens a connection when there is none that works. Never tries twice in one call.
pub(super) struct Link {
    uri: AMQPUri,
    name: String,
    declared: Declared,
    live: Mutex<Option<Arc<Live>>>,
    /// Held while dialling, so that callers that come together get one connection. Every wait has a
    /// deadline.
    dialling: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

impl Link {
    pub(super) fn new(uri: AMQPUri, name: &str, role: &str, declared: Declared) -> Self {
        Self {
            uri,
            name: format!("{name} ({role})"),
            declared,
            live: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Host, port and virtual host, for people. No user, no password.
    pub(super) fn at(&self) -> String {
        let authority = &self.uri.authority;
        format!("{}:{}/{}", authority.host, authority.port, self.uri.vhost)
    }

    pub(super) fn remember(&self, topology: &Topology) {
        let mut declared = lock(&self.declared);
        declared.retain(|known| known.service != topology.service);
        declared.push(topology.clone());
    }

    pub(super) fn blocked(&self) -> bool {
        self.well().is_some_and(|live| live.is_blocked())
    }

    /// The connection that there is, or a new one on which all is declared.
    pub(super) async fn live(&self) -> Result<Arc<Live>, BrokerError> {
        if let Some(live) = self.well() {
            return Ok(live);
        }
        let deadline_ms = DIAL_MS;
        let turn = tokio::time::timeout(Duration::from_millis(deadline_ms), self.dialling.lock());
        let late = || BrokerError::Late { attempted: self.attempted(), deadline_ms };
        let _turn = turn.await.map_err(|_| late())?;
        if let Some(live) = self.well() {
            return Ok(live);
        }
        self.ensure_open()?;
        let (connection, socket) = dial(self.uri.clone(), &self.name, &self.at()).await?;
        let user = self.uri.authority.userinfo.username.clone();
        let (idle, onlooker) = (Mutex::default(), AtomicBool::default());
        let live = Arc::new(Live { connection, idle, socket, user, onlooker });
        let declared = lock(&self.declared).clone();
        for topology in &declared {
            // If it fails, nobody holds the connection: it ends here.
            topology::declare(live.connection(), topology).await?;
        }
        *lock(&self.live) = Some(Arc::clone(&live));
        // Closed meanwhile: the one who closed may have missed it.
        self.ensure_open().inspect_err(|_| live.cut())?;
        Ok(live)
    }

    /// Ends the connection, politely if the broker lets us, and never opens another one.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let live = lock(&self.live).take();
        if let Some(live) = live {
            let goodbye = live.connection.close(200, "OK".into());
            // If it cannot hear us any more, the cut below says it too.
            let _ = within(CLOSE_MS, || "closing".to_owned(), goodbye).await;
            live.cut();
        }
    }

    fn well(&self) -> Option<Arc<Live>> {
        lock(&self.live).as_ref().filter(|live| live.is_well()).cloned()
    }

    fn ensure_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::SeqCst) {
            let why = "this side has closed it".to_owned();
            return Err(BrokerError::Down { attempted: self.attempted(), why });
        }
        Ok(())
    }

    fn attempted(&self) -> String {
        format!("connecting to {}", self.at())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
