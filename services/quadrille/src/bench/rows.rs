//! The rows that forms without logic write: the same tables, the same bytes, one array statement a batch.
use super::story::{Row, Step};
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use quadrille_runtime::config::Config;
use quadrille_runtime::postgres::{PoolSize, Postgres};
use quadrille_runtime::sqlite::Sqlite;
use quadrille_runtime::store::Store;
use rusqlite::params;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

/// What one unit of work writes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) inbox: Vec<Uuid>,
    /// The last version and row of each entity.
    pub(super) entities: BTreeMap<String, (i64, &'static Row)>,
    pub(super) journal: Vec<Transition>,
    pub(super) asked: Vec<Uuid>,
    pub(super) answered: Vec<Uuid>,
    pub(super) armed: Vec<(Uuid, String)>,
    pub(super) disarmed: Vec<String>,
}

pub(super) struct Transition {
    pub(super) position: i64,
    pub(super) entity: String,
    pub(super) version: i64,
    pub(super) cause: Uuid,
    pub(super) correlation: String,
    pub(super) row: &'static Row,
}

impl Batch {
    /// What besides the transitions belongs to a step.
    pub(super) fn settle(&mut self, step: &Step, order: Uuid, nth: usize) {
        // One request at a time is open for an order, so its place in the order's life names it.
        let request = |nth: usize| Uuid::from_u128(order.as_u128() ^ nth as u128);
        if step.answer {
            self.answered.push(request(nth));
        }
        if step.asks {
            self.asked.push(request(nth + 1));
        }
        if step.arms {
            self.armed.push((Uuid::from_u128(order.as_u128() ^ 64), order.to_string()));
        }
        if step.disarms {
            self.disarmed.push(order.to_string());
        }
    }
}

const LOAD: &str = "select key, version, state, open, overdue_at_ms from entity
    where key = any($1::text[]) order by key for update";
const SEEN: &str = "select id, hash from inbox where id = any($1::uuid[])";
const WRITE: &str = "with moved as (
        insert into entity (key, version, state, open, overdue_at_ms)
        select *, 1 from unnest($1::text[], $2::bigint[], $3::bytea[], $4::boolean[])
        on conflict (key) do update set version = excluded.version, state = excluded.state,
            open = excluded.open, overdue_at_ms = excluded.overdue_at_ms
    ), consumed as (
        insert into inbox (id, hash, at)
        select m, 1, statement_timestamp() from unnest($5::uuid[]) as m
    )
    insert into journal (position, at_ms, entity, version, cause, cause_name, cause_version,
        cause_source, cause_body, correlation, traceparent, state, published)
    select p, 1, e, v, c, n, 1, s, b, o, t, a, w
    from unnest($6::bigint[], $7::text[], $8::bigint[], $9::uuid[], $10::text[], $11::text[],
        $12::bytea[], $13::text[], $14::text[], $15::bytea[], $16::bytea[])
        as j (p, e, v, c, n, s, b, o, t, a, w)";
const ASK: &str = "insert into request (id, adapter, entity, name, version, correlation, body,
        attempts, created_at_ms, next_at)
    select r, 'provider', r::text, 'provider.authorize', 1, r::text, $2, 1, 1, now()
    from unnest($1::uuid[]) as r";
const ANSWER: &str = "delete from request where id = any($1::uuid[])";
const ARM: &str = "insert into timer (id, entity, name, version, after_ms, correlation, body,
        due_at, next_at)
    select id, e, 'order.deadline', 1, 900000, e, $3, now() + interval '15 min',
        now() + interval '15 min'
    from unnest($1::uuid[], $2::text[]) as t (id, e)";
const DISARM: &str = "delete from timer where entity = any($1::text[])";

/// The session settings of the runtime's store, as a plan for empty tables would spoil the baseline.
const SETTINGS: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off";

const BODY: &[u8] = &[b'x'; 110];

/// A place for the rows of one service.
pub(super) enum Rows {
    Postgres { client: Client, statements: BTreeMap<&'static str, Statement>, naive: bool },
    Sqlite(Arc<Mutex<rusqlite::Connection>>),
}

impl Rows {
    /// Makes the tables as the runtime makes its own, and connects to them.
    pub(super) async fn open(config: &Config, service: &str, naive: bool) -> Result<Self> {
        let service = format!("raw_{service}");
        let Some(url) = &config.postgres_url else {
            let data = config.data.as_ref().context("SQLite needs --data")?;
            let path = data.join(format!("{service}.sqlite"));
            Sqlite::open(&path)?.close().await;
            let sql = rusqlite::Connection::open(&path)?;
            sql.set_prepared_statement_cache_capacity(32);
            // The log is moved into the file within commits, as any program does that does nothing about it.
            sql.execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;")?;
            return Ok(Self::Sqlite(Arc::new(Mutex::new(sql))));
        };
        Postgres::connect(url.expose(), &service, PoolSize(1)).await?.close().await;
        let (client, connection) = tokio_postgres::connect(url.expose(), NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&format!("set search_path = quadrille_{service}; {SETTINGS}")).await?;
        let mut statements = BTreeMap::new();
        for sql in [LOAD, SEEN, WRITE, ASK, ANSWER, ARM, DISARM] {
            statements.insert(sql, client.prepare(sql).await?);
        }
        Ok(Self::Postgres { client, statements, naive })
    }

    /// Loads what the batch is about, then writes it, in one transaction.
    pub(super) async fn commit(&mut self, batch: Batch) -> Result<()> {
        match self {
            Self::Postgres { client, statements, naive } => {
                postgres(client, statements, &batch, *naive).await
            }
            Self::Sqlite(sql) => {
                let sql = sql.clone();
                tokio::task::spawn_blocking(move || sqlite(&sql, &batch)).await?
            }
        }
    }
}

type Params<'a> = Vec<Box<dyn ToSql + Sync + Send + 'a>>;

/// Two round trips, as whoever decides must have loaded first; naive: one for each statement.
async fn postgres(
    client: &Client,
    statements: &BTreeMap<&'static str, Statement>,
    batch: &Batch,
    naive: bool,
) -> Result<()> {
    let keys: Vec<&str> = batch.entities.keys().map(String::as_str).collect();
    let load: Vec<(&str, Params)> =
        vec![(LOAD, vec![Box::new(keys)]), (SEEN, vec![Box::new(batch.inbox.as_slice())])];
    let write = writes(batch);
    let one = async |(sql, params): &(&'static str, Params<'_>)| {
        let params: Vec<&(dyn ToSql + Sync)> =
            params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect();
        client.query(&statements[sql], &params).await
    };
    let begin = client.batch_execute("begin");
    if naive {
        begin.await?;
        for step in load.iter().chain(&write) {
            one(step).await?;
        }
        client.batch_execute("commit").await?;
        return Ok(());
    }
    tokio::try_join!(begin, try_join_all(load.iter().map(one)))?;
    tokio::try_join!(try_join_all(write.iter().map(one)), client.batch_execute("commit"))?;
    Ok(())
}

fn writes(batch: &Batch) -> Vec<(&'static str, Params<'_>)> {
    let entities: Vec<_> = batch.entities.iter().collect();
    let journal = &batch.journal;
    let of = |get: fn(&Transition) -> &str| journal.iter().map(get).collect::<Vec<_>>();
    let bytes = |get: fn(&Transition) -> &str| {
        journal.iter().map(|t| get(t).as_bytes()).collect::<Vec<_>>()
    };
    let write: Params = vec![
        Box::new(entities.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>()),
        Box::new(entities.iter().map(|(_, (version, _))| *version).collect::<Vec<_>>()),
        Box::new(entities.iter().map(|(_, (_, row))| row.state.as_bytes()).collect::<Vec<_>>()),
        Box::new(entities.iter().map(|(_, (_, row))| row.open).collect::<Vec<_>>()),
        Box::new(batch.inbox.as_slice()),
        Box::new(journal.iter().map(|t| t.position).collect::<Vec<_>>()),
        Box::new(of(|t| &t.entity)),
        Box::new(journal.iter().map(|t| t.version).collect::<Vec<_>>()),
        Box::new(journal.iter().map(|t| t.cause).collect::<Vec<_>>()),
        Box::new(of(|t| &t.row.cause_name)),
        Box::new(of(|t| &t.row.cause_source)),
        Box::new(bytes(|t| &t.row.cause_body)),
        Box::new(of(|t| &t.correlation)),
        Box::new(journal.iter().map(|t| t.row.traceparent.as_deref()).collect::<Vec<_>>()),
        Box::new(bytes(|t| &t.row.state)),
        Box::new(bytes(|t| &t.row.published)),
    ];
    let mut all = vec![(WRITE, write)];
    if !batch.answered.is_empty() {
        all.push((ANSWER, vec![Box::new(batch.answered.as_slice())]));
    }
    if !batch.asked.is_empty() {
        all.push((ASK, vec![Box::new(batch.asked.as_slice()), Box::new(BODY)]));
    }
    if !batch.armed.is_empty() {
        let (ids, entities): (Vec<_>, Vec<_>) =
            batch.armed.iter().map(|(id, entity)| (*id, entity.as_str())).unzip();
        all.push((ARM, vec![Box::new(ids), Box::new(entities), Box::new(&BODY[..50])]));
    }
    if !batch.disarmed.is_empty() {
        all.push((DISARM, vec![Box::new(batch.disarmed.as_slice())]));
    }
    all
}

fn sqlite(sql: &Mutex<rusqlite::Connection>, batch: &Batch) -> Result<()> {
    let mut sql = sql.lock().ok().context("an earlier batch panicked")?;
    let unit = sql.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let run = |text: &str, params: &[&dyn rusqlite::ToSql]| -> Result<()> {
        unit.prepare_cached(text)?.execute(params)?;
        Ok(())
    };
    let mut load = unit.prepare_cached("SELECT version, state FROM entity WHERE key = ?1")?;
    for key in batch.entities.keys() {
        load.query([key])?.next()?;
    }
    let mut seen = unit.prepare_cached("SELECT hash FROM inbox WHERE id = ?1")?;
    for id in &batch.inbox {
        seen.query([id.as_bytes()])?.next()?;
        run("INSERT INTO inbox VALUES (?1, 1, 1)", params![id.as_bytes()])?;
    }
    for (key, (version, row)) in &batch.entities {
        let entity = "INSERT INTO entity VALUES (?1, ?2, ?3, ?4, 1) ON CONFLICT (key) DO UPDATE \
            SET version = excluded.version, state = excluded.state, open = excluded.open";
        run(entity, params![key, version, row.state.as_bytes(), row.open])?;
    }
    for Transition { position, entity, version, cause, correlation, row } in &batch.journal {
        let journal =
            "INSERT INTO journal VALUES (?1, 1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9, ?10, ?11)";
        let (name, source, body) = (&row.cause_name, &row.cause_source, row.cause_body.as_bytes());
        let (state, published) = (row.state.as_bytes(), row.published.as_bytes());
        let (trace, cause) = (&row.traceparent, cause.as_bytes());
        run(
            journal,
            params![
                position,
                entity,
                version,
                cause,
                name,
                source,
                body,
                correlation,
                trace,
                state,
                published
            ],
        )?;
    }
    for id in &batch.answered {
        run("DELETE FROM request WHERE id = ?1", params![id.as_bytes()])?;
    }
    for id in &batch.asked {
        let request = "INSERT INTO request VALUES (?1, 'provider', ?2, 'provider.authorize', 1, ?2, \
            NULL, ?3, 1, 1, 1)";
        run(request, params![id.as_bytes(), id.to_string(), BODY])?;
    }
    for (id, entity) in &batch.armed {
        let timer =
            "INSERT INTO timer VALUES (?1, 'order.deadline', ?2, 1, 900000, 1, ?1, NULL, ?3)";
        run(timer, params![entity, id.as_bytes(), &BODY[..50]])?;
    }
    for entity in &batch.disarmed {
        run("DELETE FROM timer WHERE entity = ?1", params![entity])?;
    }
    drop((load, seen));
    Ok(unit.commit()?)
}
