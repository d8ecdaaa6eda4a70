//! What each rule does to bytes, between a plain client and a server that says everything again.
#![allow(clippy::unwrap_used, reason = "tests")]
use quadrille_proxy::{Counts, End, Protocol, Proxy, ProxyError};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Anything that is not waited for on purpose.
const SOON: Duration = Duration::from_secs(5);
/// Long enough to be sure that nothing comes.
const NOTHING: Duration = Duration::from_millis(150);

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// An echo, and a proxy before it.
async fn proxied(protocol: Protocol) -> Proxy {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let echo = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = split(stream);
                let _ = copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    Proxy::start(anywhere(), echo, protocol).await.unwrap()
}

fn rule(proxy: &Proxy, rule: &str) {
    proxy.set(&[rule.parse().unwrap()]);
}

async fn say(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
}

async fn hear(stream: &mut TcpStream, text: &[u8]) {
    let mut heard = vec![0; text.len()];
    timeout(SOON, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, text);
}

async fn hear_nothing(stream: &mut TcpStream) {
    let heard = timeout(NOTHING, stream.read(&mut [0])).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn connect(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut stream, b"hello").await;
    hear(&mut stream, b"hello").await;
    stream
}

/// How the stream ends: `Ok` if in order.
async fn end(stream: &mut TcpStream) -> Result<(), ErrorKind> {
    let read = timeout(SOON, stream.read(&mut [0; 64])).await.unwrap();
    read.map(|bytes| assert_eq!(bytes, 0)).map_err(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rules_everything_passes_and_so_does_the_end() {
    let proxy = proxied(Protocol::Bytes).await;
    let mut stream = connect(&proxy).await;
    let much = vec![7; 1_000_000];
    let (mut from, mut to) = stream.split();
    let mut heard = vec![0; much.len()];
    let (said, read) = tokio::join!(to.write_all(&much), from.read_exact(&mut heard));
    said.unwrap();
    read.unwrap();
    assert_eq!(heard, much);
    stream.shutdown().await.unwrap();
    assert_eq!(end(&mut stream).await, Ok(()));
    assert_eq!(proxy.counts(), Counts { connections: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_ends_in_order_and_a_reset_does_not() {
    let proxy = proxied(Protocol::Bytes).await;
    let mut stream = connect(&proxy).await;
    proxy.strike(End::Cut);
    assert_eq!(end(&mut stream).await, Ok(()));
    let mut stream = connect(&proxy).await;
    proxy.strike(End::Reset);
    assert_eq!(end(&mut stream).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_connection_stays_silent_and_a_new_one_works_once_it_is_healed() {
    let proxy = proxied(Protocol::Bytes).await;
    let mut old = connect(&proxy).await;
    rule(&proxy, "halt");
    say(&mut old, b"anybody?").await;
    hear_nothing(&mut old).await;
    proxy.clear();
    connect(&proxy).await;
    hear_nothing(&mut old).await;
    proxy.strike(End::Reset);
    assert_eq!(end(&mut old).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_paused_side_says_is_heard_later() {
    for side in ["pause:client", "pause:server"] {
        let proxy = proxied(Protocol::Bytes).await;
        let mut stream = connect(&proxy).await;
        rule(&proxy, side);
        say(&mut stream, b"later").await;
        hear_nothing(&mut stream).await;
        proxy.clear();
        hear(&mut stream, b"later").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_and_throttled_bytes_take_their_time() {
    let proxy = proxied(Protocol::Bytes).await;
    let mut stream = connect(&proxy).await;
    rule(&proxy, "delay:100ms");
    let began = Instant::now();
    say(&mut stream, b"slow").await;
    hear(&mut stream, b"slow").await;
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    rule(&proxy, "throttle:1000");
    let (began, text) = (Instant::now(), [1; 300]);
    say(&mut stream, &text).await;
    hear(&mut stream, &text).await;
    // Six parts, and a pause behind each but the last.
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_are_refused_and_old_ones_go_on() {
    let proxy = proxied(Protocol::Bytes).await;
    let mut old = connect(&proxy).await;
    rule(&proxy, "refuse");
    // The reset comes behind the connection, or so soon that there never was one.
    let refused = match TcpStream::connect(proxy.address()).await {
        Ok(mut new) => end(&mut new).await,
        Err(error) => Err(error.kind()),
    };
    assert_eq!(refused, Err(ErrorKind::ConnectionReset));
    say(&mut old, b"still").await;
    hear(&mut old, b"still").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_done_and_its_answer_never_comes() {
    // What the echo says again is what a server says.
    let proxy = proxied(Protocol::Postgres).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let ready = b"Z\x00\x00\x00\x05I";
    let commit = b"C\x00\x00\x00\x0bCOMMIT\x00";
    rule(&proxy, "cut:commit:2");
    for text in [&ready[..], commit, ready] {
        say(&mut stream, text).await;
        hear(&mut stream, text).await;
    }
    say(&mut stream, &[&commit[..], ready].concat()).await;
    assert_eq!(end(&mut stream).await, Ok(()));
    assert_eq!((proxy.counts().commits, proxy.counts().ended), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_amqp_is_ended_and_counted() {
    let proxy = proxied(Protocol::Amqp).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut stream, b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(end(&mut stream).await, Ok(()));
    assert_eq!(proxy.counts().garbled, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_on_loopback() {
    let outside: SocketAddr = "192.0.2.1:5672".parse().unwrap();
    let error = Proxy::start(anywhere(), outside, Protocol::Amqp).await.unwrap_err();
    assert!(matches!(error, ProxyError::NotLoopback { .. }), "{error}");
}
