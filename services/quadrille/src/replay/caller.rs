//! An adapter that is asked, and answers, when its turn has come.
use super::turn::{Turn, Turns, Way};
use async_trait::async_trait;
use quadrille_core::{Messages as _, Service};
use quadrille_runtime::adapter::{Call, CallError, Caller};
use serde_json::Value;
use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// What an adapter is to answer to a request, and what it was asked so far.
#[derive(Debug)]
pub(super) struct Adapters {
    turns: Arc<Turns>,
    /// By the number of the request's step: the answer's, and the answer.
    answers: HashMap<usize, Expected>,
    /// By the request's id: the number of the step in which it arrived.
    asked: Mutex<HashMap<Uuid, usize>>,
    answering: Mutex<HashMap<Uuid, usize>>,
}

/// One answer as the schedule wants it.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) number: usize,
    pub(super) message: String,
    pub(super) version: u16,
    pub(super) body: Value,
}

impl Adapters {
    pub(super) fn new(turns: Arc<Turns>, answers: HashMap<usize, Expected>) -> Arc<Self> {
        let (asked, answering) = (Mutex::default(), Mutex::default());
        Arc::new(Self { turns, answers, asked, answering })
    }

    /// The step that ends with the commit of the answer to this request.
    pub(super) fn answered_by(&self, request: Uuid) -> Option<usize> {
        self.answering.lock().expect("nobody panics with it").get(&request).copied()
    }

    async fn turn(&self, fits: impl Fn(&Turn) -> bool) -> Arc<Turn> {
        let mut changes = self.turns.listen();
        loop {
            if let Some(turn) = self.turns.open(&[Way::Request, Way::Answer])
                && fits(&turn)
            {
                self.turns.take();
                return turn;
            }
            changes.changed().await.expect("the turns outlive the services");
        }
    }
}

#[async_trait]
impl<S: Service> Caller<S> for Adapters {
    async fn call(&self, request: S::Requests, call: &Call) -> Result<S::Consumes, CallError> {
        let known = self.asked.lock().expect("nobody panics with it").get(&call.key).copied();
        let number = match known {
            Some(number) => number,
            None => {
                let turn =
                    self.turn(|turn| turn.way == Way::Request && turn.is_typed(&request)).await;
                self.asked.lock().expect("nobody panics with it").insert(call.key, turn.number);
                self.turns.done(turn.number);
                turn.number
            }
        };
        // What the schedule leaves open stays so: the call ends at its deadline, and is made again.
        let Some(expected) = self.answers.get(&number) else { return pending().await };
        self.turn(|turn| turn.way == Way::Answer && turn.number == expected.number).await;
        self.answering.lock().expect("nobody panics with it").insert(call.key, expected.number);
        let (name, body) = (&expected.message, expected.body.clone());
        S::Consumes::decode(name, expected.version, body).map_err(|error| {
            CallError::Misconfigured {
                attempted: format!("playing {name}"),
                why: format!("{error:?}"),
                remedy: "replay with the version that wrote the schedule".to_owned(),
            }
        })
    }
}
