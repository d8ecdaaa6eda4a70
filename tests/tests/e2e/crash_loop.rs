//! A message that kills its process costs one message, not those that came with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quadrille_core::prelude::*;
use quadrille_runtime::config::{Config, Flags};
use quadrille_runtime::message::Raw;
use quadrille_runtime::platform::Platform;
use quadrille_runtime::sqlite::Sqlite;
use quadrille_runtime::store::{ParkedFilter, Store};
use quadrille_tests::keeper::Keeper;
use quadrille_tests::process::Program;
use quadrille_tests::rounds::rounds;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Set for the copy of this test binary that dies again and again: the folder with its data.
const VICTIM: &str = "VICTIM_DATA";

/// Guests, the deadly one among them.
const GUESTS: u32 = 40;

/// The guest that kills.
const DEADLY: u32 = 3;

/// One life, or what is left of it: a debug build on a busy machine needs seconds.
const LIFE: Duration = Duration::from_secs(30);

events! {
    from Origin::Command, about guest: u32;
    /// Somebody rings.
    pub GuestCame = "guest.came" {}
}
messages! { pub enum Consumes by u32 { GuestCame } }

/// Opens the door to everybody, and to one guest too many.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Door {
    #[default]
    Shut,
    Open,
}

impl Machine for Door {
    const NAME: &'static str = "door";
    type Consumes = Consumes;
    type Publishes = NoMessages;
    type Requests = NoMessages;

    fn ended(&self) -> bool {
        *self == Door::Open
    }

    fn overdue_after(&self) -> Option<Duration> {
        None
    }

    fn react(&self, Consumes::GuestCame(came): Consumes, _: &Cx) -> Transition<Self> {
        if came.guest == DEADLY {
            // As a stack overflow or the kernel's want of memory would: no panic to be caught.
            std::process::abort();
        }
        becomes(Door::Open)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_its_process_is_parked_alone() {
    if let Some(data) = std::env::var_os(VICTIM) {
        return live(Path::new(&data)).await;
    }
    for _ in 0..rounds(10, 100) {
        killed_by_a_message().await;
    }
}

async fn killed_by_a_message() {
    let data = Keeper::new("crash-loop").unwrap();
    let this_test = std::env::current_exe().unwrap();
    let program = Program::new(this_test)
        .env(VICTIM, data.folder())
        .arg("--exact")
        .arg("--nocapture")
        .arg("crash_loop::a_message_that_kills_its_process_is_parked_alone");
    let (mut lives, began) = (1, Instant::now());
    while !program.start().unwrap().wait(LIFE).unwrap().success() {
        lives += 1;
        assert!(lives <= 8, "it still dies");
    }
    println!("settled after {lives} lives in {:?}", began.elapsed());
    let store = Sqlite::open_read_only(data.folder().join("door.sqlite")).unwrap();
    let parked = store.parked(&ParkedFilter { limit: 100, ..ParkedFilter::default() }).await;
    let parked = parked.unwrap();
    let bodies: Vec<_> = parked.iter().map(|row| row.raw.body.clone()).collect();
    assert_eq!(bodies, [json!({"guest": DEADLY}).to_string()], "{parked:?}");
    assert_eq!(parked[0].reason, "repeatedly_failed");
    assert_eq!(parked[0].detail, "each of 3 attempts ended with its process");
    let opened = store.entities("", "", 1_000).await.unwrap();
    let opened: BTreeSet<u32> = opened.iter().map(|row| row.key.parse().unwrap()).collect();
    assert_eq!(opened, (0..GUESTS).filter(|guest| *guest != DEADLY).collect());
}

/// One life of the victim: it ends by itself when nothing is left in the queue.
async fn live(data: &Path) {
    let vars = BTreeMap::from([("QUADRILLE_DATA".to_owned(), data.display().to_string())]);
    let config = Config::from_vars(&Flags::default(), vars).unwrap();
    let platform = Arc::new(Platform::open(config, "victim").await.unwrap());
    let store = platform.store("door").await.unwrap();
    let stop = CancellationToken::new();
    let first = store.census().await.unwrap().last_position == 0 && !data.join("rung").exists();
    let local = platform.local().unwrap();
    if first {
        let topology = quadrille_runtime::intake::topology::<Door>();
        platform.broker().declare(&topology).await.unwrap();
        for guest in 0..GUESTS {
            let raw = Raw { body: json!({"guest": guest}).to_string().into(), ..Raw::default() };
            local.publish_raw("quadrille.commands", "guest.came.v1", raw).await.unwrap();
        }
        std::fs::write(data.join("rung"), "").unwrap();
    }
    let (running, own, stopping) = (platform.clone(), store.clone(), stop.clone());
    let dancing = tokio::spawn(async move { running.run::<Door>(own, None, stopping).await });
    let until = Instant::now() + LIFE / 2;
    loop {
        let census = store.census().await.unwrap();
        let settled = census.last_position + census.parked;
        if settled == u64::from(GUESTS) {
            break;
        }
        assert!(Instant::now() < until, "{census:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    dancing.await.unwrap().unwrap();
    platform.close().await;
}
