//! The carrier, as far as anybody else needs to know: what is asked, what it may answer.
use quadrille_contracts::*;
use quadrille_core::prelude::*;

events! {
    from Origin::Internal, about order: OrderId;

    /// Take this parcel.
    pub CarrierBook = "carrier.book" { ship_to: Address }
    /// It is taken.
    pub CarrierAccepted = "carrier.accepted" { tracking: Tracking }
    /// It is not, and will not be.
    pub CarrierRefused = "carrier.refused" {}
}

messages! { pub enum Requests { CarrierBook } }
messages! { pub enum Answers { CarrierAccepted, CarrierRefused } }

/// The carrier as the checker sees it.
#[derive(Debug)]
pub struct Carrier;

impl Adapter for Carrier {
    const NAME: &'static str = "carrier";
    type Requests = Requests;
    type Answers = Answers;

    fn outcomes(Requests::CarrierBook(CarrierBook { order, .. }): &Requests) -> Vec<Answers> {
        let (order, tracking) = (*order, Tracking::example());
        vec![CarrierAccepted { order, tracking }.into(), CarrierRefused { order }.into()]
    }
}
