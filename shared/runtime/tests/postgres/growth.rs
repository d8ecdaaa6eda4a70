//! What has ended costs nothing: the loop's statements do not read it again, however much it is.
use quadrille_runtime::store::Store as _;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

use super::steps::{PATIENCE, advance, wanted};
use super::{anybody, shared};
use quadrille_runtime::postgres::{PoolSize, Postgres};

/// Entities that ended long ago, with one transition each.
const ENDED: i64 = 100_000;
/// Enough for a server that makes its plans anew each time to settle on one.
const TURNS: u32 = 12;
/// Commits that nobody saw confirmed, when the server looks at its tables.
const WAITING: u32 = 64;
/// Generous: a turn reads some twenty rows.
const ROWS_READ_MAX: i64 = 200;

/// What the loop asks of a store, all of it.
async fn turn(store: &Postgres) {
    advance(store, &["a", "b"], &mut |error| panic!("{error}")).await;
    let mut unit = store.begin().await.expect("a unit");
    unit.load(&wanted(&["a", "c"])).await.expect("entities");
    drop(unit);
    store.due(64, 0).await.expect("timers");
    store.claim_requests(64, 0).await.expect("requests");
    store.next_due_in_ms().await.expect("the next timer");
    let unconfirmed = store.unconfirmed(0, 64).await.expect("the outbox");
    let mut unit = store.begin().await.expect("a unit");
    unit.load(&wanted(&[])).await.expect("nothing");
    let confirmed = unconfirmed.iter().map(|commit| commit.first_position).collect();
    let changes = quadrille_runtime::store::Changes { confirmed, ..Default::default() };
    unit.commit(changes).await.expect("a commit");
    store.count_attempts(&[uuid::Uuid::now_v7()]).await.expect("attempts");
    store.census().await.expect("numbers");
    store.purge(3_600_000, 1_000).await.expect("a purge");
    let parked = quadrille_runtime::store::ParkedFilter { limit: 64, ..Default::default() };
    store.parked(&parked).await.expect("parked messages");
    store.overdue(64).await.expect("what is overdue");
}

/// Rows and entries of indexes that were read in tables that grow.
async fn rows_read(client: &Client, schema: &str) -> i64 {
    let sql = "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint
            + coalesce((select sum(idx_tup_read) from pg_stat_user_indexes
                where schemaname = $1 and relname in ('journal', 'entity')), 0)::bigint
        from pg_stat_user_tables where schemaname = $1 and relname in ('journal', 'entity')";
    // A session tells what it did about a second after it did it.
    let (mut last, until) = (-1, Instant::now() + PATIENCE);
    loop {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let now: i64 = client.query_one(sql, &[&schema]).await.expect("statistics").get(0);
        if now == last {
            return now;
        }
        assert!(Instant::now() < until, "the statistics do not come to rest");
        last = now;
    }
}

async fn grow(client: &Client, schema: &str) {
    let sql = format!(
        "with grown as (
            update {schema}.counter set last_position = last_position + {ENDED}
            returning last_position - {ENDED} as before
        ), entities as (
            insert into {schema}.entity (key, version, state, open)
            select 'ended-' || n, 1, '{{}}', false from generate_series(1, {ENDED}) as n
        )
        insert into {schema}.journal
        select before + n, 1, 'ended-' || n, 1, gen_random_uuid(), 'order.place', 1, 'shop',
            body, 'c', null, 'y', body
        from grown, convert_to(repeat('x', 600), 'UTF8') as body, generate_series(1, {ENDED}) as n"
    );
    client.batch_execute(&sql).await.expect("a superuser may");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_the_loop_reads_what_has_ended() {
    let service = anybody();
    let schema = format!("quadrille_{service}");
    // One session, so that its plans are those that were made while the tables were empty.
    let store = Postgres::connect(&shared().url(), &service, PoolSize(1)).await.expect("a store");
    for _ in 0..TURNS {
        turn(&store).await;
    }
    let client = shared().client().await;
    grow(&client, &schema).await;
    for analysed in [false, true] {
        if analysed {
            // Some wait: the more rows a planner expects of one table, the rather it reads all of
            // the other.
            for _ in 0..WAITING {
                advance(&store, &["a", "b"], &mut |error| panic!("{error}")).await;
            }
            client.batch_execute("analyze").await.expect("a superuser may");
        }
        let before = rows_read(&client, &schema).await;
        for _ in 0..TURNS {
            turn(&store).await;
        }
        let read = rows_read(&client, &schema).await - before;
        assert!(read >= i64::from(TURNS), "{read} rows: the statistics do not count");
        let each = read / i64::from(TURNS);
        assert!(each <= ROWS_READ_MAX, "{each} rows a turn, analysed: {analysed}");
    }
}
