//! Where admitting ends: the last that is taken, and the first that is refused.
use bytes::Bytes;
use quadrille_core::prelude::*;
use quadrille_runtime::admit::{self, Reason, Refusal, TEXT_MAX_BYTES, TEXT_MAX_CHARS};
use quadrille_runtime::message::{BODY_MAX_BYTES, Raw};
use quadrille_runtime::wire;

events! {
    from Origin::Command, about table: u32;
    pub MealOrdered = "meal.ordered" { wishes: Wishes }
    pub TableCleared = "table.cleared" version 2 {}
}
/// What each guest wants: keys and texts as the sender likes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wishes(BTreeMap<String, String>);
impl Example for Wishes {
    fn example() -> Self {
        Self(BTreeMap::new())
    }
}
messages! { enum Consumed { MealOrdered, TableCleared } }

fn ordered(body: String) -> Raw {
    let routing_key = "meal.ordered.v1".to_owned();
    Raw { routing_key, body: Bytes::from(body), ..Raw::default() }
}
fn with_wishes(wishes: &str) -> Raw {
    ordered(format!(r#"{{"table":7,"wishes":{{{wishes}}}}}"#))
}
fn admit(raw: &Raw) -> Result<Consumed, Refusal> {
    let [event] = wire::decode(raw, 0).try_into().expect("one event");
    admit::body(&event.map_err(|refused| refused.refusal)?)
}
fn refused(what: &str, raw: &Raw) -> (Reason, Option<String>) {
    let refusal = admit(raw).expect_err(what);
    (refusal.reason, refusal.pointer)
}

#[test]
fn a_refusal_says_its_reason_the_field_and_why() {
    let refusal = Refusal::new(Reason::MalformedBody, "must not be empty");
    assert_eq!(refusal.to_string(), "malformed_body: must not be empty");
    let at_field = refusal.at("/lines/0/sku").to_string();
    assert_eq!(at_field, r#"malformed_body at "/lines/0/sku": must not be empty"#);
}

#[test]
fn a_body_that_is_no_object_is_called_so() {
    let why = Refusal::new(Reason::MalformedBody, "the body is not an object").at("");
    for body in ["null", "[]", "[7, {}]", "7", "\"meal\"", "true"] {
        assert_eq!(admit(&ordered(body.to_owned())), Err(why.clone()), "{body}");
    }
}

#[test]
fn what_nobody_reads_is_called_so_whatever_its_body_is() {
    for body in [r#"{"table":7}"#, "{", "", "7"] {
        let of = |kind: &str| {
            let raw = Raw { kind: Some(kind.to_owned()), ..ordered(body.to_owned()) };
            let Refusal { reason, detail, .. } = admit(&raw).expect_err(kind);
            (reason, detail)
        };
        let no_type = "nobody here reads com.acme.v1".to_owned();
        assert_eq!(of("com.acme.v1"), (Reason::UnknownType, no_type));
        for (name, known, other) in [("meal.ordered", 1, 2), ("table.cleared", 2, 1)] {
            let no_version = format!("{name} is read in version {known}, not {other}");
            let unknown = of(&format!("{name}.v{other}"));
            assert_eq!(unknown, (Reason::UnknownVersion, no_version), "{body}");
        }
    }
}

#[test]
fn a_body_may_be_as_long_as_the_limit_and_not_a_byte_longer() {
    let short = r#"{"table":7,"wishes":{}}"#;
    let padded = |bytes: usize| ordered(format!("{short}{}", " ".repeat(bytes - short.len())));
    admit(&padded(BODY_MAX_BYTES)).expect("as long as the limit");
    let too_long = refused("a byte longer", &padded(BODY_MAX_BYTES + 1));
    assert_eq!(too_long, (Reason::Oversize, None));
}

#[test]
fn a_text_of_the_envelope_may_be_as_long_as_either_limit_and_no_longer() {
    let about = |subject: String| Raw {
        headers: [("cloudEvents_subject".to_owned(), subject)].into(),
        ..with_wishes("")
    };
    // One, two and four bytes each.
    for letter in ["x", "ü", "🦀"] {
        let most = TEXT_MAX_CHARS.min(TEXT_MAX_BYTES / letter.len());
        admit(&about(letter.repeat(most))).expect(letter);
        let why = (Reason::MalformedEnvelope, Some("/subject".to_owned()));
        assert_eq!(refused(letter, &about(letter.repeat(most + 1))), why);
    }
}

#[test]
fn a_key_is_there_once_however_many_there_are() {
    let keys = |n: usize| (0..n).map(|i| format!(r#""k{i}":"v""#)).collect::<Vec<_>>().join(",");
    for n in [1, 15, 16, 17, 18, 40] {
        admit(&with_wishes(&keys(n))).expect("each is another");
        for again in [0, n / 2, n - 1] {
            let twice = format!(r#"{},"k{again}":"w""#, keys(n));
            let why = (Reason::MalformedJson, Some(format!("/wishes/k{again}")));
            assert_eq!(refused(&twice, &with_wishes(&twice)), why, "of {n}");
        }
    }
}

#[test]
fn a_control_character_is_found_in_whatever_company() {
    // Escaped, DEL, and C1; with none, one and two like it elsewhere.
    for (control, harmless) in [(r"\u0000", r"\\"), ("\u{7f}", "x"), ("\u{80}", "\u{a0}")] {
        for before in 0..3 {
            let text = format!(r#""a":"{}{control}""#, harmless.repeat(before));
            let why = (Reason::MalformedJson, Some("/wishes/a".to_owned()));
            assert_eq!(refused(control, &with_wishes(&text)), why, "{text:?}");
        }
        let twice = format!(r#""a":"{control}{control}""#);
        assert_eq!(refused(control, &with_wishes(&twice)).0, Reason::MalformedJson, "{twice:?}");
        let in_key = format!(r#""{control}":"x""#);
        let why = (Reason::MalformedJson, Some("/wishes/\u{fffd}".to_owned()));
        assert_eq!(refused(control, &with_wishes(&in_key)), why);
        admit(&with_wishes(&format!(r#""{harmless}":"{harmless}{harmless}""#))).expect(harmless);
    }
}

#[test]
fn a_name_is_suggested_up_to_a_third_of_it_away() {
    let suggested = |kind: &str| {
        let refusal = admit(&Raw { kind: Some(kind.to_owned()), ..with_wishes("") });
        let Refusal { reason, detail, .. } = refusal.expect_err(kind);
        assert_eq!(reason, Reason::UnknownType, "{kind}");
        detail.ends_with("; did you mean meal.ordered.v1?")
    };
    // Fifteen letters: five may be missing, too many, or others, at the beginning or in the middle.
    for near in [
        "ordered.v1",
        "meal.or.v1",
        "four.meal.ordered.v1",
        "meal.oneordered.v1",
        "meal.reordered.v1",
        "MEAL.Ordered.v1",
        "meal.ORDERed.v1",
        "emal.ordred.v1",
    ] {
        assert!(suggested(near), "{near}");
    }
    for far in [
        "rdered.v1",
        "meal.o.v1",
        "seven.meal.ordered.v1",
        "meal.orderxxxxxxed.v1",
        "MEAL.ORdered.v1",
        "meal.ORDEREd.v1",
    ] {
        assert!(!suggested(far), "{far}");
    }
}
