//! Everything that may go wrong, and when it does: by seed, and never if it was dropped.
use crate::chance::Chance;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Writes the list of faults once: name, how often in a million where it may strike, and what.
macro_rules! faults {
    ($($(#[$meta:meta])* $name:ident = $word:literal, $rate:literal;)+) => {
        /// One kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[$meta])* $name),+ }

        impl Fault {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As the command line calls it.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// How often it strikes in a million calls that it may strike; for what comes by the
            /// hour, how often at most in an hour.
            const fn rate(self) -> u32 {
                match self { $(Self::$name => $rate),+ }
            }
        }
    };
}

faults! {
    /// A queue gets a message twice.
    Duplicate = "duplicate", 30_000;
    /// A second copy comes minutes later.
    LateDuplicate = "late-duplicate", 20_000;
    /// A message gets a place anywhere in the queue.
    Reorder = "reorder", 60_000;
    /// A message is on its way for seconds.
    Delay = "delay", 30_000;
    /// No queue is bound for a message, for once.
    Return = "return", 20_000;
    /// A queue is full; others that are bound may have taken the message.
    Nack = "nack", 20_000;
    /// All is taken, and nobody says so.
    ConfirmLost = "confirm-lost", 20_000;
    /// All is taken, and that is said seconds later.
    ConfirmLate = "confirm-late", 20_000;
    /// The connection breaks in the middle of a batch.
    PublishCut = "publish-cut", 20_000;
    /// An acknowledgement does not arrive, and the connection is gone.
    AckLost = "ack-lost", 20_000;
    /// A consumer's connection breaks: what it has out comes again.
    ConnectionLost = "connection-lost", 20_000;
    /// The broker refuses a declaration or a consumer.
    Refused = "refused", 100_000;
    /// A message that was handed out a few times is dead-lettered; an operator brings it back.
    DeliveryLimit = "delivery-limit", 1_000_000;
    /// The store is locked for a moment.
    Busy = "busy", 5_000;
    /// Somebody else was first, or a deadlock: nothing was committed.
    Conflict = "conflict", 15_000;
    /// Nobody knows whether a commit happened; in half of the cases it did.
    CommitUnknown = "commit-unknown", 20_000;
    /// A call of the store takes seconds.
    Slow = "slow", 10_000;
    /// A call of the outside world never arrives there.
    CallLost = "call-lost", 60_000;
    /// It arrives, and the answer is lost.
    AnswerLost = "answer-lost", 60_000;
    /// The outside world wants to be asked later.
    CallBusy = "call-busy", 60_000;
    /// The answer comes late, perhaps too late.
    CallLate = "call-late", 60_000;
    /// A call arrives twice.
    CallTwice = "call-twice", 60_000;
    /// A process dies in the middle of anything.
    Crash = "crash", 12;
    /// All processes die at once.
    CrashAll = "crash-all", 2;
    /// A process is stopped as asked, and another begins; perhaps of a newer version.
    Restart = "restart", 4;
    /// The broker is away for a while, with all connections.
    BrokerAway = "broker-away", 3;
    /// The broker holds all publishes back for a while.
    Alarm = "alarm", 3;
    /// A store is away for a while.
    StoreAway = "store-away", 3;
    /// A store can be read and not written for a while.
    DiskFull = "disk-full", 2;
    /// A clock jumps forward, of a process or of a store.
    ClockForward = "clock-forward", 3;
    /// A clock jumps back.
    ClockBack = "clock-back", 3;
}

/// From here on: what comes by the hour, not by the call.
const BY_THE_HOUR: usize = Fault::Crash as usize;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

/// Some kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSet(u64);

impl FaultSet {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self((1 << Fault::ALL.len()) - 1);

    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | (1 << fault as u32))
    }
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u32))
    }
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u32) != 0
    }
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(move |fault| self.has(*fault))
    }
}

/// `all`, `none`, or words with commas between.
impl FromStr for FaultSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::ALL),
            "none" => return Ok(Self::NONE),
            _ => {}
        }
        text.split(',').try_fold(Self::NONE, |set, word| {
            let known = Fault::ALL.iter().find(|fault| fault.word() == word);
            let all = || Fault::ALL.iter().map(|f| f.word()).collect::<Vec<_>>().join(", ");
            known.map(|fault| set.with(*fault)).ok_or_else(|| {
                format!("there is no fault {word:?}: say all, none, or some of {}", all())
            })
        })
    }
}

/// `all`, `none`, or the words.
impl fmt::Display for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            Self::ALL => f.write_str("all"),
            Self::NONE => f.write_str("none"),
            _ => f.write_str(&self.iter().map(Fault::word).collect::<Vec<_>>().join(",")),
        }
    }
}

/// One fault of a run: the how-manieth of its kind, which is its name when it is to be dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Injected {
    pub fault: Fault,
    pub number: u32,
    /// Virtual time since the beginning of the run.
    pub at_ms: u64,
    /// Whom it struck.
    pub place: String,
}

/// A fault by kind and number.
pub type FaultId = (Fault, u32);

#[derive(Debug)]
struct Stream {
    chance: Chance,
    /// Strikes if a number of 32 bits is below.
    threshold: u64,
    number: u32,
}

/// The faults of one run.
#[derive(Debug)]
pub(crate) struct Faults {
    streams: Vec<Stream>,
    dropped: BTreeSet<FaultId>,
    /// False once all is to heal.
    pub(crate) active: bool,
    pub(crate) injected: Vec<Injected>,
}

/// In one run a kind of fault is rarer or more frequent, or does not come at all: runs in which
/// everything goes wrong at once find less than runs in which few things go very wrong.
const SWARM: [u64; 4] = [0, 0, 1, 4];

impl Faults {
    pub(crate) fn new(seed: u64, kinds: FaultSet, dropped: BTreeSet<FaultId>, all: bool) -> Self {
        let stream = |fault: &Fault| {
            let mut chance = Chance::stream(seed, 1_000 + *fault as u64);
            let often = if all { 1 } else { *chance.pick(&SWARM) };
            let often = if kinds.has(*fault) { often } else { 0 };
            let threshold = (u64::from(fault.rate()) * often * (1 << 32)) / 1_000_000;
            Stream { chance, threshold, number: 0 }
        };
        let streams = Fault::ALL.iter().map(stream).collect();
        Self { streams, dropped, active: true, injected: Vec::new() }
    }

    /// Does it strike this call? Where it should strike less often, one in `n` times as often.
    pub(crate) fn strikes_one_in(&mut self, n: u64, fault: Fault, at_ms: u64, place: &str) -> bool {
        let stream = &mut self.streams[fault as usize];
        if !self.active || stream.threshold == 0 {
            return false;
        }
        if stream.chance.number() >> 32 >= stream.threshold / n {
            return false;
        }
        let number = stream.number;
        stream.number += 1;
        self.inject(fault, number, at_ms, place)
    }

    /// A number that belongs to a fault, such as how long it lasts.
    pub(crate) fn chance(&mut self, fault: Fault) -> &mut Chance {
        &mut self.streams[fault as usize].chance
    }

    /// Is this kind on in this run? For what is a property of the run and not an event.
    pub(crate) fn is_on(&self, fault: Fault) -> bool {
        self.active && self.streams[fault as usize].threshold > 0
    }

    /// What comes by the hour: kind, number and time, in the order of time.
    pub(crate) fn scheduled(&mut self, span_ms: u64) -> Vec<(u64, Fault, u32)> {
        let mut all = Vec::new();
        for fault in &Fault::ALL[BY_THE_HOUR..] {
            let stream = &mut self.streams[*fault as usize];
            if stream.threshold == 0 {
                continue;
            }
            for number in 0..stream.chance.within(0..=u64::from(fault.rate())) as u32 {
                all.push((stream.chance.below(span_ms), *fault, number));
            }
        }
        all.sort_unstable();
        all
    }

    /// Notes a fault that is about to strike; false if it was dropped.
    pub(crate) fn inject(&mut self, fault: Fault, number: u32, at_ms: u64, place: &str) -> bool {
        if !self.active || self.dropped.contains(&(fault, number)) {
            return false;
        }
        self.injected.push(Injected { fault, number, at_ms, place: place.to_owned() });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        for text in ["all", "none", "crash,busy"] {
            let set: FaultSet = text.parse().unwrap();
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        let wrong = "crash,rust".parse::<FaultSet>().unwrap_err();
        assert!(wrong.contains("\"rust\"") && wrong.contains("disk-full"), "{wrong}");
    }

    #[test]
    fn a_dropped_fault_does_not_strike_and_the_others_keep_their_numbers() {
        let strikes = |dropped: BTreeSet<FaultId>| {
            let mut faults = Faults::new(5, FaultSet::ALL, dropped, true);
            for n in 0..10_000 {
                faults.strikes_one_in(1, Fault::Duplicate, n, "here");
            }
            faults.injected.iter().map(|i| (i.number, i.at_ms)).collect::<Vec<_>>()
        };
        let all = strikes(BTreeSet::new());
        assert!(all.len() > 100, "{all:?}");
        let fewer = strikes([(Fault::Duplicate, 1)].into());
        assert_eq!(fewer, all.iter().copied().filter(|(n, _)| *n != 1).collect::<Vec<_>>());
    }
}
