//! A way to a fault as data: what is written today must still be read tomorrow.
use quadrille_check::{Choreography, Network, Rules, Schedule};
use quadrille_core::prelude::*;

events! {
    from Origin::Command, about lamp: u32;
    pub Press = "lamp.press" { hard: bool }
}
events! {
    from Origin::Internal, about lamp: u32;
    pub Dawn = "lamp.dawn" {}
    pub AskBulb = "bulb.ask" {}
    pub BulbGlows = "bulb.glows" {}
    pub BulbBreaks = "bulb.breaks" {}
}
messages! { pub enum Hears by u32 { Press, Dawn, BulbGlows, BulbBreaks } }
messages! { pub enum Asks { AskBulb } }
messages! { pub enum Answers { BulbGlows, BulbBreaks } }

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Lamp {
    #[default]
    Dark,
    Asked,
    Bright,
    Rested,
    PressedAgain,
}
impl Machine for Lamp {
    const NAME: &'static str = "lamp";
    type Consumes = Hears;
    type Publishes = NoMessages;
    type Requests = Asks;
    fn ended(&self) -> bool {
        false
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: Hears, _: &Cx) -> Transition<Self> {
        let lamp = message.key();
        match (message, self) {
            (Hears::Press(_), Self::Dark) => becomes(Self::Asked)
                .request(AskBulb { lamp })
                .schedule(Duration::from_secs(1), Dawn { lamp }),
            (Hears::BulbGlows(_), Self::Asked) => becomes(Self::Bright),
            (Hears::Dawn(_), Self::Bright) => becomes(Self::Rested),
            (Hears::Press(_), Self::Rested) => becomes(Self::PressedAgain),
            _ => ignore("nothing to do"),
        }
    }
}
#[derive(Debug)]
struct Bulb;
impl Adapter for Bulb {
    const NAME: &'static str = "bulb";
    type Requests = Asks;
    type Answers = Answers;
    fn outcomes(Asks::AskBulb(AskBulb { lamp }): &Asks) -> Vec<Answers> {
        let lamp = *lamp;
        vec![BulbGlows { lamp }.into(), BulbBreaks { lamp }.into()]
    }
}

const GOLDEN: &str = include_str!("schedule.json");

#[test]
fn a_schedule_is_written_as_it_was_reviewed_and_read_again() {
    let all = Choreography::default().with::<Lamp>().adapter::<Bulb>();
    let all = all.given(Press { lamp: 7, hard: true });
    let rules = Rules::default().always("a lamp is pressed once", |view| {
        view.entities::<Lamp>().values().all(|lamp| *lamp != Lamp::PressedAgain)
    });
    let network = Network::Twice { most: 1 };
    let report = all.explore(network, &rules);
    let (why, path) = report.faults.first_key_value().unwrap();
    let schedule = Schedule::new("lamp", &network.to_string(), why, path);
    let written = serde_json::to_string_pretty(&schedule).unwrap() + "\n";
    assert_eq!(written, GOLDEN);
    assert_eq!(serde_json::from_str::<Schedule>(GOLDEN).unwrap(), schedule);
}
