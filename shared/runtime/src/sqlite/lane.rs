//! A thread that owns one connection and does one job after the other.
use super::fault::Fault;
use crate::{clock::Clock, store::StoreError};
use rusqlite::Connection;
use std::{
    fmt,
    sync::{Arc, mpsc},
    thread,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Jobs that may wait for one thread; who comes then waits to be let in. Several units of work are
/// in
/// flight at most, so this is met only when something is wrong.
const WAITING_MAX: usize = 64;

/// What a job works with.
pub(super) struct Session {
    pub(super) sql: Connection,
    pub(super) clock: Arc<dyn Clock>,
}

type Job = Box<dyn FnOnce(&mut Session) + Send>;

enum Order {
    Do(Job, OwnedSemaphorePermit),
    /// Ends the thread, and with it the connection, after all that was ordered before.
    End(oneshot::Sender<()>),
}

pub(super) struct Lane {
    orders: mpsc::Sender<Order>,
    room: Arc<Semaphore>,
    /// The file, for errors.
    place: Arc<str>,
}

impl fmt::Debug for Lane {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.debug_struct("Lane").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Lane {
    pub(super) fn start(name: &str, place: Arc<str>, mut session: Session) -> Self {
        let (orders, ordered) = mpsc::channel();
        let work = move || {
            let ended = loop {
                match ordered.recv() {
                    // The place in the queue is free as soon as the job is begun.
                    Ok(Order::Do(job, room)) => {
                        drop(room);
                        job(&mut session);
                    }
                    Ok(Order::End(ended)) => break Some(ended),
                    Err(mpsc::RecvError) => break None,
                }
            };
            drop(session);
            if let Some(ended) = ended {
                // Nobody may be waiting any more: then nobody needs to know.
                let _ = ended.send(());
            }
        };
        let thread = thread::Builder::new().name(format!("sqlite-{name}"));
        thread.spawn(work).expect("a process that cannot start a thread cannot do anything");
        Self { orders, room: Arc::new(Semaphore::new(WAITING_MAX)), place }
    }

    /// Has a job done. If nobody waits for its result when its turn comes, it is not begun;
    /// once begun it is done to the end.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        attempted: &'static str,
        job: impl FnOnce(&mut Session) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Ok(room) = self.room.clone().acquire_owned().await else {
            let why = format!("{}: it was closed; open it again", self.place);
            return Err(StoreError::Down { attempted: attempted.to_owned(), why });
        };
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |session: &mut Session| {
            if !answer.is_closed() {
                let _ = answer.send(job(session));
            }
        });
        // A thread that is gone drops the order, and with it the answer.
        let _ = self.orders.send(Order::Do(job, room));
        match answered.await {
            Ok(done) => done.map_err(|fault| fault.told(attempted, &self.place)),
            Err(_) => {
                let why = "its thread ended by a bug that was logged before; restart this process";
                let why = why.to_owned();
                Err(Fault::Broken(why).told(attempted, &self.place))
            }
        }
    }

    /// Has a job done later; nobody waits. False if there is no room, or the thread ended.
    pub(super) fn offer(&self, job: impl FnOnce(&mut Session) + Send + 'static) -> bool {
        let Ok(room) = self.room.clone().try_acquire_owned() else { return false };
        self.orders.send(Order::Do(Box::new(job), room)).is_ok()
    }

    /// Refuses new jobs, does those that wait, and closes the connection.
    pub(super) async fn end(&self) {
        self.room.close();
        let (ended, wait) = oneshot::channel();
        let _ = self.orders.send(Order::End(ended));
        let _ = wait.await;
    }
}
