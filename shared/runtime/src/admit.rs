//! What may come in: why a message was refused, and the strict reading of its body.
mod strict;

use crate::message::{BODY_MAX_BYTES, Message};
use crate::wire::kind_of;
use quadrille_core::{Descriptor, Invalid, Messages, Undecoded};
use std::fmt;
use strict::Unfit;

/// The longest text in an envelope, in characters: ids, names and keys are short, or they are
/// something else.
pub const TEXT_MAX_CHARS: usize = 128;

/// The same in bytes: with what is written before it, a header stays within 255 bytes, beyond which
/// RabbitMQ hands it to AMQP 1.0 readers as binary.
pub const TEXT_MAX_BYTES: usize = 240;

/// The longest explanation of a refusal, in characters: it is logged on one line and may quote its
/// sender.
const DETAIL_MAX_CHARS: usize = 512;

/// Why a message was parked. The words are stable: they label counters and select what an operator
/// tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The body is larger than [`crate::message::BODY_MAX_BYTES`].
    Oversize,
    /// The headers are too many, too deep or too long, as the broker's adapter found.
    MalformedHeaders,
    /// Not JSON by its content type, or JSON in another charset than UTF-8.
    UnsupportedContentType,
    /// An attribute of the envelope is missing, too long or of the wrong shape; the pointer is into
    /// the envelope.
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
    /// Every attempt at it killed its process.
    RepeatedlyFailed,
    /// The service panicked over it: a bug of ours, or a number that cannot be.
    Panicked,
    /// The store can never hold what it leads to.
    Unstorable,
}

impl Reason {
    /// All of them, for counters that begin at zero.
    pub const ALL: [Self; 15] = [
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
        Self::Panicked,
        Self::Unstorable,
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
            Self::Panicked => "panicked",
            Self::Unstorable => "unstorable",
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
#[error("{reason}{}: {detail}", .pointer.iter().map(|p| format!(" at {p:?}")).collect::<String>())]
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

    /// Names the field to blame. Keys of the sender are in it, so it is as short and as clean as
    /// the detail.
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

/// Reads a message into the type that its name and version say, strictly: a body that two readers
/// could take differently is refused before any of it is believed.
///
/// The reasons are `unknown_type`, `unknown_version`, `oversize`, `malformed_json` and
/// `malformed_body`.
pub fn body<M: Messages>(message: &Message) -> Result<M, Refusal> {
    known(M::LIST, &message.name, message.version)?;
    let text = shape(&message.body)?;
    let mut json = serde_json::Deserializer::from_str(text);
    match M::decode(&message.name, message.version, &mut json) {
        Ok(read) => Ok(read),
        Err(Undecoded::UnknownName) => Err(unknown_type(M::LIST, &message.name, message.version)),
        Err(Undecoded::UnknownVersion { .. }) => {
            Err(unknown_version(M::LIST, &message.name, message.version))
        }
        Err(Undecoded::Body(error)) => Err(blamed::<M>(message, &error)),
        Err(Undecoded::Invalid(Invalid { pointer, why })) => {
            Err(Refusal::new(Reason::MalformedBody, why).at(pointer))
        }
    }
}

/// Reads once more, slowly, to say which field it was: to keep the path costs an allocation a
/// field.
fn blamed<M: Messages>(message: &Message, error: &serde_json::Error) -> Refusal {
    let mut json = serde_json::Deserializer::from_slice(&message.body);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    // The outcome is known; only the way there is of interest.
    let _ = M::decode(&message.name, message.version, tracked);
    let pointer = pointer(&track.path(), error);
    Refusal::new(Reason::MalformedBody, error.to_string()).at(pointer)
}

/// An object, in JSON that can be read in one way only.
fn shape(body: &[u8]) -> Result<&str, Refusal> {
    let not_json = |detail: &str| Err(Refusal::new(Reason::MalformedJson, detail));
    if body.len() > BODY_MAX_BYTES {
        let detail = format!("{} bytes, at most {BODY_MAX_BYTES} are read", body.len());
        return Err(Refusal::new(Reason::Oversize, detail));
    }
    let first = match body.trim_ascii_start() {
        [] => return not_json("the body is empty"),
        [0xef, 0xbb, 0xbf, ..] => return not_json("the body begins with a byte order mark"),
        [0x1f, 0x8b, ..] => return not_json("the body is compressed: publish it as it is"),
        [first, ..] => *first,
    };
    // Once for all texts in it: the readers need not look again.
    let Ok(body) = std::str::from_utf8(body) else {
        return not_json("the body is not UTF-8");
    };
    match strict::pass(body) {
        Ok(()) if first == b'{' => Ok(body),
        // Serde would take an array for a struct, by position.
        Ok(()) => Err(Refusal::new(Reason::MalformedBody, "the body is not an object").at("")),
        Err(Unfit::NotJson(error)) => not_json(&error.to_string()),
        Err(Unfit::Flawed(flaw)) => {
            Err(Refusal::new(Reason::MalformedJson, flaw.what).at(flaw.pointer))
        }
    }
}

fn known(all: &[Descriptor], name: &str, version: u16) -> Result<(), Refusal> {
    if all.iter().any(|known| known.name == name && known.version == version) {
        Ok(())
    } else if all.iter().any(|known| known.name == name) {
        Err(unknown_version(all, name, version))
    } else {
        Err(unknown_type(all, name, version))
    }
}

fn unknown_version(all: &[Descriptor], name: &str, version: u16) -> Refusal {
    let versions = all.iter().filter(|known| known.name == name);
    let versions: Vec<_> = versions.map(|known| known.version.to_string()).collect();
    let detail = format!("{name} is read in version {}, not {version}", versions.join(" and "));
    Refusal::new(Reason::UnknownVersion, detail)
}

fn unknown_type(all: &[Descriptor], name: &str, version: u16) -> Refusal {
    let wanted = kind_of(name, version);
    let near = all.iter().map(|known| kind_of(known.name, known.version));
    let near = near.map(|known| (distance(&wanted, &known), known)).min();
    let detail = match near {
        // Beyond a third it is another word.
        Some((distance, near)) if distance * 3 <= near.len() => {
            format!("nobody here reads {wanted}; did you mean {near}?")
        }
        _ => format!("nobody here reads {wanted}"),
    };
    Refusal::new(Reason::UnknownType, detail)
}

/// How many bytes must be added, removed or changed to get from one to the other (Levenshtein).
pub(crate) fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

/// The field that serde blames, as RFC 6901. A missing field is named too, though it is not there
/// to point to.
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
    // For these two serde blames the object around the field.
    let said = error.to_string();
    let field = ["missing field `", "duplicate field `"].iter().find_map(|p| said.strip_prefix(p));
    if let Some(field) = field.and_then(|rest| rest.split('`').next()) {
        step(&mut pointer, field);
    }
    pointer
}

fn step(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}
