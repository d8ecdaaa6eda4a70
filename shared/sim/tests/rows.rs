//! What lies in rows of a service and cannot be used there: parked once, and tried again when
//! somebody says so.
#![allow(clippy::unwrap_used)]
use quadrille_core::prelude::*;
use quadrille_runtime::message::{Message, Raw};
use quadrille_runtime::store::{
    Changes, DeferredRow, InboxRow, ParkedFilter, ParkedRow, Store, TimerRow,
};
use quadrille_sim::{ModelBroker, ModelStore, Participant, Plan, Processes, World, play};
use std::sync::Arc;
use uuid::Uuid;

events! {
    from Origin::Command, about door: u32;
    pub Open = "door.open" {}
    pub Mend = "door.mend" {}
}
events! {
    from Origin::Internal, about door: u32;
    /// It falls shut by itself.
    pub Fall = "door.fall" {}
}
messages! { pub enum Consumes by u32 { Open, Mend, Fall } }

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Door {
    #[default]
    Unseen,
    Jammed,
    Opened,
    Closed,
}

const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

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
            (Self::Unseen, Consumes::Open(open)) => {
                becomes(Self::Jammed).schedule(MINUTE, Fall { door: open.door })
            }
            (Self::Jammed, Consumes::Mend(_)) => becomes(Self::Opened),
            (Self::Jammed, Consumes::Fall(_)) => reject("it is jammed"),
            (Self::Opened, Consumes::Fall(_)) => becomes(Self::Closed),
            _ => ignore("heard already"),
        }
    }
}

/// One door, its service, and who sends to it and looks at it.
struct Setting {
    world: Arc<World>,
    outside: ModelBroker,
    store: ModelStore,
}

impl Setting {
    async fn send(&self, key: &str, raw: Raw) {
        let raw = Raw { body: "{\"door\":1}".into(), ..raw };
        self.outside.send("quadrille.commands", key, raw).await;
    }

    async fn parked(&self, status: &str) -> Vec<ParkedRow> {
        let status = Some(status.to_owned());
        let filter = ParkedFilter { status, limit: 9, ..ParkedFilter::default() };
        self.store.parked(&filter).await.unwrap()
    }

    async fn redrive(&self, row: &ParkedRow) {
        self.store.decide_parked(&[row.id], "redriving", "kim", "mended").await.unwrap();
        tokio::time::sleep(MINUTE).await;
    }

    async fn state(&self) -> Door {
        let rows = self.store.entities("", "", 9).await.unwrap();
        rows.first().map_or(Door::Unseen, |row| serde_json::from_slice(&row.state).unwrap())
    }
}

fn played<T>(story: impl AsyncFnOnce(&Setting) -> T) -> T {
    let plan = Plan::calm(1);
    play(&plan, async |world: Arc<World>| {
        let processes = Processes::start(&world, &plan, &[Participant::of::<Door>()]);
        let outside = ModelBroker::new(&world.observer("door"));
        let store = ModelStore::new(&world.observer("door"));
        let setting = Setting { world, outside, store };
        let told = story(&setting).await;
        processes.stop().await;
        assert_eq!(setting.world.findings(), [""; 0]);
        told
    })
}

#[test]
fn a_timer_that_was_parked_is_tried_again_and_has_its_effect() {
    played(async |setting: &Setting| {
        setting.send("door.open.v1", Raw::default()).await;
        tokio::time::sleep(MINUTE * 2).await;
        let parked = setting.parked("parked").await;
        assert_eq!(parked.iter().map(|row| &*row.reason).collect::<Vec<_>>(), ["rejected"]);
        setting.send("door.mend.v1", Raw::default()).await;
        tokio::time::sleep(MINUTE).await;
        setting.redrive(&parked[0]).await;
        assert_eq!(setting.state().await, Door::Closed);
        assert_eq!(setting.parked("parked").await, []);
    });
}

#[test]
fn what_never_travels_is_not_believed_from_outside_however_often_it_is_tried() {
    played(async |setting: &Setting| {
        setting.send("door.open.v1", Raw::default()).await;
        setting.send("door.mend.v1", Raw::default()).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        // The type says what it is, whatever key it came by.
        let forged = Raw {
            kind: Some("door.fall.v1".to_owned()),
            message_id: Some("forged".to_owned()),
            ..Raw::default()
        };
        setting.send("door.open.v1", forged).await;
        for _ in 0..2 {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let parked = setting.parked("parked").await;
            let reasons: Vec<_> = parked.iter().map(|row| &*row.reason).collect();
            assert_eq!(reasons, ["wrong_publisher"]);
            assert_eq!(setting.state().await, Door::Opened);
            setting.store.decide_parked(&[parked[0].id], "redriving", "kim", "?").await.unwrap();
        }
    });
}

/// As an older version of the service finds rows that a newer one wrote, or rot left.
fn unreadable() -> Changes {
    let (timer, message) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let body = bytes::Bytes::from_static(b"{\"door\":\"front\"}");
    Changes {
        timers: vec![TimerRow {
            id: timer,
            entity: "1".to_owned(),
            name: "door.fall".to_owned(),
            version: 1,
            after_ms: 1_000,
            correlation: "c".to_owned(),
            traceparent: None,
            body: body.clone(),
        }],
        inbox: vec![InboxRow { id: message, hash: 7 }],
        deferred: vec![DeferredRow {
            entity: "1".to_owned(),
            message: Message {
                id: message,
                name: "door.mend".to_owned(),
                version: 1,
                source: "outside".to_owned(),
                subject: "1".to_owned(),
                correlation: "c".to_owned(),
                causation: None,
                time_ms: 0,
                position: None,
                traceparent: None,
                body,
                outside: false,
            },
            patience_ms: 1_000,
            why: "too early".to_owned(),
        }],
        ..Changes::default()
    }
}

#[test]
fn rows_that_nobody_can_read_are_parked_once_and_handed_out_no_more() {
    played(async |setting: &Setting| {
        let unit = setting.store.begin().await.unwrap();
        unit.commit(unreadable()).await.unwrap();
        // Many times the lease of what is handed out.
        tokio::time::sleep(MINUTE * 60).await;
        let parked = setting.parked("parked").await;
        let told: Vec<_> = parked.iter().map(|row| (row.name.as_deref(), &*row.reason)).collect();
        let (fall, mend) = (Some("door.fall"), Some("door.mend"));
        assert_eq!(told, [(fall, "malformed_body"), (mend, "malformed_body")]);
        assert_eq!(setting.world.at_rest(), Ok(()));
        // Tried again by who cannot read it either, it is parked again, and once.
        for row in &parked {
            setting.redrive(row).await;
        }
        assert_eq!(setting.parked("redriven").await.len(), 2);
        assert_eq!(setting.parked("parked").await.len(), 2);
    });
}
