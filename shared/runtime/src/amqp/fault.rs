//! Deadlines for what is asked of the broker, and what its errors mean to us.
use crate::broker::BrokerError;
use lapin::protocol::AMQPErrorKind;
use lapin::types::ShortString;
use lapin::{Error, ErrorKind};
use std::future::Future;
use std::time::Duration;

/// To reach the broker and say hello, or to wait for another caller who does.
pub(super) const DIAL_MS: u64 = 5_000;
/// For one method that the broker answers: opening a channel, declaring, consuming, counting.
pub(super) const CALL_MS: u64 = 5_000;
/// For all confirms of a batch, with all that must come before them.
pub(super) const CONFIRM_MS: u64 = 15_000;
/// For an acknowledgement to be written. The broker does not answer those.
pub(super) const ACK_MS: u64 = 5_000;
/// For each step of a polite end; after it the socket is shut down.
pub(super) const CLOSE_MS: u64 = 2_000;

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// An attempt that failed: what was attempted, and lapin's error, or none if the deadline passed.
#[derive(Debug)]
pub(super) struct Failed {
    attempted: String,
    deadline_ms: u64,
    cause: Option<Error>,
    /// Of the connection itself: lapin tells a channel's error by its code, and 403 is a refused
    /// login too.
    dialling: bool,
}

impl Failed {
    pub(super) fn while_dialling(self) -> Self {
        Self { dialling: true, ..self }
    }

    /// True if the broker closed the channel for it, and nothing but the channel.
    pub(super) fn is_of_channel(&self) -> bool {
        !self.dialling && self.cause.as_ref().is_some_and(Error::is_amqp_soft_error)
    }

    /// True if something came that lapin cannot read, which ends the whole connection.
    pub(super) fn is_unreadable(&self) -> bool {
        self.cause.as_ref().is_some_and(is_unreadable)
    }

    /// True if a right is missing.
    pub(super) fn is_forbidden(&self) -> bool {
        self.is_of_channel() && self.cause.as_ref().and_then(reply_of) == Some(ACCESS_REFUSED)
    }
}

impl From<Failed> for BrokerError {
    fn from(failed: Failed) -> Self {
        let Failed { attempted, deadline_ms, cause, dialling } = failed;
        let Some(error) = cause else { return Self::Late { attempted, deadline_ms } };
        let remedy = match reply_of(&error) {
            Some(ACCESS_REFUSED) if dialling => "check user and password in the broker's URL",
            Some(ACCESS_REFUSED) => "give the user this right, or have an operator declare it",
            Some(NOT_FOUND) => "declare it first",
            Some(PRECONDITION_FAILED) => {
                "if it exists with other arguments: let it run empty, delete it, and start again"
            }
            Some(NOT_ALLOWED) => "check the virtual host in the broker's URL and the user's rights",
            _ => return Self::Down { attempted, why: error.to_string() },
        };
        Self::Refused { attempted, why: format!("{error}; {remedy}") }
    }
}

pub(super) fn is_unreadable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ParsingError(_))
}

fn reply_of(error: &Error) -> Option<u16> {
    let ErrorKind::ProtocolError(error) = error.kind() else { return None };
    match error.kind() {
        AMQPErrorKind::Soft(soft) => Some(soft.get_id()),
        AMQPErrorKind::Hard(hard) => Some(hard.get_id()),
    }
}

/// Awaits lapin, but not longer than the deadline.
pub(super) async fn within<T>(
    deadline_ms: u64,
    attempted: impl FnOnce() -> String,
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Failed> {
    let cause = match tokio::time::timeout(Duration::from_millis(deadline_ms), work).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    Err(Failed { attempted: attempted(), deadline_ms, cause, dialling: false })
}

/// Names are at most 255 bytes on this wire; lapin panics on longer ones.
pub(super) fn short(
    text: &str,
    attempted: impl FnOnce() -> String,
) -> Result<ShortString, BrokerError> {
    ShortString::try_new(text).map_err(|_| BrokerError::Refused {
        attempted: attempted(),
        why: "a name is longer than 255 bytes".to_owned(),
    })
}
