//! The types of the fields: what each takes from a stranger, what it refuses, and how it says so.
use quadrille_contracts::*;
use quadrille_core::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

fn read<T: DeserializeOwned>(body: Value) -> Result<T, String> {
    serde_json::from_value(body).map_err(|error| error.to_string())
}
fn refuses<T: DeserializeOwned + Debug>(body: Value, why: &str) {
    let refused = read::<T>(body.clone()).expect_err(&body.to_string());
    assert!(refused.contains(why), "{body}: {refused}");
}
/// The same by hand and by JSON; and it is written as it was read.
fn takes<T: DeserializeOwned + Serialize + PartialEq + Debug>(body: Value, value: T) {
    assert_eq!(read::<T>(body.clone()), Ok(value));
    let value: T = read(body.clone()).expect("it was just read");
    assert_eq!(serde_json::to_value(value).expect("plain data"), body);
}
fn sku(text: &str) -> Sku {
    Sku::new(text).expect("a short name")
}
fn line(units: u32, price_minor: u32) -> Line {
    Line { units: Units::new(units).expect("a few"), price_minor }
}

#[test]
fn text_has_at_least_one_character_and_at_most_as_many_as_its_type_allows() {
    for text in ["x", &"x".repeat(40), &"ü".repeat(40)] {
        takes(json!(text), sku(text));
        assert_eq!((sku(text).as_str(), sku(text).to_string()), (text, text.to_owned()));
    }
    refuses::<Sku>(json!(""), "must not be empty");
    refuses::<Sku>(json!("x".repeat(41)), "has 41 characters, 40 are allowed");
    assert_eq!(Sku::new(""), Err("must not be empty".to_owned()));
}

#[test]
fn text_holds_nothing_that_must_never_be_printed() {
    for text in ["\n", "TEA\u{7}", "\u{1b}[31mTEA", "TEA\u{0}"] {
        refuses::<Sku>(json!(text), "must not hold control characters");
    }
}

#[test]
fn units_go_from_one_to_a_million() {
    for n in [1, 2, 1_000_000] {
        takes(json!(n), Units::new(n).expect("allowed"));
        assert_eq!(Units::new(n).map(Units::get), Ok(n));
    }
    for n in [0, 1_000_001] {
        refuses::<Units>(json!(n), "must be from 1 to 1000000 units");
    }
    refuses::<Units>(json!(-1), "expected u32");
}

#[test]
fn a_currency_is_one_that_is_known() {
    let euro = Currency::new("EUR").expect("known");
    takes(json!("EUR"), euro);
    assert_eq!((euro.as_str(), format!("{euro:?}")), ("EUR", "EUR".to_owned()));
    for code in ["XXX", "eur", "EU", "EURO", "UR ", ""] {
        refuses::<Currency>(json!(code), "is not a currency that is known here");
    }
}

#[test]
fn money_is_more_than_nothing_and_less_than_a_typing_error() {
    let euro = Currency::new("EUR").expect("known");
    for minor in [1, 2, 1_000_000_000_000] {
        let money = Money::new(minor, euro).expect("allowed");
        takes(json!({"minor": minor, "currency": "EUR"}), money);
        assert_eq!((money.minor(), money.currency()), (minor, euro));
        assert_eq!(money.to_string(), format!("{minor} EUR (minor)"));
    }
    for minor in [0, 1_000_000_000_001_u64] {
        let why = "minor must be from 1 to 1000000000000";
        refuses::<Money>(json!({"minor": minor, "currency": "EUR"}), why);
    }
}

#[test]
fn what_is_an_object_is_not_read_by_position() {
    refuses::<Money>(json!([5, "EUR"]), "expected an object");
    refuses::<Line>(json!([2, 100]), "expected an object");
    refuses::<Address>(json!(["Ada", "Lane", "1", "Bath", "GB"]), "expected an object");
    refuses::<Lines>(json!([["TEA", {}]]), "expected an object from SKU to line");
}

#[test]
fn an_order_has_one_to_a_hundred_skus() {
    let body = |n: usize| -> Value {
        let line = |i| (format!("SKU-{i}"), json!({"units": 2, "price_minor": 100}));
        (0..n).map(line).collect::<serde_json::Map<_, _>>().into()
    };
    let lines =
        |n: usize| Lines::new((0..n).map(|i| (sku(&format!("SKU-{i}")), line(2, 100))).collect());
    for n in [1, 2, 100] {
        takes(body(n), lines(n).expect("allowed"));
    }
    refuses::<Lines>(body(0), "has 0 SKUs, 1 to 100 are allowed");
    refuses::<Lines>(body(101), "has more than 100 SKUs");
    assert_eq!(lines(101), Err("has 101 SKUs, 1 to 100 are allowed".to_owned()));
}

#[test]
fn no_sku_is_listed_twice() {
    let line = r#"{"units": 2, "price_minor": 100}"#;
    let twice = format!(r#"{{"TEA": {line}, "CUP": {line}, "TEA": {line}}}"#);
    let refused = serde_json::from_str::<Lines>(&twice).expect_err("TEA is there twice");
    assert!(refused.to_string().starts_with("lists TEA twice"), "{refused}");
}

#[test]
fn lines_add_up_units_times_price() {
    let lines = BTreeMap::from([(sku("CUP"), line(3, 7)), (sku("TEA"), line(2, 1_250))]);
    let lines = Lines::new(lines).expect("two lines");
    assert_eq!(lines.total_minor(), Some(2_521));
    let listed: Vec<_> = lines.iter().map(|(sku, line)| (sku.as_str(), *line)).collect();
    assert_eq!(listed, [("CUP", line(3, 7)), ("TEA", line(2, 1_250))]);
    let free = Lines::new(BTreeMap::from([(sku("GIFT"), line(1, 0))])).expect("one line");
    assert_eq!(free.total_minor(), Some(0));
}

#[test]
fn the_most_that_can_be_ordered_can_be_counted() {
    let dearest = |i| (sku(&format!("SKU-{i}")), line(Units::MAX, u32::MAX));
    let lines = Lines::new((0..Lines::MAX).map(dearest).collect()).expect("a hundred lines");
    assert_eq!(lines.total_minor(), Some(100 * 1_000_000 * u64::from(u32::MAX)));
}

#[test]
fn an_address_has_all_its_lines() {
    let body = json!({
        "name": "Ada", "street": "12 Lane", "postcode": "10115", "city": "Berlin", "country": "DE",
    });
    let line = |text| AddressLine::new(text).expect("a short line");
    let address = Address {
        name: line("Ada"),
        street: line("12 Lane"),
        postcode: line("10115"),
        city: line("Berlin"),
        country: line("DE"),
    };
    takes(body.clone(), address);
    for field in ["name", "street", "postcode", "city", "country"] {
        let mut body = body.clone();
        body.as_object_mut().expect("an object").remove(field);
        refuses::<Address>(body, &format!("missing field `{field}`"));
    }
}

#[test]
fn an_order_is_called_by_its_uuid() {
    let id = "0190a5c3-4d5e-7f60-8a9b-c0d1e2f30415";
    takes(json!(id), OrderId::example());
    assert_eq!(OrderId::example().to_string(), id);
}
