//! What must be true of orders: in every world, and where nothing more must happen.
use super::{Noted, RETRIES_MAX};
use quadrille_check::{Effect, Rules, View};
use quadrille_contracts::*;
use quadrille_inventory::{Inventory, Key, Record};
use quadrille_order::{Order, Party};
use quadrille_payment::Payment;
use quadrille_payment::provider::{
    Answers, Provider, ProviderAuthorized, ProviderCaptured, ProviderRefunded, ProviderVoided,
    Requests,
};
use quadrille_shipping::Shipment;
use std::collections::{BTreeMap, BTreeSet};

/// What a scope knows from outside: whatever the services say is held against it.
#[derive(Debug)]
pub struct Truth {
    /// Units on the shelf at the start.
    pub stock: BTreeMap<Sku, u64>,
    /// The orders as their customers want them.
    pub orders: Vec<OrderPlace>,
    /// An operator has every refused undo tried again.
    pub retried: bool,
}

/// What the properties look at.
struct Known {
    /// Each order: how its id is written, and what is known of it.
    orders: Vec<(String, Facts)>,
    noted: BTreeSet<Noted>,
}

/// Everything that is known about one order, in one place.
#[derive(Debug, Default)]
pub struct Facts {
    pub order: Order,
    pub stock: Record,
    pub payment: Payment,
    pub shipment: Shipment,
    /// What the provider did, in its own books.
    pub held: bool,
    pub voided: bool,
    pub captured_minor: u64,
    pub refunded_minor: u64,
}

impl Facts {
    pub fn of(view: &View, id: OrderId) -> Self {
        let mut facts = Self {
            order: view.entities::<Order>().get(&id).cloned().unwrap_or_default(),
            stock: view.entities::<Inventory>().get(&Key::Order(id)).cloned().unwrap_or_default(),
            payment: view.entities::<Payment>().get(&id).cloned().unwrap_or_default(),
            shipment: view.entities::<Shipment>().get(&id).cloned().unwrap_or_default(),
            held: false,
            voided: false,
            captured_minor: 0,
            refunded_minor: 0,
        };
        for (asked, answer) in view.ledger::<Provider>().iter().filter(|(r, _)| about(r).0 == id) {
            let minor = about(asked).1.minor();
            match answer {
                Answers::ProviderAuthorized(_) => facts.held = true,
                Answers::ProviderVoided(_) => facts.voided = true,
                Answers::ProviderCaptured(_) => facts.captured_minor += minor,
                Answers::ProviderRefunded(_) => facts.refunded_minor += minor,
                Answers::ProviderDeclined(_)
                | Answers::ProviderCaptureFailed(_)
                | Answers::ProviderUndoRefused(_) => {}
            }
        }
        facts
    }

    fn is_shipped(&self) -> bool {
        matches!(self.shipment, Shipment::Initiated { .. } | Shipment::Delivered { .. })
    }
    fn is_issued(&self) -> bool {
        matches!(self.stock, Record::Issued { .. })
    }
    fn is_cancelled(&self) -> bool {
        matches!(self.order, Order::Cancelling { .. } | Order::Cancelled | Order::Rejected)
    }
    /// Paid, issued and shipped, by everybody's own account.
    fn is_all(&self) -> bool {
        matches!(self.payment, Payment::Captured { .. }) && self.is_issued() && self.is_shipped()
    }
    /// Nothing was done, or it was undone: the goods.
    fn is_nothing_of_goods(&self) -> bool {
        matches!(self.stock, Record::Released | Record::Rejected)
            && matches!(self.shipment, Shipment::Aborted | Shipment::Failed)
    }
    /// Nothing was done, or it was undone: goods and money.
    fn is_nothing(&self) -> bool {
        matches!(self.payment, Payment::Declined | Payment::Voided | Payment::Refunded)
            && self.is_nothing_of_goods()
    }
    /// Nobody but the order service has heard of it.
    fn is_unheard_of(&self) -> bool {
        self.stock == Record::Unseen
            && self.payment == Payment::Unseen
            && self.shipment == Shipment::Unseen
    }
    fn is_any_money_open(&self) -> bool {
        self.captured_minor != self.refunded_minor
            || (self.held && !self.voided && self.captured_minor == 0)
    }
}

/// What was done about an order, and what takes it back or makes something else of it: whoever adds
/// something that must be undone adds it here. Of the money it is the provider who did it.
pub fn effects() -> Vec<Effect> {
    vec![
        Effect::of::<StockReserved>().undone_by::<StockReleased>().becomes::<StockIssued>(),
        Effect::of::<StockIssued>(),
        Effect::of::<ProviderAuthorized>()
            .undone_by::<ProviderVoided>()
            .becomes::<ProviderCaptured>(),
        Effect::of::<ProviderCaptured>().undone_by::<ProviderRefunded>(),
        Effect::of::<ShipmentInitiated>(),
    ]
}

/// The order and the amount that a request to the provider is about.
fn about(request: &Requests) -> (OrderId, Money) {
    match request {
        Requests::ProviderAuthorize(asked) => (asked.order, asked.amount),
        Requests::ProviderCapture(asked) => (asked.order, asked.amount),
        Requests::ProviderUndo(asked) => (asked.order, asked.amount),
    }
}

fn must(truth: bool, otherwise: &str) -> Result<(), String> {
    if truth { Ok(()) } else { Err(otherwise.to_owned()) }
}

impl Truth {
    /// Conservation of goods and money, one voice, closed means settled at that very moment; at
    /// rest all or nothing, or it waits for a person.
    pub fn rules(&self) -> Rules<'_> {
        Rules::default()
            .always("no unit is lost or made up", |view| self.goods_are_conserved(view))
            .always("the provider is asked for the order's money, once", |view| {
                self.each(view, |place, facts| self.money_is_right(view, place, facts))
            })
            .always("goods go to who paid, and to nobody who cancelled", |view| {
                self.each(view, |place, facts| goods_and_money_agree(facts, place.total.minor()))
            })
            .always("closed means settled, at that very moment", |view| {
                self.each(view, |_, facts| closed_means_settled(facts))
            })
            .always("only its customer cancels an order", |view| {
                let noted = &self.known(view).noted;
                self.each(view, |place, _| only_the_customer_cancels(noted, place))
            })
            .undone_if(|view, order| self.has_failed(view, order))
            .at_rest("all or nothing, or a person is awaited", |view| {
                self.each(view, |_, facts| self.all_or_nothing(facts))
            })
            .at_rest("every cancel is answered", |view| {
                every_cancel_is_answered(view, &self.known(view).noted)
            })
    }

    fn each(
        &self,
        view: &View,
        ask: impl Fn(&OrderPlace, &Facts) -> Result<(), String>,
    ) -> Result<(), String> {
        let known = &self.known(view).orders;
        self.orders.iter().zip(known).try_for_each(|(place, (_, facts))| ask(place, facts))
    }

    /// All that the properties look at, worked out once for each situation.
    fn known<'v>(&self, view: &'v View) -> &'v Known {
        view.derived(|view| {
            let of = |place: &OrderPlace| (place.order.to_string(), Facts::of(view, place.order));
            Known { orders: self.orders.iter().map(of).collect(), noted: view.noted() }
        })
    }

    /// It came to a bad end.
    fn has_failed(&self, view: &View, order: &str) -> bool {
        let facts = self.known(view).orders.iter().find(|(id, _)| id == order);
        facts.is_some_and(|(_, facts)| matches!(facts.order, Order::Cancelled | Order::Rejected))
    }

    fn goods_are_conserved(&self, view: &View) -> Result<(), String> {
        let records = view.entities::<Inventory>();
        let mut known = self.stock.clone();
        for noted in &self.known(view).noted {
            if let Noted::StockReceive(StockReceive { sku, units, .. }) = noted {
                *known.entry(sku.clone()).or_default() += u64::from(units.get());
            }
        }
        for (sku, known) in known {
            let available = match records.get(&Key::Sku(sku.clone())) {
                Some(Record::Stock { available }) => *available,
                _ => 0,
            };
            let held = records.values().filter_map(|record| match record {
                Record::Reserved { units } | Record::Issued { units } => units.get(&sku),
                _ => None,
            });
            let held: u64 = held.map(|units| u64::from(units.get())).sum();
            must(available + held == known, "stock is not conserved")?;
        }
        Ok(())
    }

    fn money_is_right(&self, view: &View, place: &OrderPlace, f: &Facts) -> Result<(), String> {
        let total = place.total.minor();
        let asked = view.ledger::<Provider>().keys().map(about);
        let mut amounts = asked.filter(|(order, _)| *order == place.order);
        must(amounts.all(|(_, amount)| amount == place.total), "not the order's amount")?;
        let captured = f.captured_minor;
        must(captured == 0 || (f.held && captured == total), "captured without a hold, or twice")?;
        let refunded = f.refunded_minor;
        must(refunded == 0 || refunded == captured, "refunded what was not captured")?;
        must(!f.voided || (f.held && captured == 0), "voided what was not merely held")
    }

    pub(crate) fn all_or_nothing(&self, f: &Facts) -> Result<(), String> {
        let whole = match &f.order {
            Order::Completed => f.is_all() && f.captured_minor > 0 && f.refunded_minor == 0,
            Order::Cancelled => f.is_nothing() && !f.is_any_money_open(),
            Order::Cancelling { awaits } => {
                *awaits == [Party::Payment].into()
                    && f.is_nothing_of_goods()
                    && f.is_any_money_open()
                    && self.waits_for_a_person(&f.payment)
            }
            Order::Unseen | Order::Withdrawn { .. } | Order::Rejected => f.is_unheard_of(),
            Order::Placed { .. } | Order::Confirmed { .. } => false,
        };
        let Facts { order, stock, payment, shipment, .. } = f;
        let all = format!("{order:?}, {stock:?}, {payment:?}, {shipment:?}");
        must(whole, &format!("at rest, neither all nor nothing: {all}"))
    }

    /// As long as somebody will have it tried again, it is no rest.
    fn waits_for_a_person(&self, payment: &Payment) -> bool {
        match payment {
            Payment::UndoRefused { attempt, .. } => !self.retried || *attempt > RETRIES_MAX,
            _ => false,
        }
    }
}

pub(crate) fn goods_and_money_agree(f: &Facts, total_minor: u64) -> Result<(), String> {
    let paid = f.captured_minor == total_minor && f.refunded_minor == 0;
    must(!f.is_shipped() || paid, "shipped and not paid")?;
    must(!f.is_shipped() || !f.is_cancelled(), "shipped and cancelled")?;
    must(!f.is_shipped() || f.stock != Record::Released, "shipped and released")?;
    must(!f.is_issued() || f.is_shipped(), "issued and not shipped")
}

/// Not some time later: whoever hears that it is closed may rely on it.
pub(crate) fn closed_means_settled(f: &Facts) -> Result<(), String> {
    must(f.order != Order::Completed || f.is_all(), "completed too early")?;
    must(f.order != Order::Cancelled || f.is_nothing(), "closed too early")?;
    must(f.order != Order::Rejected || f.is_unheard_of(), "rejected after it was placed")
}

/// A stranger's cancel, before the order or after, kills nothing.
fn only_the_customer_cancels(noted: &BTreeSet<Noted>, place: &OrderPlace) -> Result<(), String> {
    let (order, customer) = (place.order, place.customer.clone());
    let died = noted.contains(&OrderRejected { order }.into())
        || noted.contains(&OrderCancelled { order, reason: Reason::Customer }.into());
    let asked = noted.contains(&OrderCancel { order, customer }.into());
    must(!died || asked, "cancelled for the customer, who did not ask")
}

/// Who cancels hears that it is cancelled, or rejected, or that it cannot be. Only while nobody has
/// placed the order there is nothing to say.
fn every_cancel_is_answered(view: &View, noted: &BTreeSet<Noted>) -> Result<(), String> {
    for asked in noted {
        let Noted::OrderCancel(OrderCancel { order: id, customer }) = asked else { continue };
        let answered = noted.iter().any(|said| match said {
            Noted::OrderCancelled(said) => said.order == *id,
            Noted::OrderRejected(said) => said.order == *id,
            Noted::OrderCancelRefused(said) => said.order == *id && said.customer == *customer,
            Noted::OrderCancel(_) | Noted::StockReceive(_) => false,
        });
        let waits = match view.entities::<Order>().get(id) {
            Some(Order::Withdrawn { by }) => by.contains(customer),
            _ => false,
        };
        must(answered || waits, "a cancel was not answered")?;
    }
    Ok(())
}
