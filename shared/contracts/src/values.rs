//! The types of the fields: whatever exists here is valid, so nobody behind the border checks again.
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use quadrille_core::Example;
use quadrille_core::strict::object;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// An order's id, chosen by whoever places it: not guessable, so nobody can cancel what is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub Uuid);
impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl Example for OrderId {
    fn example() -> Self {
        Self(Uuid::from_u128(0x0190_a5c3_4d5e_7f60_8a9b_c0d1_e2f3_0415))
    }
}

/// Declares text types that cannot be empty, too long, or hold what must never be printed.
macro_rules! texts {
    ($($(#[$meta:meta])* $name:ident: $max:literal, $example:literal;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);
        impl $name {
            /// Refuses empty text, more characters than the type allows, and control characters.
            pub fn new(text: &str) -> Result<Self, String> {
                check_text(text, $max).map(|()| Self(text.to_owned()))
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                check_text(&text, $max).map_err(D::Error::custom)?;
                Ok(Self(text))
            }
        }
        impl Example for $name {
            fn example() -> Self {
                Self($example.to_owned())
            }
        }
    )*};
}

texts! {
    /// Who orders.
    CustomerId: 64, "c-204";
    /// A kind of goods.
    Sku: 40, "TEA-250";
    /// The number of a delivery note.
    Receipt: 64, "DN-2026-0811";
    /// What the payment provider gave for a card; not the card's number.
    PaymentToken: 64, "tok_visa";
    /// How the payment provider calls a payment.
    ProviderReference: 64, "pi_3Nf8Qe2eZvKYlo2C";
    /// How the carrier calls a parcel.
    Tracking: 64, "00340434161094042557";
    /// One line of an address.
    AddressLine: 120, "12 Dance Hall Lane";
}

fn check_text(text: &str, max_chars: usize) -> Result<(), String> {
    match text.chars().count() {
        0 => Err("must not be empty".to_owned()),
        n if n > max_chars => Err(format!("has {n} characters, {max_chars} are allowed")),
        _ if text.chars().any(char::is_control) => Err("must not hold control characters".into()),
        _ => Ok(()),
    }
}

/// Some goods: 1 to a million units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Units(u32);
impl Units {
    pub const MAX: u32 = 1_000_000;

    pub fn new(units: u32) -> Result<Self, String> {
        match units {
            1..=Self::MAX => Ok(Self(units)),
            _ => Err(format!("must be from 1 to {} units", Self::MAX)),
        }
    }
    pub fn get(self) -> u32 {
        self.0
    }
}
impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(u32::deserialize(from)?).map_err(D::Error::custom)
    }
}
impl Example for Units {
    fn example() -> Self {
        Self(2)
    }
}

/// A currency by its ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);
impl Currency {
    const KNOWN: &[u8] = b"AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF \
        IDR ILS INR ISK JPY KES KRW KWD MAD MXN MYR NGN NOK NZD PEN PHP PKR PLN QAR RON RSD SAR \
        SEK SGD THB TND TRY TWD UAH USD UYU VND ZAR ";

    pub fn new(code: &str) -> Result<Self, String> {
        let known = |code: &[u8]| Self::KNOWN.chunks(4).any(|known| known[..3] == *code);
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(bytes) if known(&bytes) => Ok(Self(bytes)),
            _ => Err("is not a currency that is known here, such as EUR".to_owned()),
        }
    }
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).expect("made from known codes, which are ASCII")
    }
}
impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// More than nothing, in the smallest unit of its currency, at most 10^12 of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Money {
    minor: u64,
    currency: Currency,
}
impl Money {
    pub const MAX_MINOR: u64 = 1_000_000_000_000;

    pub fn new(minor: u64, currency: Currency) -> Result<Self, String> {
        match minor {
            1..=Self::MAX_MINOR => Ok(Self { minor, currency }),
            _ => Err(format!("minor must be from 1 to {}", Self::MAX_MINOR)),
        }
    }
    pub fn minor(&self) -> u64 {
        self.minor
    }
    pub fn currency(&self) -> Currency {
        self.currency
    }
}
impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            minor: u64,
            currency: Currency,
        }
        let Fields { minor, currency } = object(from)?;
        Self::new(minor, currency).map_err(D::Error::custom)
    }
}
impl fmt::Display for Money {
    /// In the smallest unit, as we do not know how many digits each currency has.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} (minor)", self.minor, self.currency.as_str())
    }
}
impl Example for Money {
    fn example() -> Self {
        Self { minor: 2_500, currency: Currency(*b"EUR") }
    }
}

/// How many units of one SKU, and what each costs in the currency of the order's total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Line {
    pub units: Units,
    pub price_minor: u32,
}
impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            units: Units,
            price_minor: u32,
        }
        let Fields { units, price_minor } = object(from)?;
        Ok(Self { units, price_minor })
    }
}

/// What is ordered: 1 to 100 SKUs. A map, so that no SKU can be listed twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Lines(BTreeMap<Sku, Line>);
impl Lines {
    pub const MAX: usize = 100;

    pub fn new(lines: BTreeMap<Sku, Line>) -> Result<Self, String> {
        match lines.len() {
            1..=Self::MAX => Ok(Self(lines)),
            n => Err(format!("has {n} SKUs, 1 to {} are allowed", Self::MAX)),
        }
    }
    pub fn iter(&self) -> impl Iterator<Item = (&Sku, &Line)> {
        self.0.iter()
    }
    /// None if it is more than can be counted.
    pub fn total_minor(&self) -> Option<u64> {
        self.0.values().try_fold(0_u64, |sum, line| {
            sum.checked_add(u64::from(line.units.get()) * u64::from(line.price_minor))
        })
    }
}
impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = BTreeMap<Sku, Line>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object from SKU to line")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut lines = BTreeMap::new();
                while let Some((sku, line)) = map.next_entry::<Sku, Line>()? {
                    if lines.len() == Lines::MAX {
                        return Err(M::Error::custom("has more than 100 SKUs"));
                    }
                    let name = sku.to_string();
                    if lines.insert(sku, line).is_some() {
                        return Err(M::Error::custom(format!("lists {name} twice")));
                    }
                }
                Ok(lines)
            }
        }
        Self::new(from.deserialize_map(Unique)?).map_err(D::Error::custom)
    }
}
impl Example for Lines {
    fn example() -> Self {
        let line = Line { units: Units(2), price_minor: 1_250 };
        Self(BTreeMap::from([(Sku::example(), line)]))
    }
}

/// Where a parcel goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Address {
    pub name: AddressLine,
    pub street: AddressLine,
    pub postcode: AddressLine,
    pub city: AddressLine,
    pub country: AddressLine,
}
impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            name: AddressLine,
            street: AddressLine,
            postcode: AddressLine,
            city: AddressLine,
            country: AddressLine,
        }
        let Fields { name, street, postcode, city, country } = object(from)?;
        Ok(Self { name, street, postcode, city, country })
    }
}
impl Example for Address {
    fn example() -> Self {
        let line = |text: &str| AddressLine(text.to_owned());
        Self {
            name: line("Ada Lovelace"),
            street: AddressLine::example(),
            postcode: line("12345"),
            city: line("Berlin"),
            country: line("DE"),
        }
    }
}
