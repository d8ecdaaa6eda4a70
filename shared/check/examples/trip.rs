//! Three services that a user might write, and the scenario that explores them: see
//! `docs/tutorial.md`.
//!
//! A trip needs a seat and a room. The airline may refuse the seat, and the traveller may change
//! their mind: then whatever was booked is given back.
use quadrille_check::{Choreography, Effect, Network, Report, Rules, sequence};
use quadrille_core::prelude::*;

events! {
    from Origin::Command, about trip: u32;
    pub PlanTrip = "trip.plan" {}
    pub CancelTrip = "trip.cancel" {}
}
events! {
    from Origin::Service("trip"), about trip: u32;
    pub TripPlanned = "trip.planned" {}
    pub TripCancelled = "trip.cancelled" {}
}
events! {
    from Origin::Service("flight"), about trip: u32;
    pub SeatBooked = "seat.booked" {}
    pub SeatRefused = "seat.refused" {}
    pub SeatGivenBack = "seat.given_back" {}
}
events! {
    from Origin::Service("hotel"), about trip: u32;
    pub RoomBooked = "room.booked" {}
    pub RoomGivenBack = "room.given_back" {}
}
events! {
    from Origin::Internal, about trip: u32;
    pub AskAirline = "airline.ask" {}
    pub AirlineAgrees = "airline.agrees" {}
    pub AirlineRefuses = "airline.refuses" {}
}

messages! { pub enum ToTrip by u32 {
    PlanTrip, CancelTrip, SeatBooked, SeatRefused, SeatGivenBack, RoomBooked, RoomGivenBack
} }
messages! { pub enum FromTrip { TripPlanned, TripCancelled } }
messages! { pub enum ToFlight by u32 { TripPlanned, TripCancelled, AirlineAgrees, AirlineRefuses } }
messages! { pub enum FromFlight { SeatBooked, SeatRefused, SeatGivenBack } }
messages! { pub enum ToHotel by u32 { TripPlanned, TripCancelled } }
messages! { pub enum FromHotel { RoomBooked, RoomGivenBack } }
messages! { pub enum ToAirline { AskAirline } }
messages! { pub enum FromAirline { AirlineAgrees, AirlineRefuses } }

/// Names a service of which no state lasts too long.
macro_rules! service {
    ($name:ident = $wire:literal, $consumes:ident -> $publishes:ident, asks $requests:ident,
        states $($state:ident),+; ends $($end:ident),+; $react:expr) => {
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize)]
        enum $name { #[default] Unseen, $($state),+ }
        impl Machine for $name {
            const NAME: &'static str = $wire;
            type Consumes = $consumes;
            type Publishes = $publishes;
            type Requests = $requests;
            fn ended(&self) -> bool { matches!(self, $(Self::$end)|+) }
            fn overdue_after(&self) -> Option<Duration> { None }
            fn react(&self, message: $consumes, _: &Cx) -> Transition<Self> {
                let trip = message.key();
                let react: fn(&Self, $consumes, u32) -> Transition<Self> = $react;
                react(self, message, trip)
            }
        }
    };
}
service! {
    Trip = "trip", ToTrip -> FromTrip, asks NoMessages,
    states Planned, SeatOnly, RoomOnly, Booked, Cancelling, SeatBack, RoomBack, Cancelled;
    ends Booked, Cancelled;
    |trip, message, id| match (message, trip) {
        (ToTrip::PlanTrip(_), Trip::Unseen) => {
            becomes(Trip::Planned).publish(TripPlanned { trip: id })
        }
        (ToTrip::SeatBooked(_), Trip::Planned) => becomes(Trip::SeatOnly),
        (ToTrip::SeatBooked(_), Trip::RoomOnly) => becomes(Trip::Booked),
        (ToTrip::RoomBooked(_), Trip::Planned) => becomes(Trip::RoomOnly),
        (ToTrip::RoomBooked(_), Trip::SeatOnly) => becomes(Trip::Booked),
        (ToTrip::SeatRefused(_), Trip::Planned | Trip::RoomOnly) => {
            becomes(Trip::SeatBack).publish(TripCancelled { trip: id })
        }
        (ToTrip::CancelTrip(_), Trip::Planned | Trip::SeatOnly | Trip::RoomOnly) => {
            becomes(Trip::Cancelling).publish(TripCancelled { trip: id })
        }
        (ToTrip::SeatGivenBack(_) | ToTrip::SeatRefused(_), Trip::Cancelling) => {
            becomes(Trip::SeatBack)
        }
        (ToTrip::RoomGivenBack(_), Trip::Cancelling) => becomes(Trip::RoomBack),
        (ToTrip::RoomGivenBack(_), Trip::SeatBack) => becomes(Trip::Cancelled),
        (ToTrip::SeatGivenBack(_) | ToTrip::SeatRefused(_), Trip::RoomBack) => {
            becomes(Trip::Cancelled)
        }
        (ToTrip::CancelTrip(_), Trip::Unseen) => defer("the plan is on its way"),
        _ => ignore("late"),
    }
}
service! {
    Flight = "flight", ToFlight -> FromFlight, asks ToAirline,
    states Asked, Withdrawn, Booked, Refused, GivenBack;
    ends Refused, GivenBack;
    |flight, message, trip| match (message, flight) {
        (ToFlight::TripPlanned(_), Flight::Unseen) => {
            becomes(Flight::Asked).request(AskAirline { trip })
        }
        (ToFlight::AirlineAgrees(_), Flight::Asked) => {
            becomes(Flight::Booked).publish(SeatBooked { trip })
        }
        (ToFlight::AirlineRefuses(_), Flight::Asked | Flight::Withdrawn) => {
            becomes(Flight::Refused).publish(SeatRefused { trip })
        }
        (ToFlight::TripCancelled(_), Flight::Asked) => becomes(Flight::Withdrawn),
        (ToFlight::AirlineAgrees(_), Flight::Withdrawn)
        | (ToFlight::TripCancelled(_), Flight::Booked | Flight::Unseen) => {
            becomes(Flight::GivenBack).publish(SeatGivenBack { trip })
        }
        _ => ignore("late"),
    }
}
service! {
    Hotel = "hotel", ToHotel -> FromHotel, asks NoMessages,
    states Booked, GivenBack; ends GivenBack;
    |hotel, message, trip| match (message, hotel) {
        (ToHotel::TripPlanned(_), Hotel::Unseen) => {
            becomes(Hotel::Booked).publish(RoomBooked { trip })
        }
        (ToHotel::TripCancelled(_), Hotel::Booked | Hotel::Unseen) => {
            becomes(Hotel::GivenBack).publish(RoomGivenBack { trip })
        }
        _ => ignore("late"),
    }
}
service! {
    Silent = "hotel", ToHotel -> FromHotel, asks NoMessages,
    states Booked, GivenBack; ends GivenBack;
    |hotel, message, trip| match (message, hotel) {
        (ToHotel::TripPlanned(_), Silent::Unseen) => {
            becomes(Silent::Booked).publish(RoomBooked { trip })
        }
        (ToHotel::TripCancelled(_), Silent::Booked | Silent::Unseen) => becomes(Silent::GivenBack),
        _ => ignore("late"),
    }
}
service! {
    Hasty = "hotel", ToHotel -> FromHotel, asks NoMessages,
    states Booked, GivenBack; ends GivenBack;
    |hotel, message, trip| match (message, hotel) {
        (ToHotel::TripPlanned(_), Hasty::Unseen) => {
            becomes(Hasty::Booked).publish(RoomBooked { trip })
        }
        (ToHotel::TripCancelled(_), Hasty::Booked) => {
            becomes(Hasty::GivenBack).publish(RoomGivenBack { trip })
        }
        _ => ignore("late"),
    }
}
#[derive(Debug)]
struct Airline;
impl Adapter for Airline {
    const NAME: &'static str = "airline";
    type Requests = ToAirline;
    type Answers = FromAirline;
    fn outcomes(ToAirline::AskAirline(AskAirline { trip }): &ToAirline) -> Vec<FromAirline> {
        let trip = *trip;
        vec![AirlineAgrees { trip }.into(), AirlineRefuses { trip }.into()]
    }
}

// The scenario.
fn explore<H: Service>() -> Report {
    let trips = Choreography::default()
        .with::<Trip>()
        .with::<Flight>()
        .with::<H>()
        .adapter::<Airline>()
        .given(PlanTrip { trip: 1 })
        .perhaps(CancelTrip { trip: 1 })
        .effects([
            Effect::of::<SeatBooked>().undone_by::<SeatGivenBack>(),
            Effect::of::<RoomBooked>().undone_by::<RoomGivenBack>(),
        ]);
    let rules = Rules::default()
        .undone_if(|view, trip| {
            let trip = trip.parse().ok().and_then(|trip: u32| view.entities::<Trip>().get(&trip));
            trip == Some(&Trip::Cancelled)
        })
        .at_rest("every trip ends", |view| view.entities::<Trip>().values().all(Machine::ended));
    trips.explore(Network::Once, &rules)
}
// End of the scenario.

/// Explores with the hotel that is asked for.
fn told(hotel: Option<&str>) -> String {
    let report = match hotel {
        Some("silent") => explore::<Silent>(),
        Some("hasty") => explore::<Hasty>(),
        _ => explore::<Hotel>(),
    };
    let mut text = format!("{} states, {} rests\n", report.states, report.rests);
    for (why, path) in &report.faults {
        text += &format!("{why}\n");
        path.iter().for_each(|step| text += &format!("    {step}\n"));
        text += &sequence(path);
    }
    text
}

fn main() {
    print!("{}", told(std::env::args().nth(1).as_deref()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trip_is_booked_or_given_back() {
        let report = explore::<Hotel>();
        assert!(report.faults.is_empty() && report.is_complete(), "{:#?}", report.faults);
        assert!(report.cycles_sought);
    }

    #[test]
    fn a_scenario_is_written_in_under_thirty_lines() {
        let text = include_str!("trip.rs");
        let from = text.find("// The scenario.").unwrap();
        let to = text.find("// End of the scenario.").unwrap();
        assert!(text[from..to].lines().count() < 30);
    }

    #[test]
    fn the_tutorial_shows_this_code_and_what_it_prints() {
        let tutorial = include_str!("../../../docs/tutorial.md");
        let code = include_str!("trip.rs");
        for (block, shown) in tutorial.split("```rust\n").skip(1).enumerate() {
            let shown = shown.split("```").next().unwrap();
            assert!(code.contains(shown), "block {block} is not in this file:\n{shown}");
        }
        for hotel in [None, Some("silent"), Some("hasty")] {
            let told = told(hotel);
            assert!(tutorial.contains(&told), "copy it into docs/tutorial.md:\n{told}");
        }
    }
}
