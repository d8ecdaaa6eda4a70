//! The stories: what is ordered, what comes between, and how it must end.
use super::{SOON, Stage, look_again};
use anyhow::{Result, anyhow, ensure};
use futures_util::future::try_join_all;
use quadrille_contracts::*;
use quadrille_core::{Event, Messages, messages};
use quadrille_order::Order;
use quadrille_runtime::local::Taken;
use quadrille_runtime::message::{Raw, body_of};
use quadrille_runtime::wire::kind_of;
use std::collections::BTreeMap;
use std::time::Instant;
use uuid::Uuid;

/// One order's fate.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    sku: &'static str,
    /// Says what the simulated provider does.
    token: &'static str,
    /// Says what the simulated carrier does.
    city: &'static str,
    decide_within_ms: u32,
    cancel: Cancel,
    /// How order, goods, payment and parcel end.
    pub(super) ends: [&'static str; 4],
    /// Why it is cancelled.
    pub(super) because: Option<&'static str>,
    /// What must be said besides.
    pub(super) says: Option<&'static str>,
}

/// When the customer changes their mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    Never,
    OncePlaced,
    OnceConfirmed,
}

const SHELF: &str = "TEA-250";
/// Nobody ever received any.
const SOLD_OUT: &str = "SAMOVAR-1";
const UNITS: u32 = 2;
/// Enough for all stories.
const RECEIVED: u32 = 20;
/// Longer than a story takes on a slow machine.
const PATIENT_MS: u32 = 8_000;
/// Shorter than the provider of `tok_late` is silent.
const IMPATIENT_MS: u32 = 400;

const UNDONE: [&str; 4] = ["Cancelled", "Released", "Voided", "Aborted"];
const SHIPS: Story = Story {
    name: "ships",
    about: "Goods, money and carrier are there.",
    sku: SHELF,
    token: "tok_visa",
    city: "Berlin",
    decide_within_ms: PATIENT_MS,
    cancel: Cancel::Never,
    ends: ["Completed", "Issued", "Captured", "Initiated"],
    because: None,
    says: None,
};

pub(super) const STORIES: [Story; 7] = [
    SHIPS,
    Story {
        name: "declined",
        about: "The card is refused: the goods go back on the shelf.",
        token: "tok_declined",
        ends: ["Cancelled", "Released", "Declined", "Aborted"],
        because: Some("declined"),
        ..SHIPS
    },
    Story {
        name: "out of stock",
        about: "There are no goods: the money is let go.",
        sku: SOLD_OUT,
        ends: ["Cancelled", "Rejected", "Voided", "Aborted"],
        because: Some("no_stock"),
        ..SHIPS
    },
    Story {
        name: "carrier refuses",
        about: "Paid, and nobody drives there: the money goes back, and the goods too.",
        city: "Nowhere",
        ends: ["Cancelled", "Released", "Refunded", "Failed"],
        because: Some("carrier_refused"),
        ..SHIPS
    },
    Story {
        name: "cancel too late",
        about: "The customer cancels after the order is confirmed: refused, it ships.",
        cancel: Cancel::OnceConfirmed,
        says: Some("order.cancel_refused"),
        ..SHIPS
    },
    Story {
        name: "cancel in time",
        about: "The customer cancels while the payment provider is thinking.",
        token: "tok_late",
        cancel: Cancel::OncePlaced,
        ends: UNDONE,
        because: Some("customer"),
        ..SHIPS
    },
    Story {
        name: "deadline",
        about: "The provider is silent for longer than the order may wait.",
        token: "tok_late",
        decide_within_ms: IMPATIENT_MS,
        ends: UNDONE,
        because: Some("deadline"),
        ..SHIPS
    },
];

messages! {
    /// What the stories send.
    enum Commands { OrderPlace, OrderCancel, StockReceive }
}

/// Sends what each story needs, in its time.
pub(super) async fn send(stage: &Stage, cast: &[(&Story, OrderId)]) -> Result<()> {
    try_join_all(cast.iter().map(|(story, order)| story.send(stage, *order))).await?;
    Ok(())
}

impl Story {
    async fn send(&self, stage: &Stage, order: OrderId) -> Result<()> {
        stage.command(self.place(order)?).await?;
        let due = match self.cancel {
            Cancel::Never => return Ok(()),
            Cancel::OncePlaced => |order: &Order| matches!(order, Order::Placed { .. }),
            Cancel::OnceConfirmed => {
                |order: &Order| matches!(order, Order::Confirmed { .. } | Order::Completed)
            }
        };
        let until = Instant::now() + SOON;
        while !stage.order(order).await?.is_some_and(|order| due(&order)) {
            look_again(until, || format!("order {order} cannot be cancelled yet")).await?;
        }
        stage.command(OrderCancel { order, customer: OrderPlace::example().customer }).await
    }

    fn place(&self, order: OrderId) -> Result<OrderPlace> {
        let example = OrderPlace::example();
        let line = Line { units: units(UNITS)?, price_minor: 1_250 };
        let lines = Lines::new(BTreeMap::from([(sku(self.sku)?, line)])).map_err(told)?;
        let minor = lines.total_minor().ok_or_else(|| anyhow!("the sum is too large"))?;
        Ok(OrderPlace {
            order,
            total: Money::new(minor, example.total.currency()).map_err(told)?,
            lines,
            payment_token: PaymentToken::new(self.token).map_err(told)?,
            ship_to: Address {
                city: AddressLine::new(self.city).map_err(told)?,
                ..example.ship_to
            },
            decide_within_ms: Some(self.decide_within_ms),
            customer: example.customer,
        })
    }
}

impl Stage {
    /// Puts goods on the shelf, and waits until they are there.
    pub(super) async fn stock(&self) -> Result<()> {
        let receipt = Receipt::new(&format!("DN-{}", Uuid::now_v7())).map_err(told)?;
        let receive = StockReceive { sku: sku(SHELF)?, units: units(RECEIVED)?, receipt };
        let received = body_of(&Commands::from(receive.clone()));
        self.command(receive).await?;
        let key = format!("sku:{SHELF}");
        let until = Instant::now() + SOON;
        loop {
            let rows = self.stores["inventory"].history(std::slice::from_ref(&key)).await?;
            // The same bytes, or what was written for the same: the receipt is in it.
            if rows.iter().any(|row| row.cause_body == received) {
                break;
            }
            look_again(until, || format!("{SHELF} is not on the shelf")).await?;
        }
        self.say(&format!("Stock: {RECEIVED} units of {SHELF} were received, no {SOLD_OUT}.\n"))
    }

    /// Sends a command as any program outside would: a JSON body and a routing key.
    async fn command(&self, command: impl Into<Commands>) -> Result<()> {
        let command = command.into();
        let key = kind_of(command.name(), command.descriptor().version);
        let raw = Raw { body: body_of(&command), ..Raw::default() };
        let taken = self.broker()?.publish_raw("quadrille.commands", &key, raw).await?;
        ensure!(taken == Taken::Taken, "the broker does not take {key}: {taken:?}");
        Ok(())
    }

    /// The order, if the order service knows it.
    pub(super) async fn order(&self, order: OrderId) -> Result<Option<Order>> {
        let key = order.to_string();
        let rows = self.stores["order"].entities(&key, "", 1).await?;
        let row = rows.into_iter().find(|row| row.key == key);
        Ok(row.map(|row| serde_json::from_slice(&row.state)).transpose()?)
    }
}

fn sku(name: &str) -> Result<Sku> {
    Sku::new(name).map_err(told)
}
fn units(count: u32) -> Result<Units> {
    Units::new(count).map_err(told)
}
fn told(why: String) -> anyhow::Error {
    anyhow!("a story is wrong: {why}")
}
