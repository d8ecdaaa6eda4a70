//! The names of an enum's variants, as its derived `Deserialize` lists them.
use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The names of an enum's variants, in the order declared; nothing if `T` is not an enum.
///
/// ```
/// #[derive(serde::Deserialize)]
/// enum Door {
///     Open,
///     Locked { by: String },
/// }
/// assert_eq!(quadrille_check::variants::<Door>(), ["Open", "Locked"]);
/// ```
pub fn variants<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    let nothing: Result<T, Error> = T::deserialize(Listener(&mut found));
    drop(nothing);
    found
}

/// Gives no value; it only listens for what the type says about itself.
struct Listener<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = variants;
        Err(Error::custom("only the names were wanted"))
    }
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not an enum"))
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
