//! One conversation over HTTP: blocking, bounded in time, size and number, and it never wanders off.
use quadrille_runtime::adapter::CallError;
use quadrille_runtime::secret::Secret;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use ureq::http::{HeaderValue, Response, Uri};
use ureq::{Agent, Body, Error, Timeout};
use uuid::Uuid;

/// Connecting takes one round trip, and one or two more for TLS: who needs longer is away.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A provider may take long to ask a bank; the deadline of the call is usually shorter.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The largest answer read, in bytes: fifty times a payment, or a full page of refunds.
pub(crate) const ANSWER_MAX_BYTES: u64 = 256 * 1024;
/// Head of an answer, in bytes.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Conversations at once, each with a thread: a slow other side must not take all threads.
const CONVERSATIONS_MAX: usize = 16;
/// Nobody may put us off for longer: money may be held meanwhile.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Where the other side is: from configuration only, never from a message.
///
/// ```
/// use quadrille_adapters::Base;
/// assert!(Base::new("https://api.stripe.com").is_ok());
/// assert!(Base::new("http://127.0.0.1:9000/api/").is_ok());
/// assert!(Base::new("http://api.stripe.com").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(String);

/// The address is not quoted: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBase(&'static str);
impl fmt::Display for BadBase {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the base address {}: use one such as https://api.example.com", self.0)
    }
}
impl std::error::Error for BadBase {}

impl Base {
    /// Takes `https`, or `http` to this machine itself. No user info, query or fragment.
    pub fn new(address: &str) -> Result<Self, BadBase> {
        let address = address.trim().trim_end_matches('/');
        if address.contains(['?', '#']) {
            return Err(BadBase("has a query or a fragment"));
        }
        let uri: Uri = address.parse().map_err(|_| BadBase("is not a URL"))?;
        let authority = uri.authority().ok_or(BadBase("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(BadBase("has user info; secrets go into their own setting"));
        }
        if uri.path().split('/').any(|part| part == "..") {
            return Err(BadBase("has `..` in its path"));
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self(address.to_owned())),
            Some("http") if is_loopback(authority.host()) => Ok(Self(address.to_owned())),
            Some("http") => Err(BadBase("is plain http to another machine")),
            _ => Err(BadBase("is neither https nor http")),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The way to one other side.
#[derive(Clone)]
pub(crate) struct Http {
    agent: Agent,
    base: Base,
    secret: Option<Secret>,
    /// Sent with each request, such as the version of its API.
    extra: &'static [(&'static str, &'static str)],
    free: Arc<Semaphore>,
}
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { base, secret, .. } = self;
        f.debug_struct("Http").field("base", base).field("secret", secret).finish_non_exhaustive()
    }
}

impl Http {
    pub(crate) fn new(
        base: Base,
        secret: Option<Secret>,
        extra: &'static [(&'static str, &'static str)],
    ) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A proxy named by the environment would see every key, and nobody configured it here.
            .proxy(None)
            .max_response_header_size(HEAD_MAX_BYTES)
            // No connection serves twice: what a confused server sent too much on one must never
            // be taken for the answer to the next question. It costs a handshake a request.
            .max_idle_connections(0)
            .user_agent("quadrille")
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(ANSWER_MAX))
            .timeout_recv_body(Some(ANSWER_MAX))
            .build();
        let free = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
        Self { agent: config.into(), base, secret, extra, free }
    }

    /// Runs a conversation on a thread of its own. Dropping the future does not stop what was
    /// begun: the thread ends by the deadline, and counts until then.
    pub(crate) async fn converse<T: Send + 'static>(
        &self,
        attempted: String,
        deadline: Duration,
        talk: impl FnOnce(&Line) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let until = Instant::now() + deadline;
        let waiting = self.free.clone().acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(deadline, waiting).await else {
            let why = format!("{CONVERSATIONS_MAX} others were being asked all the time");
            return Err(CallError::Later { attempted, why, after: None });
        };
        let line = Line { http: self.clone(), attempted: attempted.clone(), until };
        let talking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            talk(&line)
        });
        let left = until.saturating_duration_since(Instant::now());
        let unknown = |why: &str| CallError::Unknown { attempted, why: why.to_owned() };
        match tokio::time::timeout(left, talking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unknown("the conversation broke off by a bug of ours")),
            Err(_) => Err(unknown("no answer within the deadline")),
        }
    }
}

/// What the other side said, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// One conversation: a few requests under one deadline.
pub(crate) struct Line {
    http: Http,
    attempted: String,
    until: Instant,
}

impl Line {
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, CallError> {
        let request = self.http.agent.get(self.url(path)).query_pairs(query.iter().copied());
        self.finish(self.dress(request)?.call())
    }

    pub(crate) fn post_form(
        &self,
        path: &str,
        key: &str,
        fields: &[(&str, String)],
    ) -> Result<Answer, CallError> {
        let request = self.dress(self.http.agent.post(self.url(path)))?;
        let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
        self.finish(request.header("Idempotency-Key", key).send_form(fields))
    }

    pub(crate) fn put_json(&self, path: &str, key: Uuid, body: &str) -> Result<Answer, CallError> {
        let request = self.dress(self.http.agent.put(self.url(path)))?;
        let request = request.header("Idempotency-Key", key.to_string());
        self.finish(request.content_type("application/json").send(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http.base.0)
    }

    fn dress<B>(
        &self,
        request: ureq::RequestBuilder<B>,
    ) -> Result<ureq::RequestBuilder<B>, CallError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.unknown("no time was left to ask"));
        }
        let mut request = request.config().timeout_global(Some(left)).build();
        request = request.header("Connection", "close");
        for (name, value) in self.http.extra {
            request = request.header(*name, *value);
        }
        if let Some(secret) = &self.http.secret {
            let bearer = format!("Bearer {}", secret.expose());
            let mut bearer = HeaderValue::try_from(bearer)
                .expect("a secret is printable ASCII, which any header may hold");
            bearer.set_sensitive(true);
            request = request.header("Authorization", bearer);
        }
        Ok(request)
    }

    fn finish(&self, heard: Result<Response<Body>, Error>) -> Result<Answer, CallError> {
        let mut response = heard.map_err(|error| self.silence(&error))?;
        let retry_after = response.headers().get("retry-after").and_then(|value| {
            let seconds = value.to_str().ok()?.trim().parse().ok()?;
            Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
        });
        let body = response.body_mut().with_config().limit(ANSWER_MAX_BYTES).read_to_vec();
        let body = body.map_err(|error| self.silence(&error))?;
        Ok(Answer { status: response.status().as_u16(), retry_after, body })
    }

    /// The request may have arrived, unless there never was a connection.
    fn silence(&self, error: &Error) -> CallError {
        let never_left = match error {
            Error::HostNotFound | Error::ConnectionFailed => true,
            Error::Timeout(phase) => matches!(phase, Timeout::Resolve | Timeout::Connect),
            Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
            _ => false,
        };
        let why = match error {
            Error::BodyExceedsLimit(_) => {
                format!("the answer is larger than {ANSWER_MAX_BYTES} bytes")
            }
            error => self.redact(&error.to_string()),
        };
        match never_left {
            true => self.later(&why, None),
            false => self.unknown(&why),
        }
    }

    /// What an answer means that nobody expected. `said` is the other side's word for it.
    pub(crate) fn unexpected(&self, answer: &Answer, said: &str) -> CallError {
        let why = match said {
            "" => format!("status {}", answer.status),
            said => format!("status {}, {}", answer.status, self.redact(said)),
        };
        match answer.status {
            200..=299 | 408 | 500..=599 => self.unknown(&why),
            409 | 425 | 429 => self.later(&why, answer.retry_after),
            300..=399 => self.misconfigured(
                &format!("{why}: it points elsewhere, and redirects are not followed"),
                "set the base address to where it really is",
            ),
            401 | 403 => self.misconfigured(&why, "check the key and what it permits"),
            404 => self.misconfigured(&why, "check the base address and the account"),
            _ => self.misconfigured(&why, "compare its documentation with what we send"),
        }
    }

    pub(crate) fn unknown(&self, why: &str) -> CallError {
        CallError::Unknown { attempted: self.attempted.clone(), why: why.to_owned() }
    }
    pub(crate) fn later(&self, why: &str, after: Option<Duration>) -> CallError {
        CallError::Later { attempted: self.attempted.clone(), why: why.to_owned(), after }
    }
    pub(crate) fn misconfigured(&self, why: &str, remedy: &str) -> CallError {
        let (attempted, why, remedy) = (self.attempted.clone(), why.to_owned(), remedy.to_owned());
        CallError::Misconfigured { attempted, why, remedy }
    }

    fn redact(&self, text: &str) -> String {
        let text = match &self.http.secret {
            Some(secret) => secret.redact(text),
            None => text.to_owned(),
        };
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}
