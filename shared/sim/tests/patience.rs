//! A message that came too early waits for its entity, and no longer than it may.
use quadrille_core::prelude::*;
use quadrille_runtime::message::Raw;
use quadrille_sim::{ModelBroker, Participant, Plan, Processes, World, play};
use std::sync::Arc;

events! {
    from Origin::Command, about door: u32;
    pub Open = "door.open" {}
    pub Close = "door.close" {}
}
messages! { pub enum Consumes by u32 { Open, Close } }

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Door {
    #[default]
    Unseen,
    Opened,
    Closed,
}

impl Machine for Door {
    const NAME: &'static str = "door";
    type Consumes = Consumes;
    type Publishes = NoMessages;
    type Requests = NoMessages;

    fn ended(&self) -> bool {
        *self == Self::Closed
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: Consumes, _: &Cx) -> Transition<Self> {
        match (self, message) {
            (Self::Unseen, Consumes::Open(_)) => becomes(Self::Opened),
            (Self::Unseen, Consumes::Close(_)) => defer("it will be opened"),
            (Self::Opened, Consumes::Close(_)) => becomes(Self::Closed),
            _ => ignore("heard already"),
        }
    }
}

const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// Sends these keys, some minutes apart, and says what is parked an hour later, by reason.
fn parked_after(keys: &[(&str, u32)]) -> Vec<String> {
    let plan = Plan::calm(1);
    play(&plan, async |world: Arc<World>| {
        let processes = Processes::start(&world, &plan, &[Participant::of::<Door>()]);
        let outside = ModelBroker::new(&world.observer("door"));
        for (key, minutes) in keys {
            let raw = Raw { body: "{\"door\":1}".into(), ..Raw::default() };
            outside.send("quadrille.commands", key, raw).await;
            tokio::time::sleep(MINUTE * *minutes).await;
        }
        tokio::time::sleep(MINUTE * 60).await;
        let parked = world.parked().into_iter().map(|(_, row)| row.reason).collect();
        assert_eq!(world.at_rest(), Ok(()));
        processes.stop().await;
        assert_eq!(world.findings(), [""; 0]);
        parked
    })
}

#[test]
fn what_it_waited_for_takes_it_along() {
    assert_eq!(parked_after(&[("door.close.v1", 10), ("door.open.v1", 0)]), [""; 0]);
}

#[test]
fn a_message_that_waited_too_long_is_parked_once_and_waits_no_more() {
    assert_eq!(parked_after(&[("door.close.v1", 0)]), ["expired"]);
}
