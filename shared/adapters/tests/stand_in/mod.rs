//! A stand-in for the outside world: honest in its books, and as badly behaved as it is told to be.
#![allow(dead_code, unreachable_pub)]
pub mod carrier;
pub mod stripe;

use quadrille_core::Service;
use quadrille_runtime::adapter::{Call, CallError, Caller};
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long an attempt of the tests' worker may take.
pub const DEADLINE: Duration = Duration::from_millis(600);
/// Longer than that.
const LATE: Duration = Duration::from_millis(900);

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Done at once, answered when nobody listens any more.
    AnswerLate,
    /// Not even done until nobody listens any more.
    DoLate,
    DoAndSayNothing,
    DoAndClose,
    CloseBeforeDoing,
    /// Two answers, and bytes that are none, on one connection.
    AnswerTwice,
    Fail500Before,
    Fail500After,
    /// As after doing, and the 500 is what the key gets from now on.
    Remember500,
    TooMany429,
    Conflict409,
    MalformedJson,
    EmptyObject,
    Truncated,
    Endless,
    EndlessHead,
    /// One byte at a time, each in time, the whole far too late.
    Drip,
    RedirectElsewhere,
}
pub const FAULTS: [Fault; 18] = [
    Fault::AnswerLate,
    Fault::DoLate,
    Fault::DoAndSayNothing,
    Fault::DoAndClose,
    Fault::CloseBeforeDoing,
    Fault::AnswerTwice,
    Fault::Fail500Before,
    Fault::Fail500After,
    Fault::Remember500,
    Fault::TooMany429,
    Fault::Conflict409,
    Fault::MalformedJson,
    Fault::EmptyObject,
    Fault::Truncated,
    Fault::Endless,
    Fault::EndlessHead,
    Fault::Drip,
    Fault::RedirectElsewhere,
];

#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: HashMap<String, String>,
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// The books of the other side: what it does if nothing goes wrong.
pub trait Books: Send + 'static {
    fn serve(&mut self, request: &Request) -> (u16, String);
    /// The answer to this request is a 500 from now on.
    fn remember_500(&mut self, _: &Request) {}
    fn forget_keys(&mut self) {}
}

pub struct StandIn<B> {
    pub url: String,
    shared: Arc<Shared<B>>,
}

struct Shared<B> {
    books: Mutex<B>,
    faults: Mutex<VecDeque<Option<Fault>>>,
    /// Where redirects point to.
    elsewhere: String,
    visits_elsewhere: Arc<AtomicUsize>,
    busy: AtomicUsize,
    pub sent_bytes: AtomicU64,
}

impl<B: Books> StandIn<B> {
    pub fn open(books: B) -> Self {
        let trap = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let elsewhere = format!("http://{}/", trap.local_addr().expect("bound"));
        let visits_elsewhere = Arc::new(AtomicUsize::new(0));
        let visits = visits_elsewhere.clone();
        thread::spawn(move || trap.incoming().for_each(|_| _ = visits.fetch_add(1, SeqCst)));

        let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", door.local_addr().expect("bound"));
        let shared = Arc::new(Shared {
            books: Mutex::new(books),
            faults: Mutex::default(),
            elsewhere,
            visits_elsewhere,
            busy: AtomicUsize::new(0),
            sent_bytes: AtomicU64::new(0),
        });
        let inside = shared.clone();
        thread::spawn(move || {
            for stream in door.incoming().flatten() {
                let shared = inside.clone();
                shared.busy.fetch_add(1, SeqCst);
                thread::spawn(move || {
                    // A client that went away is part of the test.
                    _ = shared.visit(stream);
                    shared.busy.fetch_sub(1, SeqCst);
                });
            }
        });
        Self { url, shared }
    }

    pub fn books(&self) -> MutexGuard<'_, B> {
        self.shared.books.lock().expect("no test panics with it")
    }
    /// What goes wrong with the next requests, one each.
    pub fn misbehave(&self, faults: &[Option<Fault>]) {
        *self.shared.faults.lock().expect("no test panics with it") = faults.to_vec().into();
    }
    pub fn visits_elsewhere(&self) -> usize {
        self.shared.visits_elsewhere.load(SeqCst)
    }
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent_bytes.load(SeqCst)
    }
    /// Waits until everything late has happened.
    pub async fn settle(&self) {
        self.wait_for(0).await;
    }
    /// Waits until so many are being served.
    pub async fn wait_for(&self, visitors: usize) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.shared.busy.load(SeqCst) != visitors {
            assert!(Instant::now() < until, "never were {visitors} being served");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl<B: Books> Shared<B> {
    fn visit(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let Some(request) = read_request(&mut reader)? else { return Ok(()) };
        let fault = self.faults.lock().expect("no panics").pop_front().flatten();
        self.act(&request, fault, stream, reader)
    }

    fn act(
        &self,
        request: &Request,
        fault: Option<Fault>,
        mut to: TcpStream,
        mut from: BufReader<TcpStream>,
    ) -> std::io::Result<()> {
        let serve = || self.books.lock().expect("no panics").serve(request);
        let error = |code: &str| format!(r#"{{"error":{{"type":"api_error","code":"{code}"}}}}"#);
        match fault {
            Some(Fault::CloseBeforeDoing) => return Ok(()),
            Some(Fault::Fail500Before) => return respond(&mut to, 500, &error("broken"), ""),
            Some(Fault::TooMany429) => {
                return respond(&mut to, 429, &error("rate_limit"), "Retry-After: 7\r\n");
            }
            Some(Fault::Conflict409) => {
                return respond(&mut to, 409, &error("idempotency_key_in_use"), "");
            }
            Some(Fault::RedirectElsewhere) => {
                let location = format!("Location: {}\r\n", self.elsewhere);
                return respond(&mut to, 307, "{}", &location);
            }
            Some(Fault::DoLate) => thread::sleep(LATE),
            Some(Fault::Remember500) => {
                serve();
                self.books.lock().expect("no panics").remember_500(request);
                return respond(&mut to, 500, &error("broken"), "");
            }
            _ => {}
        }
        let (status, body) = serve();
        match fault {
            Some(Fault::AnswerLate) => {
                thread::sleep(LATE);
                respond(&mut to, status, &body, "")
            }
            Some(Fault::DoAndSayNothing) => from.read_to_end(&mut Vec::new()).map(|_| ()),
            Some(Fault::DoAndClose) => Ok(()),
            Some(Fault::AnswerTwice) => {
                let answer = head(status, body.len(), "") + &body;
                to.write_all(format!("{answer}{answer}HTTP/1.1 garb").as_bytes())
            }
            Some(Fault::Fail500After) => respond(&mut to, 500, &error("broken"), ""),
            Some(Fault::MalformedJson) => respond(&mut to, 200, &body[..body.len() / 2], ""),
            Some(Fault::EmptyObject) => respond(&mut to, 200, "{}", ""),
            Some(Fault::Truncated) => {
                to.write_all((head(status, body.len() + 10, "") + &body).as_bytes())
            }
            Some(Fault::Endless) => {
                to.write_all(head(status, 1 << 40, "").as_bytes())?;
                self.pour(&mut to)
            }
            Some(Fault::EndlessHead) => {
                to.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ")?;
                self.pour(&mut to)
            }
            Some(Fault::Drip) => {
                for byte in (head(status, body.len(), "") + &body).bytes() {
                    to.write_all(&[byte])?;
                    thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            }
            _ => respond(&mut to, status, &body, ""),
        }
    }

    fn pour(&self, to: &mut TcpStream) -> std::io::Result<()> {
        loop {
            to.write_all(&[b' '; 16 * 1024])?;
            self.sent_bytes.fetch_add(16 * 1024, SeqCst);
        }
    }
}

fn head(status: u16, length: usize, more: &str) -> String {
    format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{more}\r\n"
    )
}

fn respond(to: &mut TcpStream, status: u16, body: &str, more: &str) -> std::io::Result<()> {
    to.write_all((head(status, body.len(), more) + body).as_bytes())
}

fn read_request(from: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: pairs(query),
        ..Request::default()
    };
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request.headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(request))
}

/// `a=b&c=d` with its escapes.
pub fn pairs(text: &str) -> HashMap<String, String> {
    let unescape = |text: &str| {
        let (mut bytes, mut rest) = (Vec::new(), text.bytes());
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let mut digit = || (rest.next()? as char).to_digit(16);
                    let (high, low) = (digit(), digit());
                    (high.expect("hex") * 16 + low.expect("hex")) as u8
                }
                byte => byte,
            });
        }
        String::from_utf8(bytes).expect("UTF-8")
    };
    let pair = |pair: &str| pair.split_once('=').map(|(a, b)| (unescape(a), unescape(b)));
    text.split('&').filter_map(pair).collect()
}

/// Attempts before the keys are forgotten, and after.
const SOON: u32 = 5;
const ATTEMPTS_MAX: u32 = 10;

/// What the worker of a service does: the same request with the same key until there is an answer.
/// The fifth attempt is the last for a day; then the other side has forgotten all keys.
pub async fn work<S, B>(
    caller: &impl Caller<S>,
    at: &StandIn<B>,
    request: S::Requests,
) -> (S::Consumes, Vec<CallError>)
where
    S: Service,
    B: Books,
{
    let (key, mut errors) = (Uuid::new_v4(), Vec::new());
    for attempt in 1..=ATTEMPTS_MAX {
        if attempt == SOON + 1 {
            at.settle().await;
            at.books().forget_keys();
        }
        let hours = if attempt <= SOON { 0 } else { 25 };
        let age = Duration::from_secs(hours * 3600 + u64::from(attempt));
        let call = Call { key, attempt, age, deadline: DEADLINE };
        match caller.call(request.clone(), &call).await {
            Ok(answer) => return (answer, errors),
            Err(error) => errors.push(error),
        }
    }
    panic!("no answer to {request:?}: {errors:#?}");
}
