//! What is refused, and in which words: rights, passwords, other versions, values.
use quadrille_runtime::message::Raw;
use quadrille_runtime::postgres::{PoolSize, Postgres};
use quadrille_runtime::store::{Changes, ParkedFilter, ParkedRow, Store, StoreError, Wanted};
use uuid::Uuid;

use super::steps::{advance, transition};
use super::{anybody, connect, shared};

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
async fn who_only_looks_needs_no_right_to_write_and_makes_nothing() {
    let service = anybody();
    let client = shared().client().await;
    client.batch_execute("create role auditor login").await.expect("a role");
    let url = shared().url_of("auditor");
    let outcome = Postgres::connect_read_only(&url, &service, PoolSize(1)).await;
    let Err(StoreError::Broken { why, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("not there") && why.contains("grant usage"), "{why}");

    let writer = connect(shared(), &service).await;
    assert_eq!(advance(&writer, &["a"], &mut |e| panic!("{e}")).await, 1);
    let schema = format!("quadrille_{service}");
    let grants = format!(
        "grant usage on schema {schema} to auditor; \
         grant select on all tables in schema {schema} to auditor"
    );
    client.batch_execute(&grants).await.expect("grants");
    let store = Postgres::connect_read_only(&url, &service, PoolSize(1)).await.expect("a store");
    assert_eq!(store.journal(0, 9).await.expect("a journal").len(), 1);
    assert_eq!(store.entities("", "", 9).await.expect("entities").len(), 1);
    store.census().await.expect("a census");
    let filter = ParkedFilter { limit: 9, ..ParkedFilter::default() };
    assert!(store.parked(&filter).await.expect("a list").is_empty());
    let wanted = Wanted { messages: vec![Uuid::now_v7()], entities: Vec::new() };
    let mut unit = store.begin().await.expect("a unit begins");
    assert!(unit.load(&wanted).await.expect("what was consumed").seen.is_empty());
    assert!(store.purge(0, 9).await.is_err(), "what would write fails");

    // Nor does a role that may do anything change anything by looking.
    let (nobody, all) = (anybody(), shared().url());
    assert!(Postgres::connect_read_only(&all, &nobody, PoolSize(1)).await.is_err());
    let made = format!("select 1 from pg_namespace where nspname = 'quadrille_{nobody}'");
    assert!(client.query(&made, &[]).await.expect("names").is_empty());
    let store = Postgres::connect_read_only(&all, &service, PoolSize(1)).await.expect("a store");
    let failed = store.purge(0, 9).await.expect_err("what would write fails");
    assert!(failed.to_string().contains("read-only"), "{failed}");
    let unit = store.begin().await.expect("a unit begins");
    let changes = Changes { journal: vec![transition("a", 2)], ..Changes::default() };
    let failed = unit.commit(changes).await.expect_err("what would write fails");
    assert!(failed.to_string().contains("read-only"), "{failed}");
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
    assert!(matches!(outcome, Err(StoreError::Refused { .. })), "{outcome:?}");
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
