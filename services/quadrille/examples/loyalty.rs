//! A service of your own: customers earn a point for every euro of a completed order.
use quadrille_contracts::{CustomerId, OrderCancelled, OrderCompleted, OrderId, OrderPlaced};
use quadrille_core::prelude::*;
use quadrille_runtime::entry;

events! {
    from Origin::Service("loyalty"), about order: OrderId;
    /// The customer has earned points; for whoever wants to hear it.
    pub PointsEarned = "points.earned" heard outside { customer: CustomerId, points: u64 }
}
messages! { pub enum Consumes by OrderId { OrderPlaced, OrderCompleted, OrderCancelled } }
messages! { pub enum Publishes { PointsEarned } }

/// The points of one order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Points {
    #[default]
    Unseen,
    Promised {
        customer: CustomerId,
        points: u64,
    },
    Earned,
    Lost,
}
use Points::*;

impl Machine for Points {
    const NAME: &'static str = "loyalty";
    type Consumes = Consumes;
    type Publishes = Publishes;
    type Requests = NoMessages;

    fn ended(&self) -> bool {
        matches!(self, Earned | Lost)
    }

    fn overdue_after(&self) -> Option<Duration> {
        None // how long an order takes is the order service's business
    }

    fn react(&self, message: Consumes, _: &Cx) -> Transition<Self> {
        let order = message.key();
        match (message, self.clone()) {
            (Consumes::OrderPlaced(placed), Unseen) => {
                becomes(Promised { customer: placed.customer, points: placed.total.minor() / 100 })
            }
            (Consumes::OrderCompleted(_), Unseen) => defer("who ordered is on its way"),
            (Consumes::OrderCompleted(_), Promised { customer, points }) => {
                becomes(Earned).publish(PointsEarned { order, customer, points })
            }
            (Consumes::OrderCancelled(_), Unseen | Promised { .. }) => becomes(Lost),
            (Consumes::OrderCompleted(_), Lost) => reject("a cancelled order was completed"),
            (Consumes::OrderCancelled(_), Earned) => reject("a completed order was cancelled"),
            _ => ignore("heard already, or cancelled before"),
        }
    }
}

fn main() -> std::process::ExitCode {
    entry::service::<Points>(|_| Ok(None))
}
