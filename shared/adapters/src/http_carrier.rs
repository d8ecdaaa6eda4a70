//! A carrier over HTTP: one address a booking, so that asking twice books once.
//!
//! What the carrier must do is in `docs/reference/carrier-http.md`.
use crate::http::{Answer, Base, Http, Line};
use async_trait::async_trait;
use quadrille_contracts::{Address, OrderId, Tracking};
use quadrille_runtime::adapter::{Call, CallError, Caller};
use quadrille_runtime::secret::Secret;
use quadrille_shipping::carrier::*;
use quadrille_shipping::{Consumes, Shipment};
use serde::{Deserialize, Serialize};

/// Any carrier that offers `PUT` and `GET` of `{base}/bookings/{order}`.
#[derive(Clone, Debug)]
pub struct HttpCarrier {
    http: Http,
}

impl HttpCarrier {
    /// The key, if there is one, is sent as a bearer token.
    pub fn new(base: Base, key: Option<Secret>) -> Self {
        Self { http: Http::new(base, key, &[]) }
    }
}

#[async_trait]
impl Caller<Shipment> for HttpCarrier {
    async fn call(&self, request: Requests, call: &Call) -> Result<Consumes, CallError> {
        let Requests::CarrierBook(CarrierBook { order, ship_to }) = request;
        let (attempted, call) = (format!("book the carrier for order {order}"), *call);
        let talk = move |line: &Line| Booking { line, call, order }.book(&ship_to);
        self.http.converse(attempted, call.deadline, talk).await
    }
}

/// One attempt at one booking.
struct Booking<'a> {
    line: &'a Line,
    call: Call,
    order: OrderId,
}

impl Booking<'_> {
    fn book(&self, ship_to: &Address) -> Result<Consumes, CallError> {
        #[derive(Serialize)]
        struct Body<'a> {
            ship_to: &'a Address,
        }
        let path = format!("/bookings/{}", self.order);
        if self.call.attempt > 1 {
            let answer = self.line.get(&path, &[])?;
            // It never heard of it: what is still on its way there books the same address as we do.
            if answer.status != 404 {
                return self.read(&answer);
            }
        }
        let body = serde_json::to_string(&Body { ship_to })
            .expect("an address is five texts, which JSON can hold");
        self.read(&self.line.put_json(&path, self.call.key, &body)?)
    }

    fn read(&self, answer: &Answer) -> Result<Consumes, CallError> {
        #[derive(Deserialize)]
        struct Accepted {
            tracking: Tracking,
        }
        #[derive(Deserialize)]
        struct Refused {
            refused: String,
        }
        let order = self.order;
        match answer.status {
            200 | 201 => match serde_json::from_slice(&answer.body) {
                Ok(Accepted { tracking }) => Ok(CarrierAccepted { order, tracking }.into()),
                Err(_) => Err(self.line.unexpected(answer, "but no usable tracking number")),
            },
            202 => Err(self.line.later("the carrier has not decided yet", answer.retry_after)),
            // A 409 without the word is a conflict of some machine on the way, not the carrier's no.
            409 => match serde_json::from_slice(&answer.body) {
                Ok(Refused { refused }) if !refused.is_empty() => {
                    Ok(CarrierRefused { order }.into())
                }
                _ => Err(self.line.unexpected(answer, "but no reason")),
            },
            _ => Err(self.line.unexpected(answer, "")),
        }
    }
}
