//! What was done must be undone if the whole fails: each effect names what takes it back.
use quadrille_core::Event;

/// Something that one message does, and others take back or turn into something else.
///
/// ```
/// use quadrille_check::Effect;
/// use quadrille_core::prelude::*;
/// events! {
///     from Origin::Service("hotel"), about trip: u32;
///     pub RoomBooked = "room.booked" {}
///     pub RoomGivenBack = "room.given_back" {}
///     pub RoomUsed = "room.used" {}
/// }
/// let room = Effect::of::<RoomBooked>().undone_by::<RoomGivenBack>().becomes::<RoomUsed>();
/// assert_eq!(room.undone_by, ["room.given_back"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Saying this does it, to the message's subject.
    pub done_by: &'static str,
    /// Saying any of these takes it back.
    pub undone_by: Vec<&'static str>,
    /// Saying any of these makes something else of it, which is an effect of its own.
    pub becomes: Vec<&'static str>,
}

impl Effect {
    /// One that nothing takes back, unless the next calls say so.
    pub fn of<E: Event>() -> Self {
        Self { done_by: E::NAME, undone_by: Vec::new(), becomes: Vec::new() }
    }
    pub fn undone_by<E: Event>(mut self) -> Self {
        self.undone_by.push(E::NAME);
        self
    }
    pub fn becomes<E: Event>(mut self) -> Self {
        self.becomes.push(E::NAME);
        self
    }
    /// True if nothing takes it back: it must never be done about what fails.
    pub fn is_final(&self) -> bool {
        self.undone_by.is_empty()
    }
    pub(crate) fn is_ended_by(&self, name: &str) -> bool {
        self.undone_by.iter().chain(&self.becomes).any(|end| *end == name)
    }
}
