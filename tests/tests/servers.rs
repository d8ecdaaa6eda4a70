//! The harness itself: servers start, answer, survive what tests do to them and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "helpers of tests unwrap like the tests themselves")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use quadrille_tests::clients::Sender;
use quadrille_tests::process::Program;
use quadrille_tests::servers::{Postgres, RabbitMq, Redis, Stop};

/// Set for the copy of this test binary that is started only to be killed.
const VICTIM: &str = "QUADRILLE_TEST_VICTIM";

async fn connect(url: &str) -> Connection {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    tokio::time::timeout(Duration::from_secs(10), connecting).await.unwrap().unwrap()
}

/// A durable queue, bound to the exchange of commands if a routing key is given.
async fn declare(channel: &Channel, queue: &str, bound_to: Option<&str>) {
    let (durable, none) = (QueueDeclareOptions::durable(), FieldTable::default);
    channel.queue_declare(queue.into(), durable, none()).await.unwrap();
    let exchange = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let topic = ExchangeKind::Topic;
    channel.exchange_declare("quadrille.commands".into(), topic, exchange, none()).await.unwrap();
    if let Some(key) = bound_to {
        let (exchange, options) = ("quadrille.commands".into(), QueueBindOptions::default());
        channel.queue_bind(queue.into(), exchange, key.into(), options, none()).await.unwrap();
    }
}

/// Takes the next message of a queue.
async fn take(channel: &Channel, queue: &str) -> Option<lapin::message::Delivery> {
    let options = BasicGetOptions { no_ack: true };
    channel.basic_get(queue.into(), options).await.unwrap().map(|message| message.delivery)
}

/// Publishes a persistent message to a queue and waits for the broker's confirm.
async fn publish(channel: &Channel, queue: &str, body: &[u8]) {
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
}

async fn query(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = client.query_one(sql, &[]).await.unwrap().get(0);
    drop(client);
    connection.await.unwrap().unwrap();
    answer
}

fn ping(redis: &Redis) -> String {
    let url = redis.url();
    let mut stream = TcpStream::connect(url.strip_prefix("redis://").unwrap()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

/// The folders that a test process has in the temporary folder.
fn folders_of(pid: u32, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
    let start = format!("quadrille-{name}");
    let owner = format!("-{pid}-");
    let ours = |entry: &fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(&start) && name.contains(&owner)
    };
    entries.filter(ours).map(|entry| entry.path()).collect()
}

/// The command lines of living processes that work in one of these folders.
fn processes_in(folders: &[PathBuf]) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let inside = |process: &PathBuf| {
        let cwd = fs::read_link(process.join("cwd")).unwrap_or_default();
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let folder = |folder: &PathBuf| folder.to_str().unwrap().to_owned();
        let mut names = folders.iter().map(folder);
        names.any(|name| cwd.starts_with(&name) || environment.contains(&name))
    };
    let shown = |process: PathBuf| fs::read_to_string(process.join("cmdline")).unwrap_or_default();
    processes.map(|process| process.path()).filter(inside).map(shown).collect()
}

/// True for a process that still runs: one that is dead and not yet reaped does not.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

#[tokio::test]
async fn all_three_servers_answer() {
    let connection = connect(&RabbitMq::shared().vhost().unwrap()).await;
    assert!(connection.status().connected());
    let database = Postgres::shared().database().unwrap();
    let name = query(&database, "select current_database()::text").await;
    assert!(database.ends_with(&name), "{name} is not the database of {database}");
    assert_eq!(ping(Redis::shared()), "+PONG\r\n");
}

#[tokio::test]
async fn each_test_has_a_virtual_host_and_a_database_of_its_own() {
    let node = RabbitMq::shared();
    let first = connect(&node.vhost().unwrap()).await.create_channel().await.unwrap();
    let second = connect(&node.vhost().unwrap()).await.create_channel().await.unwrap();
    declare(&first, "mine", None).await;
    publish(&first, "mine", b"hello").await;
    declare(&second, "mine", None).await;
    assert!(take(&second, "mine").await.is_none());
    assert!(take(&first, "mine").await.is_some());
    let server = Postgres::shared();
    assert_ne!(server.database().unwrap(), server.database().unwrap());
}

#[tokio::test]
async fn a_broker_keeps_its_data_through_a_crash_a_stop_and_a_freeze() {
    let node = RabbitMq::start().unwrap();
    let url = node.vhost().unwrap();
    let channel = connect(&url).await.create_channel().await.unwrap();
    declare(&channel, "kept", None).await;
    publish(&channel, "kept", b"still here").await;

    node.kill9().unwrap();
    assert!(!lives(node.pid()));
    node.start_again().unwrap();
    let channel = connect(&url).await.create_channel().await.unwrap();
    assert_eq!(take(&channel, "kept").await.unwrap().data, b"still here");

    node.freeze();
    let silent = tokio::time::timeout(
        Duration::from_millis(500),
        channel.basic_get("kept".into(), BasicGetOptions::default()),
    );
    assert!(silent.await.is_err(), "a frozen broker must not answer");
    node.thaw();
    assert!(take(&channel, "kept").await.is_none());

    node.stop_app().unwrap();
    assert!(Connection::connect(&url, ConnectionProperties::default()).await.is_err());
    node.start_app().unwrap();
    connect(&url).await;
}

#[tokio::test]
async fn a_store_keeps_its_data_through_every_kind_of_restart() {
    let server = Postgres::start().unwrap();
    let url = server.database().unwrap();
    let database = url.rsplit_once('/').unwrap().1;
    server.psql(database, "create table kept as select 'still here' as what").unwrap();
    for stop in [Stop::Fast, Stop::Immediate] {
        server.restart(stop).unwrap();
        assert_eq!(query(&url, "select what from kept").await, "still here");
    }
    server.freeze();
    server.thaw();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    server.kill9().unwrap();
    assert!(connection.await.unwrap().is_err(), "a crash takes the connections with it");
    drop(client);
    server.start_again().unwrap();
    assert_eq!(query(&url, "select what from kept").await, "still here");
}

#[test]
fn a_dropped_server_leaves_no_process_and_no_folder() {
    let pid = std::process::id();
    let servers = (RabbitMq::start().unwrap(), Postgres::start().unwrap(), Redis::start().unwrap());
    let pids = [servers.0.pid(), servers.1.pid(), servers.2.pid()];
    let folders = folders_of(pid, "");
    // A store that crashed and was not started again is tidied up like the others.
    servers.1.kill9().unwrap();
    drop(servers);
    let gone: Vec<PathBuf> = folders.into_iter().filter(|folder| !folder.exists()).collect();
    assert!(gone.len() >= 3, "only {gone:?} were removed");
    assert_eq!(processes_in(&gone), Vec::<String>::new());
    assert_eq!(pids.map(lives), [false; 3]);
}

#[test]
fn a_panic_takes_its_servers_with_it() {
    let panic = catch_unwind(|| {
        let redis = Redis::start().unwrap();
        std::panic::panic_any(redis.pid());
    });
    let pid = *panic.unwrap_err().downcast::<u32>().unwrap();
    assert!(!lives(pid));
}

#[test]
fn servers_end_when_the_test_process_is_killed() {
    if std::env::var_os(VICTIM).is_some() {
        let servers = [RabbitMq::shared().pid(), Postgres::shared().pid(), Redis::shared().pid()];
        println!("servers {servers:?}");
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let this_test = std::env::current_exe().unwrap();
    let program = Program::new(this_test).env(VICTIM, "1").arg("--exact").arg("--nocapture");
    let mut victim = program.arg("servers_end_when_the_test_process_is_killed").start().unwrap();
    let line = victim.wait_for_line("servers [", Duration::from_secs(60)).unwrap();
    let pids: Vec<u32> = line
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    assert!(pids.len() == 3 && pids.iter().copied().all(lives), "{line}");
    let folders = folders_of(victim.pid(), "");
    assert_eq!(folders.len(), 3);
    assert!(processes_in(&folders).len() >= 4, "three servers and an epmd work there");

    victim.kill9().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until
        && (folders.iter().any(|folder| folder.exists()) || !processes_in(&folders).is_empty())
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(processes_in(&folders), Vec::<String>::new());
    assert_eq!(folders_of(victim.pid(), ""), Vec::<PathBuf>::new());
    assert!(!pids.iter().copied().any(lives));
}

#[tokio::test]
async fn every_sender_delivers_a_bare_json_body() {
    let url = RabbitMq::shared().vhost().unwrap();
    let channel = connect(&url).await.create_channel().await.unwrap();
    declare(&channel, "order", Some("order.place.v1")).await;
    for sender in Sender::ALL {
        let body = format!(r#"{{"from":"{sender:?}"}}"#);
        sender.send(&url, "order.place.v1", &body).unwrap();
        let message = take(&channel, "order").await.expect("a confirmed message is in its queue");
        assert_eq!(message.data, body.as_bytes());
        assert_eq!(message.routing_key.as_str(), "order.place.v1");
        assert!(
            message.properties.message_id().is_none() && message.properties.headers().is_none()
        );
    }
}

#[tokio::test]
async fn every_sender_says_so_when_nobody_consumes_its_message() {
    let url = RabbitMq::shared().vhost().unwrap();
    let channel = connect(&url).await.create_channel().await.unwrap();
    declare(&channel, "order", Some("order.place.v1")).await;
    for sender in Sender::ALL {
        let error = sender.send(&url, "stock.recieve.v1", "{}").unwrap_err().to_string();
        assert!(error.contains("nobody consumes stock.recieve.v1"), "{error}");
    }
    assert!(take(&channel, "order").await.is_none());
}

#[tokio::test]
async fn every_sender_names_the_exchange_that_is_missing() {
    let url = RabbitMq::shared().vhost().unwrap();
    for sender in Sender::ALL {
        let error = sender.send(&url, "order.place.v1", "{}").unwrap_err().to_string();
        assert!(error.contains("no exchange 'quadrille.commands'"), "{error}");
    }
}
