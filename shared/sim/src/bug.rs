//! Bugs planted on purpose, each in a port: whoever hunts bugs must find these.
//!
//! Nothing that ships knows of them: a port that lies is all it takes to break a promise.
use std::fmt;
use std::str::FromStr;

/// Writes the list of bugs once.
macro_rules! bugs {
    ($($(#[$meta:meta])* $name:ident = $word:literal;)+) => {
        /// A bug of the runtime or a store that others have had.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug { $($(#[$meta])* $name),+ }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }
    };
}

bugs! {
    /// A delivery is settled when it is handed out.
    AckBeforeCommit = "ack-before-commit";
    /// The inbox is written before the rest, and stays if the rest fails.
    InboxApart = "inbox-outside-transaction";
    /// The inbox does not say who consumed.
    InboxShared = "inbox-without-consumer";
    /// The inbox remembers a minute.
    InboxForgets = "short-deduplication-window";
    /// Events count as published when they are on their way.
    MarkBeforeConfirm = "mark-before-confirm";
    /// What no queue took counts as published.
    IgnoreReturns = "ignore-returns";
    /// Whoever waits for a confirm waits for ever.
    NoConfirmDeadline = "no-confirm-deadline";
    /// What was not confirmed is not published again.
    NoSweep = "no-sweep";
    /// What is not confirmed after some seconds is forgotten.
    PurgeUnsent = "purge-unsent";
    /// A timer that was cancelled or has fired fires.
    TimerNotRechecked = "timer-not-rechecked";
    /// Timers are compared with the clock of the process.
    TimerByProcessClock = "timer-by-process-clock";
    /// What was handed out once is never handed out again.
    LeaseForever = "lease-forever";
    /// Calls to the outside world are noted after the commit.
    RequestApart = "request-outside-transaction";
    /// A refund that is tried again has another key.
    FreshRefundKey = "fresh-refund-key";
    /// A capture that is tried again has another key.
    FreshCaptureKey = "fresh-capture-key";
    /// Dead letters come back with new ids.
    RedriveSkipsInbox = "redrive-skips-inbox";
    /// A consumer that is gone says nothing.
    StreamEndIgnored = "stream-end-ignored";
    /// Two replicas overwrite each other's entities.
    VersionUnchecked = "version-unchecked";
    /// Positions are given before it is known whether the commit succeeds.
    PositionApart = "position-outside-transaction";
    /// A crash takes the last commits with it.
    NotDurable = "commit-not-durable";
    /// A commit that ends in doubt is half done.
    TornCommit = "torn-commit";
    /// A message that came too early is not kept.
    DeferForgotten = "defer-forgotten";
    /// A message that nobody can use is not kept.
    ParkForgotten = "park-forgotten";
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|bug| bug.word() == text);
        let all = || Self::ALL.iter().map(|bug| bug.word()).collect::<Vec<_>>().join(", ");
        known.copied().ok_or_else(|| format!("there is no bug {text:?}: say one of {}", all()))
    }
}
