//! What the warehouse answers: units on the shelf, units set aside, and units gone.
use quadrille_contracts::*;
use quadrille_core::prelude::*;
use quadrille_inventory::{Record::*, *};

fn order() -> OrderId {
    OrderId::example()
}
fn tea() -> Sku {
    Sku::new("TEA").expect("a short name")
}
fn cup() -> Sku {
    Sku::new("CUP").expect("a short name")
}
fn some(units: u32) -> Units {
    Units::new(units).expect("more than none")
}
fn units<const N: usize>(units: [(Sku, u32); N]) -> BTreeMap<Sku, Units> {
    units.into_iter().map(|(sku, n)| (sku, some(n))).collect()
}
fn placed<const N: usize>(lines: [(Sku, u32); N]) -> OrderPlaced {
    let line = |(sku, n)| (sku, Line { units: some(n), price_minor: 100 });
    let lines = Lines::new(lines.into_iter().map(line).collect()).expect("a few lines");
    OrderPlaced { lines, ..OrderPlaced::example() }
}
fn received(sku: Sku, n: u32) -> StockReceive {
    StockReceive { sku, units: some(n), ..StockReceive::example() }
}

/// All that lies in the warehouse.
type Warehouse = BTreeMap<Key, Record>;

fn warehouse<const N: usize>(records: [(Key, Record); N]) -> Warehouse {
    records.into()
}
fn on_shelf(sku: Sku, available: u64) -> (Key, Record) {
    (sku.into(), Stock { available })
}
fn about_order(record: Record) -> (Key, Record) {
    (order().into(), record)
}

/// The verdict, what changed, and what is said.
fn answer(
    at_start: &Warehouse,
    message: impl Into<Consumes>,
) -> (Verdict, Warehouse, Vec<Publishes>) {
    let message = message.into();
    let mut unit = UnitOfWork::<Inventory>::default();
    loop {
        let missing = unit.missing(&message);
        if missing.is_empty() {
            let (verdict, effects) = unit.decide(message, &Cx::default());
            return (verdict, effects.changed, effects.published);
        }
        for key in missing {
            let record = at_start.get(&key).cloned().unwrap_or_default();
            unit.load(key, record);
        }
    }
}
fn accepted<const N: usize>(
    changed: [(Key, Record); N],
    said: impl Into<Publishes>,
) -> (Verdict, Warehouse, Vec<Publishes>) {
    (Verdict::Accept, changed.into(), vec![said.into()])
}

#[test]
fn a_reservation_answers_each_message() {
    let (reserved, issued) = (units([(tea(), 2)]), units([(tea(), 2)]));
    for (record, marks) in [
        // order placed, order cancelled, shipment initiated
        (Unseen, "++!"),
        (Reserved { units: reserved }, ".++"),
        (Issued { units: issued }, ".!."),
        (Rejected, "..!"),
        (Released, "..!"),
    ] {
        let at_start = warehouse([about_order(record.clone())]);
        let mark = |message: Consumes| match answer(&at_start, message).0 {
            Verdict::Accept => '+',
            Verdict::Ignore(_) => '.',
            Verdict::Defer(_) => '>',
            Verdict::Reject(_) => '!',
        };
        let about_it = Consumes::examples().into_iter().filter(|m| m.key() == order().into());
        assert_eq!(about_it.map(mark).collect::<String>(), marks, "{record:?}");
    }
}

#[test]
fn received_units_are_put_beside_those_that_are_there() {
    let first = accepted([on_shelf(tea(), 2)], StockReceived { sku: tea(), units: some(2) });
    assert_eq!(answer(&warehouse([]), received(tea(), 2)), first);
    let more = accepted([on_shelf(tea(), 5)], StockReceived { sku: tea(), units: some(2) });
    assert_eq!(answer(&warehouse([on_shelf(tea(), 3)]), received(tea(), 2)), more);
}

#[test]
fn an_order_has_its_units_set_aside_down_to_the_last_one() {
    let at_start = warehouse([on_shelf(tea(), 5), on_shelf(cup(), 1)]);
    let reserved = Reserved { units: units([(tea(), 2), (cup(), 1)]) };
    assert_eq!(
        answer(&at_start, placed([(tea(), 2), (cup(), 1)])),
        accepted(
            [on_shelf(tea(), 3), on_shelf(cup(), 0), about_order(reserved)],
            StockReserved { order: order() }
        )
    );
}

#[test]
fn an_order_that_lacks_one_unit_gets_none() {
    let at_start = warehouse([on_shelf(tea(), 5), on_shelf(cup(), 1)]);
    for lines in [placed([(tea(), 5), (cup(), 2)]), placed([(tea(), 6), (cup(), 1)])] {
        assert_eq!(
            answer(&at_start, lines),
            accepted([about_order(Rejected)], StockRejected { order: order() })
        );
    }
}

#[test]
fn goods_that_nobody_ever_received_are_not_there() {
    assert_eq!(
        answer(&warehouse([]), placed([(tea(), 1)])),
        accepted([about_order(Rejected)], StockRejected { order: order() })
    );
}

#[test]
fn a_cancelled_order_puts_its_units_back() {
    let reserved = about_order(Reserved { units: units([(tea(), 2), (cup(), 1)]) });
    let at_start = warehouse([on_shelf(tea(), 3), on_shelf(cup(), 0), reserved]);
    assert_eq!(
        answer(&at_start, OrderCancelled::example()),
        accepted(
            [on_shelf(tea(), 5), on_shelf(cup(), 1), about_order(Released)],
            StockReleased { order: order() }
        )
    );
}

#[test]
fn an_order_that_is_cancelled_before_it_comes_takes_nothing() {
    assert_eq!(
        answer(&warehouse([on_shelf(tea(), 3)]), OrderCancelled::example()),
        accepted([about_order(Released)], StockReleased { order: order() })
    );
}

#[test]
fn units_leave_with_the_shipment() {
    let units = units([(tea(), 2)]);
    let reserved = about_order(Reserved { units: units.clone() });
    assert_eq!(
        answer(&warehouse([on_shelf(tea(), 3), reserved]), ShipmentInitiated::example()),
        accepted([about_order(Issued { units })], StockIssued { order: order() })
    );
}

#[test]
fn an_order_comes_first_and_the_shelves_of_its_goods_after_it() {
    let keys = |skus: &[Sku]| -> Vec<Key> {
        [order().into()].into_iter().chain(skus.iter().cloned().map(Key::Sku)).collect()
    };
    let mut unit = UnitOfWork::<Inventory>::default();
    let placed = placed([(tea(), 2), (cup(), 1)]).into();
    assert_eq!(Inventory::touches(&placed, &unit), keys(&[cup(), tea()]));
    let cancelled = OrderCancelled::example().into();
    assert_eq!(Inventory::touches(&cancelled, &unit), keys(&[]));
    unit.load(order().into(), Reserved { units: units([(tea(), 2)]) });
    assert_eq!(Inventory::touches(&cancelled, &unit), keys(&[tea()]));
}

#[test]
fn a_shelf_is_called_by_its_goods_and_a_reservation_by_its_order() {
    assert_eq!(Key::from(order()).to_string(), order().to_string());
    assert_eq!(Key::from(tea()).to_string(), "sku:TEA");
}

#[test]
fn a_reservation_may_rest_where_it_ended_and_is_looked_at_where_it_stays_too_long() {
    let units = units([(tea(), 2)]);
    for (record, ended, overdue_after) in [
        (Unseen, false, None),
        (Stock { available: 3 }, false, None),
        (Reserved { units: units.clone() }, false, Some(Duration::from_secs(30 * 60))),
        (Issued { units }, true, None),
        (Rejected, true, None),
        (Released, true, None),
    ] {
        let found = (Inventory::ended(&record), Inventory::overdue_after(&record));
        assert_eq!(found, (ended, overdue_after), "{record:?}");
    }
}
