//! Orders as a customer writes them.

use serde_json::{Value, json};
use uuid::Uuid;

/// Who orders in all tests.
pub(crate) const CUSTOMER: &str = "c-204";

/// What one unit costs.
const PRICE_MINOR: u64 = 100;

/// One order; take the default and change what the test is about.
#[derive(Debug, Clone)]
pub struct OrderSpec {
    pub order: String,
    pub sku: String,
    pub units: u32,
    /// Says what the simulated provider does.
    pub token: &'static str,
    /// Says what the simulated carrier does.
    pub city: &'static str,
    pub decide_within_ms: Option<u32>,
}

/// An id that nobody has used.
pub fn order_id() -> String {
    Uuid::now_v7().to_string()
}

impl OrderSpec {
    /// Two units of this SKU, to a city where everything works.
    pub fn of(sku: &str) -> OrderSpec {
        OrderSpec {
            order: order_id(),
            sku: sku.to_owned(),
            units: 2,
            token: "tok_visa",
            city: "Berlin",
            decide_within_ms: None,
        }
    }

    /// The same, paid with another token.
    pub fn token(self, token: &'static str) -> OrderSpec {
        OrderSpec { token, ..self }
    }

    /// The body of `order.place.v1`.
    pub fn body(&self) -> Value {
        let total = u64::from(self.units) * PRICE_MINOR;
        let mut body = json!({
            "order": self.order,
            "customer": CUSTOMER,
            "payment_token": self.token,
            "lines": {self.sku.as_str(): {"units": self.units, "price_minor": PRICE_MINOR}},
            "total": {"minor": total, "currency": "EUR"},
            "ship_to": {
                "name": "Ada Lovelace", "street": "12 Dance Hall Lane", "postcode": "12345",
                "city": self.city, "country": "DE",
            },
        });
        if let Some(ms) = self.decide_within_ms {
            body["decide_within_ms"] = ms.into();
        }
        body
    }
}
