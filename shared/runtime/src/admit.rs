//! What may come in: why a message was refused, and the strict reading of its body.
use std::fmt;

/// The longest text in an envelope, in characters: ids, names and keys are short, or they are something else.
pub const TEXT_MAX_CHARS: usize = 128;

/// The same in bytes: with what is written before it, a header stays within 255 bytes, beyond which RabbitMQ
/// hands it to AMQP 1.0 readers as binary.
pub const TEXT_MAX_BYTES: usize = 240;

/// The longest explanation of a refusal, in characters: it is logged on one line and may quote its sender.
const DETAIL_MAX_CHARS: usize = 512;

/// Why a message was parked. The words are stable: they label counters and select what an operator tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The body is larger than [`crate::message::BODY_MAX_BYTES`].
    Oversize,
    /// The headers are too many, too deep or too long, as the broker's adapter found.
    MalformedHeaders,
    /// Not JSON by its content type, or JSON in another charset than UTF-8.
    UnsupportedContentType,
    /// An attribute of the envelope is missing, too long or of the wrong shape; the pointer is into the envelope.
    MalformedEnvelope,
    /// Not JSON, or JSON that two readers could read differently.
    MalformedJson,
    /// JSON, but not what the contract says; the pointer is into the body.
    MalformedBody,
    /// No contract of this service has the name.
    UnknownType,
    /// The name is known, the version is not.
    UnknownVersion,
    /// Somebody published what is another's to publish.
    WrongPublisher,
    /// The id was seen before with another body.
    IdReused,
    /// The entity's state makes it impossible.
    Rejected,
    /// It came too early, and what it waited for did not happen in time.
    Expired,
    /// Every attempt at it failed or killed its process.
    RepeatedlyFailed,
}

impl Reason {
    /// All of them, for counters that begin at zero.
    pub const ALL: [Self; 13] = [
        Self::Oversize,
        Self::MalformedHeaders,
        Self::UnsupportedContentType,
        Self::MalformedEnvelope,
        Self::MalformedJson,
        Self::MalformedBody,
        Self::UnknownType,
        Self::UnknownVersion,
        Self::WrongPublisher,
        Self::IdReused,
        Self::Rejected,
        Self::Expired,
        Self::RepeatedlyFailed,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oversize => "oversize",
            Self::MalformedHeaders => "malformed_headers",
            Self::UnsupportedContentType => "unsupported_content_type",
            Self::MalformedEnvelope => "malformed_envelope",
            Self::MalformedJson => "malformed_json",
            Self::MalformedBody => "malformed_body",
            Self::UnknownType => "unknown_type",
            Self::UnknownVersion => "unknown_version",
            Self::WrongPublisher => "wrong_publisher",
            Self::IdReused => "id_reused",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::RepeatedlyFailed => "repeatedly_failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why one message cannot be used, for the machine, for the sender and for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}: {detail}", .pointer.as_deref().map(|p| format!(" at {p:?}")).unwrap_or_default())]
pub struct Refusal {
    pub reason: Reason,
    /// RFC 6901, into the envelope or the body as the reason says. The empty pointer is the whole.
    pub pointer: Option<String>,
    /// One line of at most 512 characters without control characters, whatever the sender wrote.
    pub detail: String,
}

impl Refusal {
    pub fn new(reason: Reason, detail: impl AsRef<str>) -> Self {
        let (mut line, mut chars) = (String::new(), detail.as_ref().chars());
        for c in chars.by_ref().take(DETAIL_MAX_CHARS - 1) {
            line.push(if c.is_control() { '\u{fffd}' } else { c });
        }
        if chars.next().is_some() {
            line.push('…');
        }
        Self { reason, pointer: None, detail: line }
    }

    /// Names the field to blame. Keys of the sender are in it, so it is as short and as clean as the detail.
    #[must_use]
    pub fn at(mut self, pointer: impl AsRef<str>) -> Self {
        self.pointer = Some(Self::new(self.reason, pointer).detail);
        self
    }
}

/// Text of an envelope: short, and without control characters.
pub(crate) fn text(attribute: &str, value: &str) -> Result<(), Refusal> {
    let wrong = if value.len() > TEXT_MAX_BYTES || value.chars().count() > TEXT_MAX_CHARS {
        format!("{attribute} is longer than {TEXT_MAX_CHARS} characters or {TEXT_MAX_BYTES} bytes")
    } else if value.chars().any(char::is_control) {
        format!("{attribute} contains a control character")
    } else {
        return Ok(());
    };
    Err(Refusal::new(Reason::MalformedEnvelope, wrong).at(format!("/{attribute}")))
}

/// The field that serde blames, as RFC 6901. A missing field is named too, though it is not there to point to.
pub(crate) fn pointer(path: &serde_path_to_error::Path, error: &serde_json::Error) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => step(&mut pointer, key),
            Segment::Unknown => {}
        }
    }
    let missing = error.to_string();
    let missing = missing.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    if let Some(field) = missing {
        step(&mut pointer, field);
    }
    pointer
}

fn step(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}
