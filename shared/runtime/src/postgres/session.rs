//! One pooled connection while it is used: statements sent together, one deadline, a clean return.
use deadpool_postgres::Object;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::error;
use crate::store::StoreError;

/// How long the server may take for all statements of one call. Longer than its own limit for one
/// statement, so that the server speaks first; what comes later finds the connection given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);

pub(super) type Param<'a> = Box<dyn ToSql + Send + Sync + 'a>;

/// One thing to send.
pub(super) enum Step<'a> {
    /// Without parameters, not prepared: BEGIN and COMMIT.
    Plain(&'static str),
    Bound(&'static str, Vec<Param<'a>>),
}

impl Step<'_> {
    pub(super) fn is(&self, statement: &str) -> bool {
        let (Self::Plain(sql) | Self::Bound(sql, _)) = self;
        *sql == statement
    }
}

pub(super) struct Session {
    /// None once it was given up.
    client: Option<Object>,
    /// True while a transaction may be open on the server.
    open: bool,
    /// True from when something is sent until all of it has succeeded. Whatever was cancelled or
    /// failed in between, nothing more may run here: it could run outside of the transaction.
    unsure: bool,
}

impl Session {
    pub(super) fn new(client: Object) -> Self {
        Self { client: Some(client), open: false, unsure: false }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// BEGIN, if that was not sent yet.
    pub(super) fn begin(&mut self, steps: &mut Vec<Step<'_>>) {
        if !self.open {
            steps.insert(0, Step::Plain("begin isolation level read committed"));
            self.open = true;
        }
    }

    /// To be called when the answer to COMMIT is there.
    pub(super) fn ended(&mut self) {
        self.open = false;
    }

    /// Sends all steps without waiting in between. Every answer is looked at and the first error
    /// decides: those after it only say that the transaction is aborted, and a COMMIT after it
    /// answers ROLLBACK without an error.
    pub(super) async fn run(
        &mut self,
        attempted: &str,
        steps: &[Step<'_>],
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        self.run_within(ANSWER_WITHIN, attempted, steps).await
    }

    /// As [`Session::run`], for what may take longer.
    pub(super) async fn run_within(
        &mut self,
        deadline: Duration,
        attempted: &str,
        steps: &[Step<'_>],
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let Some(client) = &self.client else {
            let why = "its connection was given up".to_owned();
            return Err(StoreError::Down { attempted: attempted.to_owned(), why });
        };
        if std::mem::replace(&mut self.unsure, true) {
            let why = "an earlier statement of this unit failed".to_owned();
            return Err(StoreError::Conflict { attempted: attempted.to_owned(), why });
        }
        match timeout(deadline, pipelined(client, steps)).await {
            Ok(answers) => {
                self.unsure = answers.is_err();
                answers.map_err(|error| error::of(attempted, &error))
            }
            Err(_) => {
                self.client.take().map(Object::take);
                Err(error::late(attempted, deadline))
            }
        }
    }

    /// One statement, and its rows.
    pub(super) async fn rows(
        &mut self,
        attempted: &str,
        sql: &'static str,
        params: Vec<Param<'_>>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut answers = self.run(attempted, &[Step::Bound(sql, params)]).await?;
        Ok(answers.pop().unwrap_or_default())
    }
}

impl Drop for Session {
    /// Returns the connection clean. Polling once sends ROLLBACK; whoever gets the connection next
    /// is served after it, so nobody needs to wait for the answer.
    fn drop(&mut self) {
        if self.open
            && let Some(client) = &self.client
        {
            let _ = client.batch_execute("rollback").now_or_never();
        }
    }
}

async fn pipelined(client: &Object, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, Error> {
    let mut prepared = Vec::with_capacity(steps.len());
    for step in steps {
        prepared.push(match step {
            Step::Plain(_) => None,
            // A round trip the first time on each connection, a look into a map ever after.
            Step::Bound(sql, _) => Some(client.prepare_cached(sql).await?),
        });
    }
    // `join_all` polls in order, and the first poll sends.
    let answers =
        steps.iter().zip(&prepared).map(|(step, statement)| send(client, step, statement));
    join_all(answers).await.into_iter().collect()
}

async fn send(
    client: &Object,
    step: &Step<'_>,
    statement: &Option<Statement>,
) -> Result<Vec<Row>, Error> {
    match (step, statement) {
        (Step::Bound(_, params), Some(statement)) => {
            let params: Vec<_> = params.iter().map(|p| &**p as &(dyn ToSql + Sync)).collect();
            client.query(statement, &params).await
        }
        (Step::Bound(sql, _) | Step::Plain(sql), _) => {
            client.batch_execute(sql).await.map(|()| Vec::new())
        }
    }
}
