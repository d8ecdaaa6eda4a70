//! The books of a provider that speaks like Stripe.
use super::{Books, Request, pairs};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Held, and refused when it should be taken or given back.
pub const DECLINED: &str = "pm_declined";
pub const CAPTURE_FAILS: &str = "pm_capture_fails";
pub const DISPUTED: &str = "pm_disputed";
/// No such token.
pub const NONSENSE: &str = "nonsense";

#[derive(Clone, Debug)]
pub struct Payment {
    pub order: String,
    pub status: &'static str,
    pub amount: u64,
    pub currency: String,
    pub token: String,
    pub received: u64,
    pub captures: u32,
    pub cancels: u32,
}

#[derive(Clone, Debug)]
pub struct Refund {
    pub payment: usize,
    pub amount: u64,
    pub status: &'static str,
    pub attempt: String,
}

#[derive(Default)]
pub struct Stripe {
    pub payments: Vec<Payment>,
    pub refunds: Vec<Refund>,
    /// What a key was first used for, and answered.
    keys: HashMap<String, (String, u16, String)>,
    pub searches: u32,
    /// The state of refunds when they are made.
    pub refunds_begin: Option<&'static str>,
    /// Broken rules: a request without a key, or a key for two requests.
    pub broken_rules: Vec<String>,
}

type Reply = (u16, Value);

fn failure(status: u16, kind: &str, code: &str) -> Reply {
    (status, json!({"error": {"type": kind, "code": code, "message": "no"}}))
}
fn unexpected_state() -> Reply {
    failure(400, "invalid_request_error", "payment_intent_unexpected_state")
}

impl Books for Stripe {
    fn serve(&mut self, request: &Request) -> (u16, String) {
        if request.headers.get("authorization").is_none_or(|key| !key.starts_with("Bearer sk_")) {
            // Says what it was given: an answer that must not be repeated to anybody.
            let given = format!("{:?}", request.headers.get("authorization"));
            return (401, json!({"error": {"type": given, "code": given}}).to_string());
        }
        if request.method == "GET" {
            let (status, body) = self.look(request);
            return (status, body.to_string());
        }
        let Some(key) = request.headers.get("idempotency-key").cloned() else {
            self.broken_rules.push(format!("no key: {request:?}"));
            return (400, "{}".to_owned());
        };
        let what = format!("{} {}", request.path, request.body);
        if let Some((before, status, body)) = self.keys.get(&key) {
            if *before != what {
                self.broken_rules.push(format!("{before} and {what} with one key"));
                return (400, "{}".to_owned());
            }
            return (*status, body.clone());
        }
        let (status, body) = self.act(request);
        self.keys.insert(key, (what, status, body.to_string()));
        (status, body.to_string())
    }

    fn remember_500(&mut self, request: &Request) {
        if let Some(key) = request.headers.get("idempotency-key")
            && let Some((_, status, body)) = self.keys.get_mut(key)
        {
            (*status, *body) = (500, r#"{"error":{"type":"api_error"}}"#.to_owned());
        }
    }

    fn forget_keys(&mut self) {
        self.keys.clear();
    }
}

impl Stripe {
    pub fn show(&self, n: usize) -> Value {
        let payment = &self.payments[n];
        json!({
            "id": format!("pi_{n}"),
            "object": "payment_intent",
            "status": payment.status,
            "amount": payment.amount,
            "currency": payment.currency,
            "amount_received": payment.received,
            "metadata": {"order": payment.order},
        })
    }

    fn show_refund(&self, n: usize) -> Value {
        let refund = &self.refunds[n];
        let metadata = json!({"attempt": refund.attempt});
        json!({"id": n, "amount": refund.amount, "status": refund.status, "metadata": metadata})
    }

    fn look(&mut self, request: &Request) -> Reply {
        let parts: Vec<_> = request.path.split('/').skip(2).collect();
        match parts[..] {
            ["payment_intents", "search"] => {
                self.searches += 1;
                let query = &request.query["query"];
                let order = query.strip_prefix("metadata['order']:'").expect("the query");
                let order = order.strip_suffix('\'').expect("the query's end");
                let found = (0..self.payments.len()).filter(|n| self.payments[*n].order == order);
                let found: Vec<_> = found.map(|n| self.show(n)).collect();
                (200, json!({"data": found, "has_more": false}))
            }
            ["payment_intents", id] => match self.find(id) {
                Some(n) => (200, self.show(n)),
                None => failure(404, "invalid_request_error", "resource_missing"),
            },
            ["refunds"] => {
                let payment = self.find(&request.query["payment_intent"]);
                let of = |n: &usize| Some(self.refunds[*n].payment) == payment;
                let found = (0..self.refunds.len()).filter(of);
                let found: Vec<_> = found.map(|n| self.show_refund(n)).collect();
                (200, json!({"data": found, "has_more": false}))
            }
            _ => failure(404, "invalid_request_error", "url"),
        }
    }

    fn act(&mut self, request: &Request) -> Reply {
        let fields = pairs(&request.body);
        let parts: Vec<_> = request.path.split('/').skip(2).collect();
        match parts[..] {
            ["payment_intents"] => self.create(&fields),
            ["payment_intents", id, verb] => match (self.find(id), verb) {
                (Some(n), "capture") => self.capture(n, &fields),
                (Some(n), "cancel") => self.cancel(n),
                _ => failure(404, "invalid_request_error", "resource_missing"),
            },
            ["refunds"] => match self.find(&fields["payment_intent"]) {
                Some(n) => self.refund(n, &fields),
                None => failure(404, "invalid_request_error", "resource_missing"),
            },
            _ => failure(404, "invalid_request_error", "url"),
        }
    }

    fn create(&mut self, fields: &HashMap<String, String>) -> Reply {
        for (name, value) in [("capture_method", "manual"), ("confirm", "true")] {
            assert_eq!(fields[name], value, "{name}");
        }
        let token = fields["payment_method"].clone();
        if token == NONSENSE {
            let param = "payment_method";
            let (code, kind) = ("resource_missing", "invalid_request_error");
            return (400, json!({"error": {"type": kind, "code": code, "param": param}}));
        }
        let declined = token == DECLINED;
        self.payments.push(Payment {
            order: fields["metadata[order]"].clone(),
            status: if declined { "requires_payment_method" } else { "requires_capture" },
            amount: fields["amount"].parse().expect("a number"),
            currency: fields["currency"].clone(),
            token,
            received: 0,
            captures: 0,
            cancels: 0,
        });
        match declined {
            true => failure(402, "card_error", "card_declined"),
            false => (200, self.show(self.payments.len() - 1)),
        }
    }

    fn capture(&mut self, n: usize, fields: &HashMap<String, String>) -> Reply {
        let payment = &mut self.payments[n];
        if payment.status != "requires_capture" {
            return unexpected_state();
        }
        if payment.token == CAPTURE_FAILS {
            return failure(402, "card_error", "card_declined");
        }
        payment.status = "succeeded";
        payment.received = fields["amount_to_capture"].parse().expect("a number");
        payment.captures += 1;
        (200, self.show(n))
    }

    fn cancel(&mut self, n: usize) -> Reply {
        let payment = &mut self.payments[n];
        if ["succeeded", "canceled"].contains(&payment.status) {
            return unexpected_state();
        }
        payment.status = "canceled";
        payment.cancels += 1;
        (200, self.show(n))
    }

    fn refund(&mut self, n: usize, fields: &HashMap<String, String>) -> Reply {
        let amount: u64 = fields["amount"].parse().expect("a number");
        let counts = |r: &&Refund| r.payment == n && !["failed", "canceled"].contains(&r.status);
        let before: u64 = self.refunds.iter().filter(counts).map(|r| r.amount).sum();
        if self.payments[n].token == DISPUTED {
            return failure(400, "invalid_request_error", "charge_disputed");
        }
        if before + amount > self.payments[n].received {
            return failure(400, "invalid_request_error", "charge_already_refunded");
        }
        let status = self.refunds_begin.unwrap_or("succeeded");
        let attempt = fields["metadata[attempt]"].clone();
        self.refunds.push(Refund { payment: n, amount, status, attempt });
        (200, self.show_refund(self.refunds.len() - 1))
    }

    fn find(&self, id: &str) -> Option<usize> {
        let n = id.strip_prefix("pi_")?.parse().ok()?;
        (n < self.payments.len()).then_some(n)
    }
}
