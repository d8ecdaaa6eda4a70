//! One pass over a JSON body before it is read into a type: what two readers, or two stores, could
//! take differently.
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// Up to so many keys are compared one by one, which is faster than hashing; more are an attack or
/// a map.
const COMPARED_KEYS_MAX: usize = 16;

/// What is wrong though it is JSON, and where.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) pointer: String,
    pub(super) what: &'static str,
}

/// Why a body did not pass.
#[derive(Debug)]
pub(super) enum Unfit {
    Flawed(Flaw),
    NotJson(serde_json::Error),
}

/// Refuses duplicate keys (the last one would win, silently), NUL and other control characters
/// (PostgreSQL takes no NUL, logs and terminals take the others at their word), more than 128
/// levels, and bytes after the end.
pub(super) fn pass(body: &str) -> Result<(), Unfit> {
    let mut notes = Notes { suspect: may_have_control(body), ..Notes::default() };
    let mut json = serde_json::Deserializer::from_str(body);
    let whole = Value { notes: &mut notes, path: &Path::Root };
    let passed = whole.deserialize(&mut json).and_then(|()| json.end());
    match (passed, notes.flaw) {
        (_, Some(flaw)) => Err(Unfit::Flawed(flaw)),
        (Err(error), None) => Err(Unfit::NotJson(error)),
        (Ok(()), None) => Ok(()),
    }
}

/// What the pass remembers on its way.
#[derive(Default)]
struct Notes<'de> {
    /// The first keys of all objects that are open, innermost last: one allocation a pass, not one
    /// an object.
    keys: Vec<Cow<'de, str>>,
    /// False if no text can have a control character in it.
    suspect: bool,
    flaw: Option<Flaw>,
}

/// Where we are: written out only when something is wrong there.
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(parent, key) => {
                let mut pointer = parent.pointer();
                super::step(&mut pointer, key);
                pointer
            }
            Self::Index(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}

struct Value<'a, 'de> {
    notes: &'a mut Notes<'de>,
    path: &'a Path<'a>,
}

impl Value<'_, '_> {
    /// Serde's errors are text: what we found is put aside, and the error only ends the pass.
    fn flawed<E: Error>(self, what: &'static str) -> E {
        self.notes.flaw = Some(Flaw { pointer: self.path.pointer(), what });
        E::custom(what)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.notes.suspect && text.contains(char::is_control) {
            return Err(self.flawed("a control character in a text"));
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let path = Path::Index(self.path, index);
            if seq.next_element_seed(Value { notes: self.notes, path: &path })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let opened = self.notes.keys.len();
        let mut more = HashSet::new();
        while let Some(key) = map.next_key_seed(Key)? {
            let few = &self.notes.keys[opened..];
            let twice = few.contains(&key) || (!more.is_empty() && more.contains(&key));
            if few.len() < COMPARED_KEYS_MAX {
                self.notes.keys.push(key.clone());
            } else {
                more.insert(key.clone());
            }
            let path = Path::Key(self.path, &key);
            let value = Value { notes: self.notes, path: &path };
            if value.notes.suspect && key.contains(char::is_control) {
                return Err(value.flawed("a control character in a key"));
            }
            if twice {
                return Err(value.flawed("the key is there twice"));
            }
            map.next_value_seed(value)?;
        }
        self.notes.keys.truncate(opened);
        Ok(())
    }
}

/// Control characters are C0, DEL and C1. A bare C0 in a text is no JSON, so what remains is an
/// escape, DEL itself, or C1, which begins with 0xC2 in UTF-8: most bodies have none of the three
/// and are not searched text by text.
fn may_have_control(body: &str) -> bool {
    body.bytes().fold(false, |any, b| any | (b == b'\\') | (b == 0x7f) | (b == 0xc2))
}

/// A key as it means, whatever its escapes; borrowed if it has none.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
