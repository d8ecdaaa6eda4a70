//! What a conformance suite cannot know: replicas, restarts, rights, and other trouble.
use futures_util::future::join_all;
use quadrille_runtime::message::Raw;
use quadrille_runtime::postgres::{PoolSize, Postgres};
use quadrille_runtime::store::{
    Changes, EntityRow, InboxRow, JournalRow, ParkedFilter, ParkedRow, Store, StoreError, Wanted,
};
use std::time::{Duration, Instant};
use uuid::Uuid;

use super::server::Server;
use super::{anybody, connect, shared};

/// Longer than any restart of an empty server takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn wanted(keys: &[&str]) -> Wanted {
    Wanted { messages: vec![Uuid::now_v7()], entities: keys.iter().map(|&k| k.into()).collect() }
}

fn entity(key: &str, version: u64) -> EntityRow {
    EntityRow {
        key: key.into(),
        version,
        state: "{}".into(),
        open: true,
        overdue_at_ms: Some(i64::try_from(version).expect("small")),
    }
}

fn transition(key: &str, version: u64) -> JournalRow {
    JournalRow {
        position: 0,
        at_ms: 1,
        entity: key.into(),
        version,
        cause: Uuid::now_v7(),
        cause_name: "order.place".into(),
        cause_version: 1,
        cause_source: "shop".into(),
        cause_body: vec![b'x'; 600].into(),
        correlation: "c".into(),
        traceparent: None,
        state: vec![b'y'; 100].into(),
        published: vec![b'z'; 600].into(),
    }
}

/// Moves each of these entities by one, as long as it takes; says the version of the first.
/// `meet` is told of every error.
async fn advance(store: &Postgres, keys: &[&str], meet: &mut impl FnMut(&StoreError)) -> u64 {
    let until = Instant::now() + PATIENCE;
    loop {
        match advance_once(store, keys).await {
            Ok(version) => return version,
            Err(error @ StoreError::Broken { .. }) => panic!("{error}"),
            Err(error) => {
                assert!(Instant::now() < until, "not within {PATIENCE:?}: {error}");
                meet(&error);
                if matches!(error, StoreError::Down { .. }) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

async fn advance_once(store: &Postgres, keys: &[&str]) -> Result<u64, StoreError> {
    let mut unit = store.begin().await?;
    let loaded = unit.load(&wanted(keys)).await?;
    let next =
        |key: &str| 1 + loaded.entities.iter().find(|e| e.key == key).map_or(0, |e| e.version);
    let changes = Changes {
        inbox: vec![InboxRow { id: Uuid::now_v7(), hash: 1 }],
        entities: keys.iter().map(|key| entity(key, next(key))).collect(),
        journal: keys.iter().map(|key| transition(key, next(key))).collect(),
        ..Changes::default()
    };
    unit.commit(changes).await?;
    Ok(next(keys[0]))
}

/// Positions are dense, and the versions of each entity grow by one along them.
async fn assert_whole(store: &Postgres) -> Vec<JournalRow> {
    let mut journal = Vec::new();
    loop {
        let page = store.journal(journal.len() as u64, 1_000).await.expect("a journal");
        if page.is_empty() {
            break;
        }
        journal.extend(page);
    }
    let mut last = std::collections::HashMap::new();
    for (row, position) in journal.iter().zip(1..) {
        assert_eq!(row.position, position, "positions are dense");
        let before = last.insert(row.entity.clone(), row.version).unwrap_or(0);
        assert_eq!(row.version, before + 1, "no update of {} is lost", row.entity);
    }
    for entity in store.entities("", "", 1_000).await.expect("entities") {
        assert_eq!(last.get(&entity.key), Some(&entity.version));
    }
    journal
}

async fn hammer(service: &str, turns: u64, keys: impl Fn(u64, u64) -> Vec<String>) -> (u64, u64) {
    let replicas = [connect(shared(), service).await, connect(shared(), service).await];
    let workers = (0..6).map(|worker| {
        let (store, keys) = (&replicas[usize::from(worker % 2 == 0)], &keys);
        async move {
            let (mut conflicts, mut deadlocks) = (0, 0);
            for turn in 0..turns {
                let keys = keys(worker, turn);
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                let mut meet = |error: &StoreError| {
                    conflicts += 1;
                    deadlocks += u64::from(error.to_string().contains("deadlock"));
                };
                advance(store, &keys, &mut meet).await;
            }
            (conflicts, deadlocks)
        }
    });
    let met = join_all(workers).await;
    let journal = assert_whole(&replicas[0]).await;
    let all = (0..6).flat_map(|worker| (0..turns).map(move |turn| (worker, turn)));
    let expected: usize = all.map(|(worker, turn)| keys(worker, turn).len()).sum();
    assert_eq!(journal.len(), expected, "each transition is there once");
    met.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_on_one_hot_entity_lose_no_update() {
    let (conflicts, deadlocks) = hammer(&anybody(), 500, |_, _| vec!["hot".into()]).await;
    assert_eq!(deadlocks, 0);
    // Only its creation can conflict: afterwards the row is locked.
    assert!(conflicts <= 6, "{conflicts}");
}

/// Nothing is shared but the counter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_with_entities_of_their_own_never_conflict() {
    let (conflicts, _) = hammer(&anybody(), 300, |worker, _| vec![format!("w{worker}")]).await;
    assert_eq!(conflicts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_share_entities_in_any_order_never_deadlock() {
    let keys = |worker: u64, turn: u64| {
        let n = worker + turn;
        // Sorted, as the port asks; every other unit makes one that nobody has seen before.
        let mut keys =
            vec![format!("b{}", n % 3), format!("b{}", (n + 1) % 3), format!("c{}", n / 2)];
        keys.sort();
        keys
    };
    let (_, deadlocks) = hammer(&anybody(), 200, keys).await;
    assert_eq!(deadlocks, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_under_load_loses_nothing_and_is_used_again() {
    let server = Server::start();
    let service = anybody();
    let replicas = [connect(&server, &service).await, connect(&server, &service).await];
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let work = replicas.iter().map(|store| {
        let stopped = stopped.clone();
        async move {
            let (mut confirmed, mut downs) = (Vec::new(), 0);
            while !*stopped.borrow() {
                let mut meet =
                    |e: &StoreError| downs += u32::from(matches!(e, StoreError::Down { .. }));
                confirmed.push(advance(store, &["a"], &mut meet).await);
            }
            (confirmed, downs)
        }
    });
    let restarts = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            tokio::task::block_in_place(|| server.restart());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.send(true).expect("somebody listens");
    };
    let (done, ()) = futures_util::future::join(join_all(work), restarts).await;
    let journal = assert_whole(&replicas[0]).await;
    assert!(done.iter().any(|(_, downs)| *downs > 0), "nobody noticed");
    for version in done.iter().flat_map(|(confirmed, _)| confirmed) {
        assert!(journal.iter().any(|row| row.version == *version), "{version} is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_given_up_and_used_again() {
    let server = Server::start();
    let store = connect(&server, &anybody()).await;
    advance(&store, &["a"], &mut |_| ()).await;
    server.freeze();
    let began = Instant::now();
    let outcome = advance_once(&store, &["a"]).await;
    assert!(matches!(outcome, Err(StoreError::Down { .. })), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    server.thaw();
    assert_eq!(advance(&store, &["a"], &mut |_| ()).await, 2);
}

async fn terminate(service: &str) -> u64 {
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1";
    let name = format!("quadrille_{service}");
    shared().client().await.execute(kill, &[&name]).await.expect("a superuser may")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_within_a_unit_costs_that_unit_only() {
    let service = anybody();
    let store = connect(shared(), &service).await;
    let mut unit = store.begin().await.expect("a unit begins");
    unit.load(&wanted(&["a"])).await.expect("a unit loads");
    assert!(terminate(&service).await > 0);
    let changes = Changes {
        entities: vec![entity("a", 1)],
        journal: vec![transition("a", 1)],
        ..Changes::default()
    };
    let outcome = unit.commit(changes).await;
    assert!(matches!(outcome, Err(StoreError::Down { .. })), "{outcome:?}");
    assert_eq!(advance(&store, &["a"], &mut |_| ()).await, 1, "nothing of it was committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_at_any_time_lose_nothing() {
    let service = anybody();
    let store = connect(shared(), &service).await;
    let work = join_all((0..3).map(|_| async {
        for _ in 0..150 {
            advance(&store, &["a", "b"], &mut |_| ()).await;
        }
    }));
    let cuts = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(15)).await;
            terminate(&service).await;
        }
    };
    futures_util::future::join(work, cuts).await;
    // A commit whose answer was cut off is done again: more than 450, and none is lost.
    assert!(assert_whole(&store).await.len() >= 2 * 450);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_is_dropped_gives_its_connection_and_its_locks_back() {
    let service = anybody();
    let store = Postgres::connect(&shared().url(), &service, PoolSize(1)).await.expect("a store");
    let other = connect(shared(), &service).await;
    advance(&store, &["a"], &mut |_| ()).await;
    for wait_us in [0, 100, 300, 1_000, 3_000] {
        let mut unit = store.begin().await.expect("the only connection is free");
        let all = wanted(&["a"]);
        // Dropped in the middle of a load, wherever it may be.
        let load = tokio::time::timeout(Duration::from_micros(wait_us), unit.load(&all)).await;
        drop((load, unit));
        assert!(advance(&other, &["a"], &mut |e| panic!("{e}")).await > 1);
        assert!(advance(&store, &["a"], &mut |e| panic!("{e}")).await > 1);
    }
}

/// Otherwise what follows could run outside of a transaction that never began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_whose_load_was_cut_off_commits_nothing() {
    let store = connect(shared(), &anybody()).await;
    for wait_us in [0, 100, 300, 1_000] {
        let mut unit = store.begin().await.expect("a unit begins");
        let all = wanted(&["a"]);
        let load = tokio::time::timeout(Duration::from_micros(wait_us), unit.load(&all)).await;
        let journal = vec![transition("a", 1)];
        let outcome = unit.commit(Changes { journal, ..Changes::default() }).await;
        if load.is_err() {
            assert!(matches!(outcome, Err(StoreError::Conflict { .. })), "{outcome:?}");
            assert!(store.journal(0, 1).await.expect("a journal").is_empty());
        } else {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_not_given_is_a_conflict_and_soon() {
    let service = anybody();
    let store = connect(shared(), &service).await;
    advance(&store, &["a"], &mut |_| ()).await;
    let mut holder = store.begin().await.expect("a unit begins");
    holder.load(&wanted(&["a"])).await.expect("it locks");
    let began = Instant::now();
    let outcome = advance_once(&store, &["a"]).await;
    assert!(matches!(outcome, Err(StoreError::Conflict { .. })), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_replicas_that_start_at_once_make_one_schema() {
    let service = anybody();
    let all = join_all((0..4).map(|_| connect(shared(), &service))).await;
    for (store, version) in all.iter().zip(1..) {
        assert_eq!(advance(store, &["a"], &mut |e| panic!("{e}")).await, version);
    }
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_left_alone() {
    let service = anybody();
    connect(shared(), &service).await.close().await;
    let newer = format!("update quadrille_{service}.schema_version set version = 99");
    shared().client().await.batch_execute(&newer).await.expect("an update");
    let outcome = Postgres::connect(&shared().url(), &service, PoolSize(1)).await;
    let Err(StoreError::Broken { why, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("version 99") && why.contains("run that one"), "{why}");
}

#[tokio::test]
async fn a_role_without_rights_is_told_what_to_do() {
    let service = anybody();
    let client = shared().client().await;
    client.batch_execute("create role guest login").await.expect("a role");
    let url = shared().url_of("guest");
    let outcome = Postgres::connect(&url, &service, PoolSize(1)).await;
    let Err(StoreError::Broken { why, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("permission denied") && why.contains("grant"), "{why}");
    // Once somebody else has made the schema, it needs no right to make anything.
    connect(shared(), &service).await.close().await;
    let schema = format!("quadrille_{service}");
    let grants = format!(
        "grant usage on schema {schema} to guest; \
         grant select, insert, update, delete on all tables in schema {schema} to guest"
    );
    client.batch_execute(&grants).await.expect("grants");
    let store = Postgres::connect(&url, &service, PoolSize(1)).await.expect("a store");
    assert_eq!(advance(&store, &["a"], &mut |e| panic!("{e}")).await, 1);
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_does_not_say_it() {
    let role = "create role locked login password 'right'";
    shared().client().await.batch_execute(role).await.expect("a role");
    let url = shared().url_of("locked:hunter2");
    let outcome = Postgres::connect(&url, "order", PoolSize(1)).await;
    let Err(error @ StoreError::Broken { .. }) = outcome else { panic!("{outcome:?}") };
    let text = format!("{error} {error:?}");
    assert!(!text.contains("hunter2") && text.contains("correct user and password"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_down_and_named() {
    let outcome =
        Postgres::connect("postgres://u:hunter2@127.0.0.1:1/d", "order", PoolSize(1)).await;
    let Err(error @ StoreError::Down { .. }) = outcome else { panic!("{outcome:?}") };
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1/d") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn text_with_nul_is_an_error_of_the_value_and_not_of_the_moment() {
    let store = connect(shared(), &anybody()).await;
    let mut row = transition("a", 1);
    row.correlation = "a\0b".into();
    let unit = store.begin().await.expect("a unit begins");
    let outcome = unit.commit(Changes { journal: vec![row], ..Changes::default() }).await;
    let Err(StoreError::Broken { why, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("cannot be stored"), "{why}");
    assert_eq!(advance(&store, &["a"], &mut |e| panic!("{e}")).await, 1, "and it spoils nothing");
}

#[tokio::test]
async fn a_message_with_nul_can_be_parked() {
    let store = connect(shared(), &anybody()).await;
    let raw = Raw { routing_key: "a\0b".into(), body: vec![0, 1].into(), ..Raw::default() };
    let row = ParkedRow {
        id: Uuid::now_v7(),
        at_ms: 1,
        reason: "malformed".into(),
        pointer: None,
        detail: "not a name: a\0b".into(),
        status: "parked".into(),
        name: Some("a\0b".into()),
        raw: raw.clone(),
    };
    let unit = store.begin().await.expect("a unit begins");
    unit.commit(Changes { parked: vec![row], ..Changes::default() }).await.expect("parked");
    let filter = ParkedFilter { limit: 9, ..ParkedFilter::default() };
    let parked = store.parked(&filter).await.expect("a list");
    assert_eq!(parked[0].raw, raw, "as it came");
    assert_eq!(parked[0].detail, "not a name: a\u{fffd}b");
}

/// Plans made while the tables were empty stay good, and a hot entity stays off its indexes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_table_is_scanned_and_updates_stay_off_the_indexes() {
    let service = anybody();
    let store = connect(shared(), &service).await;
    for _ in 0..200 {
        advance(&store, &["a", "b"], &mut |e| panic!("{e}")).await;
    }
    store.close().await;
    // A session tells of what it did when it ends.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let counts = "select relname::text, coalesce(seq_scan, 0), n_tup_upd, n_tup_hot_upd
        from pg_stat_user_tables where schemaname = $1 and relname <> 'schema_version'";
    let schema = format!("quadrille_{service}");
    for row in shared().client().await.query(counts, &[&schema]).await.expect("statistics") {
        let (table, scans): (String, i64) = (row.get(0), row.get(1));
        // Building an index on a new table counts as one.
        assert!(scans <= 3, "{table} was scanned {scans} times");
        let (updates, hot): (i64, i64) = (row.get(2), row.get(3));
        if table == "entity" {
            assert_eq!(updates, 398);
            assert!(hot * 10 >= updates * 9, "only {hot} of {updates} updates are hot");
        }
    }
}
