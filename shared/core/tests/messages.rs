//! Lists of messages: how a body becomes one of them, and what does not.
use quadrille_core::prelude::*;
use quadrille_core::{Descriptor, Invalid, Undecoded};
use serde_json::{Value, json};

events! {
    from Origin::Command, about table: u32;
    pub MealOrdered = "meal.ordered" { courses: u32 } if can_be_cooked
}
events! {
    from Origin::Service("kitchen"), about table: u32;
    pub MealServed = "meal.served" version 2 heard outside {}
}
messages! { enum Meals by u32 { MealOrdered, MealServed } }

fn can_be_cooked(meal: &MealOrdered) -> Result<(), Invalid> {
    match meal.courses {
        1..=7 => Ok(()),
        _ => Err(Invalid { pointer: "/courses", why: "must be from 1 to 7".to_owned() }),
    }
}
fn read<M: Messages>(name: &str, version: u16, body: Value) -> Result<M, Undecoded<String>> {
    M::decode(name, version, body).map_err(|error| match error {
        Undecoded::UnknownName => Undecoded::UnknownName,
        Undecoded::UnknownVersion { known } => Undecoded::UnknownVersion { known },
        Undecoded::Body(error) => Undecoded::Body(error.to_string()),
        Undecoded::Invalid(why) => Undecoded::Invalid(why),
    })
}

#[test]
fn a_message_is_read_by_its_name_and_version() {
    let body = json!({"table": 7, "courses": 2});
    let ordered = MealOrdered { table: 7, courses: 2 };
    assert_eq!(read::<Meals>("meal.ordered", 1, body), Ok(ordered.into()));
    assert_eq!(
        read::<Meals>("meal.served", 2, json!({"table": 7})),
        Ok(MealServed { table: 7 }.into())
    );
}

#[test]
fn an_unknown_name_or_version_is_not_guessed_at() {
    let body = || json!({"table": 7});
    assert_eq!(read::<Meals>("meal.eaten", 1, body()), Err(Undecoded::UnknownName));
    for version in [1, 3] {
        let unknown = Err(Undecoded::UnknownVersion { known: 2 });
        assert_eq!(read::<Meals>("meal.served", version, body()), unknown);
    }
}

#[test]
fn a_list_is_not_read_as_an_object_by_position() {
    let Err(Undecoded::Body(why)) = read::<Meals>("meal.ordered", 1, json!([7, 2])) else {
        panic!("serde alone would read it");
    };
    assert!(why.ends_with("expected an object"), "{why}");
}

#[test]
fn a_body_that_says_what_cannot_be_is_refused_with_the_field() {
    let refused = read::<Meals>("meal.ordered", 1, json!({"table": 7, "courses": 8}));
    let why = "must be from 1 to 7".to_owned();
    assert_eq!(refused, Err(Undecoded::Invalid(Invalid { pointer: "/courses", why })));
}

#[test]
fn a_message_knows_its_name_its_subject_and_its_key() {
    let served = Meals::from(MealServed { table: 7 });
    assert_eq!(served.name(), "meal.served");
    assert_eq!(served.subject(), "7");
    assert_eq!(served.key(), 7);
    let ordered = Descriptor {
        name: "meal.ordered",
        version: 1,
        origin: Origin::Command,
        heard_outside: false,
    };
    let served = Descriptor {
        name: "meal.served",
        version: 2,
        origin: Origin::Service("kitchen"),
        heard_outside: true,
    };
    assert_eq!(Meals::LIST, [ordered, served]);
}

#[test]
fn what_is_written_can_be_read_again() {
    for message in Meals::examples() {
        let body = message.encode(serde_json::value::Serializer).expect("plain data");
        let Descriptor { name, version, .. } = *message.descriptor();
        assert_eq!(read(name, version, body), Ok(message));
    }
}

#[test]
fn a_message_goes_from_list_to_list_without_bytes() {
    messages! { enum Others { MealServed } }
    let served = MealServed { table: 7 };
    let carried = Others::from(served.clone()).into_any();
    assert_eq!(Meals::from_any(&*carried), Some(served.into()));
    let ordered = Meals::from(MealOrdered::example()).into_any();
    assert_eq!(Others::from_any(&*ordered), None);
}

#[test]
fn an_optional_field_is_there_in_an_example() {
    assert_eq!(<Option<u32>>::example(), Some(u32::example()));
}

#[test]
fn the_empty_list_has_no_message_and_reads_none() {
    assert_eq!(NoMessages::LIST, []);
    assert_eq!(NoMessages::examples(), []);
    assert_eq!(NoMessages::from_any(&MealServed { table: 7 }), None);
    let read = read::<NoMessages>("meal.served", 2, json!({"table": 7}));
    assert_eq!(read, Err(Undecoded::UnknownName));
}
