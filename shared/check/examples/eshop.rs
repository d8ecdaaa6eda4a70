//! The ordering of a well-known reference application, as its handlers decide, and what is wrong
//! with it: `cargo run -p quadrille-check --example eshop` prints each fault with the way to it.
//!
//! It is written from the behaviour of dotnet/eShop, not with its code. What a handler skips without
//! a word is ignored here; there is no inbox, and no event gives money back.
use quadrille_check::{Choreography, Network, Report, Rules, Timers, View, sequence};
use quadrille_core::prelude::*;
use std::fmt;

events! {
    from Origin::Command, about order: u32;
    pub Submit = "order.submit" {}
    pub Cancel = "order.cancel" {}
}
events! {
    from Origin::Service("ordering"), about order: u32;
    pub AwaitingValidation = "order.awaiting_validation" {}
    pub StockConfirmed = "order.stock_confirmed" {}
    pub Paid = "order.paid" {}
}
events! {
    from Origin::Service("catalog"), about order: u32;
    pub StockThere = "stock.there" {}
    pub StockMissing = "stock.missing" {}
}
events! {
    from Origin::Service("payment"), about order: u32;
    pub PaymentSucceeded = "payment.succeeded" {}
    pub PaymentFailed = "payment.failed" {}
}

messages! { pub enum ToOrdering by u32 {
    Submit, Cancel, StockThere, StockMissing, PaymentSucceeded, PaymentFailed
} }
messages! { pub enum FromOrdering { AwaitingValidation, StockConfirmed, Paid } }

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Order {
    #[default]
    Unseen,
    AwaitingValidation,
    StockConfirmed,
    Paid,
    Cancelled,
}
impl Machine for Order {
    const NAME: &'static str = "ordering";
    type Consumes = ToOrdering;
    type Publishes = FromOrdering;
    type Requests = NoMessages;
    fn ended(&self) -> bool {
        matches!(self, Self::Paid | Self::Cancelled)
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: ToOrdering, _: &Cx) -> Transition<Self> {
        use Order::{Cancelled, Paid as IsPaid, StockConfirmed as Confirmed, Unseen};
        let order = message.key();
        match (message, self) {
            (ToOrdering::Submit(_), Unseen) => {
                becomes(Self::AwaitingValidation).publish(AwaitingValidation { order })
            }
            (ToOrdering::StockThere(_), Self::AwaitingValidation) => {
                becomes(Confirmed).publish(StockConfirmed { order })
            }
            (ToOrdering::StockMissing(_), Self::AwaitingValidation) => becomes(Cancelled),
            (ToOrdering::PaymentSucceeded(_), Confirmed) => becomes(IsPaid).publish(Paid { order }),
            (ToOrdering::PaymentFailed(_), Confirmed) => becomes(Cancelled),
            // Only what is paid may not be cancelled; that the payment is under way is not asked.
            (ToOrdering::Cancel(_), Self::AwaitingValidation | Confirmed) => becomes(Cancelled),
            _ => ignore("not in this state"),
        }
    }
}

/// Every order wants one unit of the one product.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Product;
impl From<u32> for Product {
    fn from(_: u32) -> Self {
        Self
    }
}
impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("product")
    }
}
messages! { enum ToCatalog by Product { AwaitingValidation, Paid } }
messages! { enum FromCatalog { StockThere, StockMissing } }

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Shelf {
    units: u32,
}
impl Machine for Shelf {
    const NAME: &'static str = "catalog";
    type Consumes = ToCatalog;
    type Publishes = FromCatalog;
    type Requests = NoMessages;
    fn ended(&self) -> bool {
        false
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: ToCatalog, _: &Cx) -> Transition<Self> {
        match message {
            // Looked at now, and taken only when it is paid.
            ToCatalog::AwaitingValidation(AwaitingValidation { order }) => match self.units {
                0 => becomes(self.clone()).publish(StockMissing { order }),
                _ => becomes(self.clone()).publish(StockThere { order }),
            },
            ToCatalog::Paid(_) => becomes(Self { units: self.units.saturating_sub(1) }),
        }
    }
}

/// Whoever charges the card.
#[derive(Debug)]
struct Payment;
messages! { pub enum Charges { StockConfirmed } }
messages! { pub enum Charged { PaymentSucceeded, PaymentFailed } }
impl Adapter for Payment {
    const NAME: &'static str = "payment";
    type Requests = Charges;
    type Answers = Charged;
    fn outcomes(Charges::StockConfirmed(StockConfirmed { order }): &Charges) -> Vec<Charged> {
        let order = *order;
        vec![PaymentSucceeded { order }.into(), PaymentFailed { order }.into()]
    }
}

fn shop(orders: u32, units: u32) -> Choreography {
    let all = Choreography::default()
        .with::<Order>()
        .starting::<Shelf>([(Product, Shelf { units })])
        .adapter::<Payment>()
        .timers(Timers::Never);
    (1..=orders).fold(all, |all, order| all.given(Submit { order }))
}

fn charged(view: &View, order: u32) -> bool {
    let answers = view.ledger::<Payment>().values();
    answers.into_iter().any(|answer| *answer == PaymentSucceeded { order }.into())
}
fn paid(view: &View) -> usize {
    view.entities::<Order>().values().filter(|order| **order == Order::Paid).count()
}

fn charged_although_cancelled() -> Report {
    let rules = Rules::default().at_rest("charged although cancelled", |view| {
        let mut orders = view.entities::<Order>().iter();
        orders.all(|(id, order)| *order != Order::Cancelled || !charged(view, *id))
    });
    shop(1, 1).perhaps(Cancel { order: 1 }).explore(Network::Once, &rules)
}
fn oversold() -> Report {
    let rules = Rules::default().always("more was sold than was there", |view| paid(view) <= 1);
    shop(2, 1).explore(Network::Once, &rules)
}
/// A handler's exception is logged and the message acknowledged: it may have no answer at all.
fn lost_on_a_handlers_error() -> Report {
    let rules = Rules::default().at_rest("an order never ends", |view| {
        view.entities::<Order>().values().all(Machine::ended)
    });
    shop(1, 1).bystander::<Payment>().explore(Network::Once, &rules)
}
fn paid_twice_takes_twice() -> Report {
    let rules = Rules::default().always("more was taken than was sold", |view| {
        let units = view.entities::<Shelf>()[&Product].units as usize;
        2 - units <= paid(view)
    });
    shop(1, 2).explore(Network::Twice { most: 1 }, &rules)
}

fn main() {
    let all = [
        charged_although_cancelled(),
        oversold(),
        lost_on_a_handlers_error(),
        paid_twice_takes_twice(),
    ];
    for (why, path) in all.iter().flat_map(|report| &report.faults) {
        println!("{why}");
        path.iter().for_each(|step| println!("    {step}"));
        println!("\n{}", sequence(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(report: &Report, why: &str, steps: &[&str]) {
        assert!(report.is_complete());
        let path = report.faults.get(why).unwrap_or_else(|| panic!("{:?}", report.faults));
        let found: Vec<_> = path.iter().map(ToString::to_string).collect();
        assert_eq!(found, steps);
        assert_eq!(report.faults.len(), 1);
    }

    #[test]
    fn a_cancelled_order_is_charged() {
        let steps = [
            "ordering <- order.submit 1",
            "catalog <- order.awaiting_validation 1",
            "ordering <- stock.there 1",
        ];
        let report = charged_although_cancelled();
        let path = &report.faults["not true: charged although cancelled"];
        let found: Vec<_> = path.iter().map(ToString::to_string).collect();
        assert_eq!(found[..3], steps);
        assert!(sequence(path).contains("outside->>ordering: order.cancel (1)"));
    }
    #[test]
    fn two_orders_get_the_same_unit() {
        let report = oversold();
        let (why, path) = report.faults.first_key_value().unwrap();
        assert_eq!(why, "not true: more was sold than was there");
        assert_eq!(path.len(), 10);
    }
    #[test]
    fn an_order_hangs_after_an_error() {
        let steps = [
            "ordering <- order.submit 1",
            "catalog <- order.awaiting_validation 1",
            "ordering <- stock.there 1",
            "payment <- order.stock_confirmed 1",
        ];
        check(&lost_on_a_handlers_error(), "not true: an order never ends", &steps);
    }
    #[test]
    fn a_repeated_event_takes_the_units_twice() {
        let steps = [
            "ordering <- order.submit 1",
            "catalog <- order.awaiting_validation 1",
            "ordering <- stock.there 1",
            "payment <- order.stock_confirmed 1",
            "ordering <- payment.succeeded 1",
            "catalog <- order.paid 1",
            "catalog <- order.paid 1",
        ];
        check(&paid_twice_takes_twice(), "not true: more was taken than was sold", &steps);
    }
}
