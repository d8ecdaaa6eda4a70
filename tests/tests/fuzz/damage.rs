//! Small damage to good inputs, in their bytes or in their meaning.
use fastrand::Rng;
use serde_json::{Map, Value, json};

/// What has broken readers before.
const PIECES: [&[u8]; 34] = [
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"0",
    b"-0",
    b"-1",
    b"1e400",
    b"1.5",
    b"NaN",
    b"9223372036854775808",
    b"18446744073709551616",
    b"4294967296",
    b"\\u0000",
    b"\\ud800",
    b"\\u202e",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\x1b[31m",
    b"{\"",
    b"\":",
    b",",
    b"[[[[[[[[",
    b"}}}}",
    b"__proto__",
    b"\"a\":1,\"a\":2",
    b"../../etc",
    b"%00",
    b"\xe2\x80\xae",
];

/// Cuts, flips, repeats, or puts a nasty piece in, one to three times.
pub(super) fn bytes(rng: &mut Rng, good: &[u8]) -> Vec<u8> {
    let mut all = good.to_vec();
    for _ in 0..rng.usize(1..=3) {
        let at = rng.usize(0..=all.len());
        let end = (at + rng.usize(0..=12)).min(all.len());
        match rng.u8(0..6) {
            0 => all.truncate(at),
            1 if at < all.len() => all[at] ^= 1 << rng.u8(0..8),
            2 => drop(all.drain(at..end)),
            3 => {
                let again = all[at..end].to_vec();
                all.splice(at..at, again);
            }
            4 if at < all.len() => all[at] = rng.u8(..),
            _ => {
                let piece = PIECES[rng.usize(0..PIECES.len())];
                all.splice(at..at, piece.iter().copied());
            }
        }
    }
    all
}

pub(super) fn text(rng: &mut Rng, good: &str) -> String {
    if rng.u8(0..8) == 0 {
        return "x".repeat(rng.usize(0..600));
    }
    String::from_utf8_lossy(&bytes(rng, good.as_bytes())).into_owned()
}

/// Changes one place of a JSON text to something else that is JSON.
pub(super) fn json(rng: &mut Rng, good: &[u8]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(good) else {
        return bytes(rng, good); // damaged before
    };
    let mut pointers = Vec::new();
    collect(&value, String::new(), &mut pointers);
    let pointer = &pointers[rng.usize(0..pointers.len())];
    let place = value.pointer_mut(pointer).expect("it was found there");
    *place = other(rng, place);
    serde_json::to_vec(&value).expect("JSON")
}

fn collect(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(field, format!("{at}/{name}"), all);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                collect(item, format!("{at}/{n}"), all);
            }
        }
        _ => {}
    }
    all.push(at);
}

fn other(rng: &mut Rng, old: &Value) -> Value {
    match (rng.u8(0..7), old) {
        (0, Value::Number(_)) => json!(rng.i64(..)),
        (1, Value::Number(n)) => json!(n.as_i64().unwrap_or(0).wrapping_add(rng.i64(-2..=2))),
        (0..=2, Value::String(good)) => json!(text(rng, good)),
        (0, Value::Object(fields)) => {
            let mut fields: Map<_, _> = fields.clone();
            if let Some(name) = fields.keys().nth(rng.usize(0..=fields.len())).cloned() {
                fields.remove(&name);
            }
            Value::Object(fields)
        }
        (1, Value::Object(fields)) => {
            let mut fields = fields.clone();
            fields.insert(text(rng, "more"), json!(rng.i32(..)));
            Value::Object(fields)
        }
        // A struct is no array, although some readers take one for the other.
        (2, Value::Object(fields)) => fields.values().cloned().collect(),
        (3, old) => json!([old]),
        (4, _) => Value::Null,
        (5, _) => json!(rng.bool()),
        _ => json!(text(rng, "text")),
    }
}
