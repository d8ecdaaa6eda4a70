//! The books of a carrier as `docs/reference/carrier-http.md` wants it.
use super::{Books, Request};
use serde_json::{Value, json};
use std::collections::HashMap;

#[derive(Default)]
pub struct Carrier {
    /// The answer to each booking, by order.
    pub bookings: HashMap<String, (u16, String)>,
    /// Parcels taken: more than one an order if somebody books twice.
    pub parcels: Vec<String>,
}

impl Books for Carrier {
    fn serve(&mut self, request: &Request) -> (u16, String) {
        let Some(order) = request.path.strip_prefix("/api/bookings/") else {
            return (404, "{}".to_owned());
        };
        if let Some(booking) = self.bookings.get(order) {
            return booking.clone();
        }
        if request.method == "GET" {
            return (404, "{}".to_owned());
        }
        let body: Value = serde_json::from_str(&request.body).expect("JSON");
        let answer = match body["ship_to"]["city"].as_str().expect("a city") {
            "Nowhere" => (409, json!({"refused": "nobody lives there"})),
            _ => {
                self.parcels.push(order.to_owned());
                (201, json!({"tracking": format!("T-{}", self.parcels.len())}))
            }
        };
        let booking = (answer.0, answer.1.to_string());
        self.bookings.insert(order.to_owned(), booking.clone());
        booking
    }
}
