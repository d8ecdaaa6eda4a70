//! The rules in force, what they have counted, and what they say about one piece.
use crate::frames::{Kind, Piece};
use crate::{End, Place, Rule, Side};
use std::fmt;
use std::time::Duration;

/// What has gone through a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub connections: u64,
    /// Whole messages from clients.
    pub publishes: u64,
    /// Answers of the broker to publishes; one may stand for many.
    pub confirms: u64,
    pub returns: u64,
    pub deliveries: u64,
    /// Acknowledgements of clients; one may stand for many.
    pub acks: u64,
    pub heartbeats: u64,
    /// Answers of PostgreSQL to COMMIT.
    pub commits: u64,
    /// Confirms that were not passed on.
    pub swallowed: u64,
    /// Confirms that were passed on late.
    pub held: u64,
    /// Connections that a rule has ended.
    pub ended: u64,
    /// Connections that spoke another protocol, and were ended for it.
    pub garbled: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, publishes, confirms, returns, deliveries, acks, .. } = self;
        let Self { heartbeats, commits, swallowed, held, ended, garbled, .. } = self;
        write!(
            f,
            "connections {connections}, publishes {publishes}, confirms {confirms}, \
             returns {returns}, deliveries {deliveries}, acks {acks}, heartbeats {heartbeats}, \
             commits {commits}, swallowed {swallowed}, held {held}, ended {ended}, \
             garbled {garbled}"
        )
    }
}

/// What becomes of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Swallow,
    Hold(Duration),
    /// Passed on, then the end.
    PassThen(End),
    /// Half of it is passed on, then the end.
    HalfThen(End),
    /// Not passed on: the end.
    Instead(End),
}

/// May bytes of a side go through now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    Paused,
    Halted,
}

/// How slowly bytes go through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) delay: Option<Duration>,
    pub(crate) bytes_per_second: Option<u64>,
}

#[derive(Debug)]
struct Law {
    rule: Rule,
    /// How many of what it counts it has seen.
    seen: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Laws {
    laws: Vec<Law>,
    counts: Counts,
}

impl Laws {
    pub(crate) fn set(&mut self, rules: &[Rule]) {
        self.laws = rules.iter().map(|rule| Law { rule: *rule, seen: 0 }).collect();
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Counts a new connection; false if it is refused.
    pub(crate) fn admit(&mut self) -> bool {
        let refused = self.rules().any(|rule| rule == Rule::Refuse);
        self.counts.connections += u64::from(!refused);
        !refused
    }

    pub(crate) fn garbled(&mut self) {
        self.counts.garbled += 1;
    }

    pub(crate) fn gate(&self, side: Side) -> Gate {
        if self.rules().any(|rule| rule == Rule::Halt) {
            return Gate::Halted;
        }
        if self.rules().any(|rule| rule == Rule::Pause(side)) {
            return Gate::Paused;
        }
        Gate::Open
    }

    pub(crate) fn pace(&self) -> Pace {
        let mut pace = Pace::default();
        for rule in self.rules() {
            match rule {
                Rule::Delay(delay) => pace.delay = Some(delay),
                Rule::Throttle(rate) => pace.bytes_per_second = Some(rate),
                _ => {}
            }
        }
        pace
    }

    /// Counts a piece, and says what becomes of it.
    pub(crate) fn judge(&mut self, side: Side, piece: &Piece) -> Verdict {
        self.count(side, piece);
        let confirms = side == Side::Server && piece.kind == Kind::Ack;
        let here = |at: Place| match at {
            Place::Publish => piece.ends_publish,
            Place::Body => piece.first_body,
            Place::Confirm => confirms,
            Place::Commit => piece.kind == Kind::Committed,
        };
        let mut verdict = Verdict::Pass;
        for law in &mut self.laws {
            match law.rule {
                Rule::End { end, at, nth } if here(at) => {
                    law.seen += 1;
                    if law.seen == nth {
                        self.counts.ended += 1;
                        verdict = match at {
                            Place::Publish => Verdict::PassThen(end),
                            Place::Body => Verdict::HalfThen(end),
                            Place::Confirm | Place::Commit => Verdict::Instead(end),
                        };
                    }
                }
                Rule::SwallowConfirms if confirms => {
                    self.counts.swallowed += 1;
                    verdict = Verdict::Swallow;
                }
                Rule::HoldConfirms(time) if confirms => {
                    self.counts.held += 1;
                    verdict = Verdict::Hold(time);
                }
                _ => {}
            }
        }
        verdict
    }

    fn count(&mut self, side: Side, piece: &Piece) {
        let counts = &mut self.counts;
        counts.publishes += u64::from(piece.ends_publish);
        match (piece.kind, side) {
            (Kind::Ack, Side::Client) => counts.acks += 1,
            (Kind::Ack, Side::Server) => counts.confirms += 1,
            (Kind::Return, _) => counts.returns += 1,
            (Kind::Deliver, _) => counts.deliveries += 1,
            (Kind::Heartbeat, _) => counts.heartbeats += 1,
            (Kind::Committed, _) => counts.commits += 1,
            _ => {}
        }
    }

    fn rules(&self) -> impl Iterator<Item = Rule> {
        self.laws.iter().map(|law| law.rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn piece(kind: Kind) -> Piece {
        Piece { bytes: Bytes::new(), kind, first_body: false, ends_publish: false }
    }

    fn laws(rules: &[&str]) -> Laws {
        let mut laws = Laws::default();
        laws.set(&rules.iter().map(|rule| rule.parse().unwrap()).collect::<Vec<_>>());
        laws
    }

    #[test]
    fn the_nth_of_something_ends_its_connection_once() {
        let mut laws = laws(&["cut:publish:2", "reset:confirm:2"]);
        let published = Piece { ends_publish: true, ..piece(Kind::Body) };
        let verdicts = [(); 4].map(|()| laws.judge(Side::Client, &published));
        let cut = Verdict::PassThen(End::Cut);
        assert_eq!(verdicts, [Verdict::Pass, cut, Verdict::Pass, Verdict::Pass]);
        let acks = [Side::Client, Side::Server, Side::Server, Side::Server];
        let verdicts = acks.map(|side| laws.judge(side, &piece(Kind::Ack)));
        let reset = Verdict::Instead(End::Reset);
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, reset, Verdict::Pass]);
        assert_eq!(laws.counts().ended, 2);
        assert_eq!((laws.counts().publishes, laws.counts().confirms), (4, 3));
    }

    #[test]
    fn only_answers_to_publishes_are_swallowed_and_held() {
        let mut all = laws(&["swallow:confirms"]);
        assert_eq!(all.judge(Side::Server, &piece(Kind::Ack)), Verdict::Swallow);
        assert_eq!(all.judge(Side::Client, &piece(Kind::Ack)), Verdict::Pass);
        assert_eq!(all.judge(Side::Server, &piece(Kind::Deliver)), Verdict::Pass);
        let mut all = laws(&["hold:confirms:1s"]);
        let held = Verdict::Hold(Duration::from_secs(1));
        assert_eq!(all.judge(Side::Server, &piece(Kind::Ack)), held);
    }
}
