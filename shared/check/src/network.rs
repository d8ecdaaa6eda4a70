//! What may happen to a message between the one who says it and the one who hears it.
use std::fmt;

/// What the network may do to a message, besides being late and out of order.
///
/// A message that is lost on the way is sent again, as nobody confirmed it: it is merely late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Each message takes effect once: what an inbox guarantees.
    Once,
    /// Any messages, at most so many in one run, are delivered a second time, at any moment after
    /// the first; there is no inbox.
    Twice { most: u32 },
    /// Each message may be delivered again and again, for ever; there is no inbox. It finds what
    /// repeats break, and is blind to hangs, as repeating for ever heals them.
    Repeating,
    /// At most so many times in one run a process dies after a commit: before it has published, so
    /// that what it said waits for another process, or after, so that all is said again. The
    /// message it worked on comes again too. There is an inbox.
    Crashing { most: u32 },
}

impl Network {
    /// How many times in one run it may do what it is called after.
    pub(crate) fn budget(self) -> u32 {
        match self {
            Self::Twice { most } | Self::Crashing { most } => most,
            Self::Once | Self::Repeating => 0,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Once => f.write_str("once"),
            Self::Twice { most } => write!(f, "twice, at most {most}"),
            Self::Repeating => f.write_str("repeating"),
            Self::Crashing { most } => write!(f, "crashing, at most {most}"),
        }
    }
}

/// What a timer may do. It may always come at any moment, or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timers {
    /// Never fires.
    Never,
    /// A cancelled timer does not come: it is forgotten in the commit that cancels it. One that has
    /// come may be repeated, as any message.
    #[default]
    Exact,
    /// A cancelled timer may come all the same.
    Late,
}

/// How a replica commits what it decided on entities that it loaded a moment before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Only if nobody has changed them since; else the message is decided on again.
    IfUnchanged,
    /// In any case, over whatever others have written: the bug that the version check is for.
    Blindly,
}
