//! Whose turn it is: one step of a schedule at a time, and everybody waits for their turn.
use quadrille_core::Messages;
use quadrille_runtime::message::body_of;
use serde_json::Value;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// How long one step may take: a delivery through a real broker takes milliseconds, the first one
/// after the connections were made a second or two.
pub(super) const STEP_DEADLINE: Duration = Duration::from_secs(15);

/// How a step comes about in the real runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The broker delivers it.
    Delivery,
    /// The same, once more.
    Redelivery,
    /// A timer comes out of the store.
    Timer,
    /// A service calls an adapter.
    Request,
    /// An adapter answers a call.
    Answer,
}

/// The step whose turn it is.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) number: usize,
    pub(super) way: Way,
    pub(super) to: String,
    pub(super) message: String,
    pub(super) subject: String,
    pub(super) body: Value,
}

impl Turn {
    pub(super) fn is(&self, message: &str, body: &[u8]) -> bool {
        self.message == message && serde_json::from_slice(body).is_ok_and(|b: Value| b == self.body)
    }
    pub(super) fn is_typed(&self, message: &impl Messages) -> bool {
        self.is(message.name(), &body_of(message))
    }
}

/// How far a step has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Stand {
    /// Nobody has taken it up.
    #[default]
    Open,
    Taken,
    Done,
    /// The runtime does not do this.
    Refused(String),
}

/// One schedule while it is played; shared by everything that waits for a turn.
#[derive(Debug)]
pub(super) struct Turns {
    turn: watch::Sender<Option<Arc<Turn>>>,
    stand: Mutex<Stand>,
    moved: watch::Sender<u64>,
}

/// Why a step did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    Late,
    Refused(String),
}
impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Late => write!(f, "it did not come within {} s", STEP_DEADLINE.as_secs()),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl Turns {
    pub(super) fn new() -> Arc<Self> {
        let (turn, _) = watch::channel(None);
        let (moved, _) = watch::channel(0);
        Arc::new(Self { turn, stand: Mutex::default(), moved })
    }

    /// Gives a turn, and waits until whoever it is for has done it.
    pub(super) async fn give(&self, turn: Turn) -> Result<(), Stuck> {
        let mut moved = self.moved.subscribe();
        *self.stand() = Stand::Open;
        self.turn.send_replace(Some(Arc::new(turn)));
        let done = async {
            loop {
                match &*self.stand() {
                    Stand::Done => return Ok(()),
                    Stand::Refused(why) => return Err(Stuck::Refused(why.clone())),
                    Stand::Open | Stand::Taken => {}
                }
                moved.changed().await.expect("we hold the sender");
            }
        };
        let ended = tokio::time::timeout(STEP_DEADLINE, done).await;
        self.turn.send_replace(None);
        ended.unwrap_or(Err(Stuck::Late))
    }

    /// For those who wait: changes with each turn.
    pub(super) fn listen(&self) -> watch::Receiver<Option<Arc<Turn>>> {
        self.turn.subscribe()
    }

    /// The turn, if it comes in this way and nobody has taken it up.
    pub(super) fn open(&self, ways: &[Way]) -> Option<Arc<Turn>> {
        let turn = self.turn.borrow().clone()?;
        (ways.contains(&turn.way) && *self.stand() == Stand::Open).then_some(turn)
    }

    pub(super) fn take(&self) {
        *self.stand() = Stand::Taken;
    }

    /// Harmless if the turn is another's by now.
    pub(super) fn done(&self, number: usize) {
        self.end(number, Stand::Done);
    }

    pub(super) fn refused(&self, number: usize, why: String) {
        self.end(number, Stand::Refused(why));
    }

    fn end(&self, number: usize, stand: Stand) {
        let current = self.turn.borrow().as_ref().map(|turn| turn.number);
        if current == Some(number) {
            *self.stand() = stand;
            self.moved.send_modify(|times| *times += 1);
        }
    }

    fn stand(&self) -> MutexGuard<'_, Stand> {
        self.stand.lock().expect("nobody panics with it")
    }
}
