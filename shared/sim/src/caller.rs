//! The way to the outside world and back: questions and answers get lost, come late, or twice.
use crate::fault::Fault;
use crate::port::Port;
use crate::world::Call as PortCall;
use async_trait::async_trait;
use quadrille_core::Service;
use quadrille_runtime::adapter::{Call, CallError, Caller};
use std::sync::Arc;
use std::time::Duration;

/// Somebody outside who keeps his word, behind a line that does not.
pub struct Unreliable<S: Service> {
    port: Port,
    behind: Arc<dyn Caller<S>>,
}

impl<S: Service> std::fmt::Debug for Unreliable<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Unreliable").field("service", &S::NAME).finish_non_exhaustive()
    }
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives {
        late_ms: u64,
        twice: bool,
        answered: bool,
    },
    Busy(u64),
    /// It does not arrive, and that is noticed after so long.
    Lost(u64),
}

impl<S: Service> Unreliable<S> {
    pub fn new(port: &Port, behind: Arc<dyn Caller<S>>) -> Self {
        Self { port: port.clone(), behind }
    }

    fn fate(&self, call: &Call) -> Fate {
        let deadline_ms = call.deadline.as_millis() as u64;
        let life = &*self.port.life;
        let mut state = self.port.world.state();
        if state.strikes(Fault::CallBusy, life) {
            return Fate::Busy(state.faults.chance(Fault::CallBusy).within(100..=30_000));
        }
        if state.strikes(Fault::CallLost, life) {
            // Mostly the line is dead at once, sometimes nobody notices before the deadline.
            let chance = state.faults.chance(Fault::CallLost);
            return Fate::Lost(if chance.one_in(3) { deadline_ms + 5_000 } else { 10 });
        }
        let late_ms = match state.strikes(Fault::CallLate, life) {
            true => state.faults.chance(Fault::CallLate).within(500..=deadline_ms + 5_000),
            false => 0,
        };
        let twice = state.strikes(Fault::CallTwice, life);
        let answered = !state.strikes(Fault::AnswerLost, life);
        Fate::Arrives { late_ms, twice, answered }
    }
}

#[async_trait]
impl<S: Service> Caller<S> for Unreliable<S> {
    async fn call(&self, request: S::Requests, call: &Call) -> Result<S::Consumes, CallError> {
        let attempted = "ask the outside world".to_owned();
        let number = self.port.enter(PortCall::Ask).await;
        let fate = self.fate(call);
        let Fate::Arrives { late_ms, twice, answered } = fate else {
            self.port.leave(number).await;
            return match fate {
                Fate::Busy(ms) => Err(CallError::Later {
                    attempted,
                    why: "too many requests".to_owned(),
                    after: Some(Duration::from_millis(ms)),
                }),
                _ => {
                    self.port.pause(if let Fate::Lost(ms) = fate { ms } else { 0 }).await;
                    Err(CallError::Unknown { attempted, why: "connection reset".to_owned() })
                }
            };
        };
        if twice {
            // Whatever this one hears is lost.
            let _ = self.behind.call(request.clone(), call).await;
        }
        let answer = self.behind.call(request, call).await;
        self.port.leave(number).await;
        if late_ms > 0 {
            self.port.pause(late_ms).await;
        }
        if answered {
            return answer;
        }
        Err(CallError::Unknown { attempted, why: "the answer was cut off".to_owned() })
    }
}
