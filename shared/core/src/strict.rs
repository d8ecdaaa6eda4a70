//! Reading what strangers wrote: serde is too kind in one place, and this is where it is not.
use crate::{Event, Undecoded};
use core::fmt;
use core::marker::PhantomData;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Reads a struct from an object only. Left alone, serde also takes an array by position.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    from.deserialize_map(Object(PhantomData))
}

/// Reads and validates one event of a known name and version.
pub fn event<'de, E: Event, D: Deserializer<'de>>(from: D) -> Result<E, Undecoded<D::Error>> {
    let event: E = object(from).map_err(Undecoded::Body)?;
    event.validate().map_err(Undecoded::Invalid)?;
    Ok(event)
}
