//! What a conformance suite cannot know: replicas, restarts, cuts, and other trouble.
use futures_util::future::join_all;
use quadrille_runtime::postgres::{PoolSize, Postgres};
use quadrille_runtime::store::{Changes, Store, StoreError};
use std::time::{Duration, Instant};

use super::server::Server;
use super::steps::{advance, advance_once, assert_whole, entity, transition, wanted};
use super::{anybody, connect, shared};

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
