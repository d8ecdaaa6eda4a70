//! Brings the schema of one service to the version that this program knows. Migrations only add.
use std::time::Duration;

use super::connection::Server;
use super::error::broken;
use super::rows::get;
use super::session::{Session, Step};
use crate::store::StoreError;

/// Each brings the schema one version further, and says so in `schema_version`.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// Replicas that start at once wait for the one that migrates.
const MIGRATE_WITHIN: Duration = Duration::from_secs(60);

/// The schema is the session's search path. The lock is held until the commit.
const LOCK: &str = "
    set local statement_timeout = '50s';
    set local lock_timeout = '50s';
    select pg_advisory_xact_lock(hashtextextended(current_setting('search_path'), 1313));
    do $$ begin
        if current_schema() is null then
            execute format('create schema if not exists %I', current_setting('search_path'));
        end if;
    end $$;
";

impl Server {
    /// Does nothing, needs no rights and takes no lock if the schema is as it should be.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        let attempted = format!("migrating the schema at {}", self.name());
        let mut session = self.session().await?;
        if missing(&mut session, &attempted).await?.is_empty() {
            return Ok(());
        }
        let mut steps = Vec::new();
        session.begin(&mut steps);
        steps.push(Step::Plain(LOCK));
        session.run_within(MIGRATE_WITHIN, &attempted, &steps).await?;
        // Looked at again under the lock: somebody else may have been first.
        let mut steps = Vec::new();
        for script in missing(&mut session, &attempted).await? {
            steps.push(Step::Plain(script));
        }
        steps.push(Step::Plain("commit"));
        session.run_within(MIGRATE_WITHIN, &attempted, &steps).await?;
        session.ended();
        Ok(())
    }

    /// Who only reads cannot migrate: the schema must be of this version.
    pub(super) async fn check_current(&self) -> Result<(), StoreError> {
        let attempted = format!("looking at the schema at {}", self.name());
        let missing = missing(&mut self.session().await?, &attempted).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let (needed, there) = (MIGRATIONS.len(), MIGRATIONS.len() - missing.len());
        let why = match there {
            0 => "it is not there, or this role may not use it: grant usage on it and select on \
                  its tables"
                .to_owned(),
            _ => format!(
                "its version is {there} and this program needs {needed}: start the service once \
                 with this program"
            ),
        };
        Err(broken(&attempted, why))
    }
}

/// What the schema lacks.
async fn missing(
    session: &mut Session,
    attempted: &str,
) -> Result<&'static [&'static str], StoreError> {
    let there = "select to_regclass('schema_version') is not null as there";
    let there = session.rows(attempted, there, Vec::new()).await?;
    if !there.iter().map(|row| get(row, "there")).next().unwrap_or(Ok(false))? {
        return Ok(&MIGRATIONS);
    }
    // One row, so no index.
    let version = "select max(version) as version from schema_version";
    let version = session.rows(attempted, version, Vec::new()).await?;
    let version = version.first().map_or(Ok(None), |row| get::<Option<i32>>(row, "version"))?;
    let version = usize::try_from(version.unwrap_or(0)).unwrap_or(usize::MAX);
    MIGRATIONS.get(version..).ok_or_else(|| {
        let known = MIGRATIONS.len();
        broken(
            attempted,
            format!(
                "the schema is of version {version} and this program knows {known}: \
             a newer one was here, so run that one or restore the older schema"
            ),
        )
    })
}
