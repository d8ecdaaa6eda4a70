//! Faults at the ports: a process that ends where it is told to. Compiled in by the feature
//! `fault-points` alone, which only tests ask for.
//!
//! Broker, store and adapter are wrapped; the loop knows nothing of it. What no port can see, such
//! as half a frame on the wire, is done by a proxy.
mod ports;

use crate::adapter::Caller;
use crate::broker::Broker;
use crate::store::{Layered, Store};
use ports::{FaultyBroker, FaultyCaller};
use quadrille_core::Service;
use rustix::process::{Signal, getpid, kill_process};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where a process may end, in the order of a message's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The store is being opened and its schema made; the number is in milliseconds.
    Opening,
    /// Deliveries came, nothing is begun.
    Delivered,
    /// The entities are loaded (and locked, where the store locks), nothing is decided.
    Loaded,
    /// The commit is asked for and not answered.
    Writing,
    /// The commit is done, and nobody has heard of it.
    Committed,
    /// A commit with requests to the outside world is done, and none of them is called.
    Requested,
    /// The outside world has done what it was asked, and its answer is not heard.
    Called,
    /// The answer is there, and not committed.
    Answered,
    /// Half of a batch is with the broker, the other half was not sent.
    HalfPublished,
    /// A batch is sent and not confirmed.
    Publishing,
    /// It is confirmed, and nobody has heard of it.
    Confirmed,
    /// The commit that notes what is confirmed is asked for and not answered.
    Marking,
    /// It is done.
    Marked,
    /// All is done but the acknowledgement.
    Acknowledging,
    /// The acknowledgement is on its way to the socket.
    AckWritten,
    /// It is written.
    Acknowledged,
    /// A sweep has claimed what nobody saw confirmed, and published nothing of it.
    Swept,
    /// Timers that are due were claimed, and nothing is decided.
    TimerDue,
    /// A timer's effect is committed, and its events are not published.
    TimerFired,
}

/// All points, with the words that name them.
pub const POINTS: [(&str, Point); 19] = [
    ("opening", Point::Opening),
    ("delivered", Point::Delivered),
    ("loaded", Point::Loaded),
    ("writing", Point::Writing),
    ("committed", Point::Committed),
    ("requested", Point::Requested),
    ("called", Point::Called),
    ("answered", Point::Answered),
    ("half_published", Point::HalfPublished),
    ("publishing", Point::Publishing),
    ("confirmed", Point::Confirmed),
    ("marking", Point::Marking),
    ("marked", Point::Marked),
    ("acknowledging", Point::Acknowledging),
    ("ack_written", Point::AckWritten),
    ("acknowledged", Point::Acknowledged),
    ("swept", Point::Swept),
    ("timer_due", Point::TimerDue),
    ("timer_fired", Point::TimerFired),
];

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// SIGKILL: nothing of ours runs any more.
    Kill,
    /// SIGSTOP: connections stay open, until somebody sends SIGCONT.
    Stop,
    /// The exit code of a bug; buffers are flushed, nothing is finished.
    Exit,
}

/// What a process was told; nothing, if it was told nothing.
#[derive(Clone, Debug, Default)]
pub struct Faults(Option<Arc<Fault>>);

#[derive(Debug)]
struct Fault {
    point: Point,
    nth: u64,
    reached: AtomicU64,
    act: Act,
}

impl Faults {
    /// Reads `POINT:N:ACT`: the act at the n-th time that the point is reached.
    ///
    /// # Errors
    /// Says what to write instead.
    pub fn read(text: Option<&str>) -> Result<Self, String> {
        let Some(text) = text else { return Ok(Self::default()) };
        let words: Vec<&str> = text.split(':').collect();
        let fault = match words[..] {
            [point, nth, act] => fault(point, nth, act),
            _ => None,
        };
        let known: Vec<_> = POINTS.iter().map(|(word, _)| *word).collect();
        let remedy = || {
            let known = known.join(", ");
            format!("must be POINT:N:ACT with kill, stop or exit, and one of {known}, not {text:?}")
        };
        fault.map(|fault| Self(Some(Arc::new(fault)))).ok_or_else(remedy)
    }

    /// True if this is where and when it happens.
    fn here(&self, point: Point) -> bool {
        let Some(fault) = self.0.as_ref().filter(|fault| fault.point == point) else {
            return false;
        };
        fault.reached.fetch_add(1, Ordering::SeqCst) + 1 == fault.nth
    }

    fn reach(&self, point: Point) {
        if self.here(point) {
            self.act();
        }
    }

    /// Lets some work begin, and does not wait for its end.
    async fn during<T>(&self, point: Point, work: impl Future<Output = T>) -> T {
        if !self.here(point) {
            return work.await;
        }
        let mut work = pin!(work);
        // None to two milliseconds, so that it is met at different depths.
        let moment = self.0.as_ref().map_or(0, |fault| fault.nth % 3);
        if let Ok(done) = tokio::time::timeout(Duration::from_millis(moment), &mut work).await {
            self.act();
            return done;
        }
        self.act();
        work.await
    }

    /// Comes back only from `stop`.
    fn act(&self) {
        match self.0.as_ref().map(|fault| fault.act) {
            Some(Act::Kill) => {
                kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
                loop {
                    std::thread::park();
                }
            }
            Some(Act::Stop) => {
                kill_process(getpid(), Signal::STOP).expect("a process may stop itself");
            }
            Some(Act::Exit) => std::process::exit(i32::from(crate::entry::BUG)),
            None => {}
        }
    }

    /// To be called when a store is about to be opened.
    pub(crate) fn opening(&self) {
        let Some(fault) = self.0.as_ref().filter(|fault| fault.point == Point::Opening) else {
            return;
        };
        let (faults, wait) = (self.clone(), Duration::from_millis(fault.nth));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            faults.act();
        });
    }

    pub(crate) fn broker(&self, inner: Arc<dyn Broker>) -> Arc<dyn Broker> {
        Arc::new(FaultyBroker { inner, faults: self.clone() })
    }

    pub(crate) fn store(&self, inner: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Layered { inner, layer: self.clone() })
    }

    pub(crate) fn caller<S: Service>(
        &self,
        inner: Option<Arc<dyn Caller<S>>>,
    ) -> Option<Arc<dyn Caller<S>>> {
        let faults = self.clone();
        inner.map(|inner| Arc::new(FaultyCaller { inner, faults }) as Arc<dyn Caller<S>>)
    }
}

fn fault(point: &str, nth: &str, act: &str) -> Option<Fault> {
    let (_, point) = POINTS.iter().find(|(word, _)| *word == point)?;
    let act = match act {
        "kill" => Act::Kill,
        "stop" => Act::Stop,
        "exit" => Act::Exit,
        _ => return None,
    };
    let nth = nth.parse().ok().filter(|nth| *nth > 0)?;
    Some(Fault { point: *point, nth, reached: AtomicU64::new(0), act })
}
