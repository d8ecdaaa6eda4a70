//! One message, and closed lists of them.
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::{Debug, Display};
use core::hash::Hash;
use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize, Serializer};

/// Who says a message, and so where to listen for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A service publishes it to its own exchange.
    Service(&'static str),
    /// Anybody outside sends it to the exchange for commands.
    Command,
    /// A timer of the service itself, or a request to an adapter, or its answer: it never leaves.
    Internal,
}

/// One fact or command: a struct with a wire name. Written with [`events!`](crate::events).
pub trait Event:
    Clone + Debug + Eq + Ord + Hash + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Wire name, such as `payment.captured`. Never changes once released.
    const NAME: &'static str;
    /// Major version: grows only when old readers could not understand the new form.
    const VERSION: u16;
    const ORIGIN: Origin;
    /// True if parties that we do not know hear it: then it always travels alone, as they expect.
    const HEARD_OUTSIDE: bool;
    /// What it is about; a service finds its entity by it.
    type Subject: Clone + Debug + Display;

    fn subject(&self) -> Self::Subject;

    /// What the types of the fields cannot say, such as that a sum is right.
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }

    /// A typical one, for documents and golden files.
    fn example() -> Self;
}

/// A field that breaks a rule that its type alone cannot check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// JSON pointer, such as `/total`.
    pub pointer: &'static str,
    pub why: String,
}

/// A typical value of a field's type.
pub trait Example {
    fn example() -> Self;
}
macro_rules! examples {
    ($($type:ty: $value:expr),+ $(,)?) => {
        $(impl Example for $type {
            fn example() -> Self {
                $value
            }
        })+
    };
}
examples! { bool: true, u32: 3, u64: 3, i64: 3, String: "text".into() }
impl<T: Example> Example for Option<T> {
    fn example() -> Self {
        Some(T::example())
    }
}

/// What is known of a message from its type alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub name: &'static str,
    pub version: u16,
    pub origin: Origin,
    pub heard_outside: bool,
}
impl Descriptor {
    pub const fn of<E: Event>() -> Self {
        Self {
            name: E::NAME,
            version: E::VERSION,
            origin: E::ORIGIN,
            heard_outside: E::HEARD_OUTSIDE,
        }
    }
}

/// Why bytes did not become one of the listed messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undecoded<E> {
    /// No message of that name is in the list.
    UnknownName,
    /// The name is listed, but not in this version.
    UnknownVersion { known: u16 },
    /// The body is not what the name promises.
    Body(E),
    /// The body has the right form, and says something that cannot be.
    Invalid(Invalid),
}

/// A closed list of messages: what a service consumes, or publishes. Written with [`messages!`](crate::messages).
pub trait Messages: Clone + Debug + Eq + Ord + Hash + Send + Sync + 'static {
    const LIST: &'static [Descriptor];

    fn descriptor(&self) -> &'static Descriptor;
    /// What it is about, as text.
    fn subject(&self) -> String;
    /// Reads the body of a message known by name and version.
    fn decode<'de, D: Deserializer<'de>>(
        name: &str,
        version: u16,
        from: D,
    ) -> Result<Self, Undecoded<D::Error>>;
    /// Writes the body.
    fn encode<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;
    /// The in-memory stand-in for the wire, for the checker: the bare event, whatever list it is in.
    fn from_any(event: &dyn Any) -> Option<Self>;
    fn into_any(self) -> Arc<dyn Any + Send + Sync>;
    /// One example of each.
    fn examples() -> Vec<Self>;

    fn name(&self) -> &'static str {
        self.descriptor().name
    }
}

/// A list whose messages all lead to an entity: what a service consumes.
pub trait Keyed: Messages {
    type Key: Clone + Debug + Display + Eq + Ord + Hash + Send + Sync + 'static;

    fn key(&self) -> Self::Key;
}

/// The empty list: a service without an adapter requests nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoMessages {}

impl Messages for NoMessages {
    const LIST: &'static [Descriptor] = &[];

    fn descriptor(&self) -> &'static Descriptor {
        match *self {}
    }
    fn subject(&self) -> String {
        match *self {}
    }
    fn decode<'de, D: Deserializer<'de>>(
        _: &str,
        _: u16,
        _: D,
    ) -> Result<Self, Undecoded<D::Error>> {
        Err(Undecoded::UnknownName)
    }
    fn encode<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
    fn from_any(_: &dyn Any) -> Option<Self> {
        None
    }
    fn into_any(self) -> Arc<dyn Any + Send + Sync> {
        match self {}
    }
    fn examples() -> Vec<Self> {
        Vec::new()
    }
}

/// Declares messages as structs: one block for each publisher and kind of subject.
///
/// A message is of version 1 unless it says otherwise. `if function` behind the fields validates
/// what their types cannot.
///
/// ```
/// use quadrille_core::prelude::*;
/// events! {
///     from Origin::Service("kitchen"), about table: u32;
///     /// The meal is on its way.
///     pub MealServed = "meal.served" { courses: u32 }
///     /// The table is free again.
///     pub TableCleared = "table.cleared" version 2 heard outside {}
/// }
/// assert_eq!(MealServed { table: 7, courses: 2 }.subject(), 7);
/// ```
#[macro_export]
macro_rules! events {
    (from $origin:expr, about $key:ident: $id:ty; $(
        $(#[$meta:meta])* pub $name:ident = $wire:literal $(version $version:literal)?
        $(heard $outside:ident)?
        { $($(#[$field_meta:meta])* $field:ident: $ty:ty),* $(,)? } $(if $validate:path)?
    )*) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        $(#[$meta])*
        pub struct $name { pub $key: $id, $($(#[$field_meta])* pub $field: $ty),* }

        impl $crate::Event for $name {
            const NAME: &'static str = $wire;
            const VERSION: u16 = $crate::version!($($version)?);
            const ORIGIN: $crate::Origin = $origin;
            const HEARD_OUTSIDE: bool = $crate::heard!($($outside)?);
            type Subject = $id;
            fn subject(&self) -> $id { self.$key.clone() }
            $(fn validate(&self) -> ::core::result::Result<(), $crate::Invalid> {
                $validate(self)
            })?
            fn example() -> Self {
                Self {
                    $key: $crate::Example::example(),
                    $($field: $crate::Example::example()),*
                }
            }
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! version {
    () => {
        1
    };
    ($version:literal) => {
        $version
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! heard {
    () => {
        false
    };
    (outside) => {
        true
    };
}

/// Declares a closed list of events as an enum with one variant per event.
///
/// `by KEY` makes it a list to consume: each event's subject is converted into the key.
#[macro_export]
macro_rules! messages {
    ($(#[$meta:meta])* $vis:vis enum $list:ident by $key:ty { $($event:ident),+ $(,)? }) => {
        $crate::messages! { $(#[$meta])* $vis enum $list { $($event),+ } }

        impl $crate::Keyed for $list {
            type Key = $key;
            fn key(&self) -> $key {
                match self { $($list::$event(event) => $crate::Event::subject(event).into()),+ }
            }
        }
    };
    ($(#[$meta:meta])* $vis:vis enum $list:ident { $($event:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $list { $(#[allow(missing_docs)] $event($event)),+ }

        $(impl From<$event> for $list {
            fn from(event: $event) -> Self { $list::$event(event) }
        })+

        impl $crate::Messages for $list {
            const LIST: &'static [$crate::Descriptor] = &[$($crate::Descriptor::of::<$event>()),+];

            fn descriptor(&self) -> &'static $crate::Descriptor {
                match self {
                    $($list::$event(_) => const { &$crate::Descriptor::of::<$event>() }),+
                }
            }
            fn subject(&self) -> $crate::__private::String {
                use $crate::__private::ToString;
                match self { $($list::$event(event) => $crate::Event::subject(event).to_string()),+ }
            }
            fn decode<'de, D: $crate::__private::serde::Deserializer<'de>>(
                name: &str,
                version: u16,
                from: D,
            ) -> ::core::result::Result<Self, $crate::Undecoded<D::Error>> {
                $(if (name, version)
                    == (<$event as $crate::Event>::NAME, <$event as $crate::Event>::VERSION)
                {
                    return $crate::strict::event::<$event, D>(from).map(Self::$event);
                })+
                $(if name == <$event as $crate::Event>::NAME {
                    let known = <$event as $crate::Event>::VERSION;
                    return Err($crate::Undecoded::UnknownVersion { known });
                })+
                Err($crate::Undecoded::UnknownName)
            }
            fn encode<S: $crate::__private::serde::Serializer>(
                &self,
                to: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                use $crate::__private::serde::Serialize;
                match self { $($list::$event(event) => event.serialize(to)),+ }
            }
            fn from_any(event: &dyn ::core::any::Any) -> Option<Self> {
                $(if let Some(event) = event.downcast_ref::<$event>() {
                    return Some($list::$event(event.clone()));
                })+
                None
            }
            fn into_any(self) -> $crate::__private::Arc<dyn ::core::any::Any + Send + Sync> {
                match self { $($list::$event(event) => $crate::__private::Arc::new(event)),+ }
            }
            fn examples() -> $crate::__private::Vec<Self> {
                $crate::__private::Vec::from([
                    $($list::$event(<$event as $crate::Event>::example())),+
                ])
            }
        }
    };
}
