//! What a proxy does to what goes through it, and how that is written on a command line.
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How a connection ends, for both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both are told, as when the other side closes, and hear what was passed on before.
    Cut,
    /// Both are reset: what was on its way to them is thrown away too.
    Reset,
    /// Nobody is told, and nothing goes through any more: half open.
    Halt,
}

/// Where the n-th of something ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind a whole published message: method, header and body.
    Publish,
    /// In the middle of the first body frame of a published message.
    Body,
    /// Instead of an answer to publishes, positive or negative.
    Confirm,
    /// Instead of the answer to a COMMIT: it was done, and nobody hears of it.
    Commit,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// One rule. Those that end a connection do so once; the others hold until they are taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `cut:publish:5`, `reset:body:1`, `halt:confirm:3`, `cut:commit:1`: counted from one, over
    /// all connections, from when the rule was set.
    End { end: End, at: Place, nth: u64 },
    /// `swallow:confirms`: the broker's answers to publishes do not arrive.
    SwallowConfirms,
    /// `hold:confirms:5s`: they arrive so much later, in their order, and nothing else waits.
    HoldConfirms(Duration),
    /// `pause:client` or `pause:server`: what this side says waits.
    Pause(Side),
    /// `delay:20ms`: whatever is read at one time is passed on so much later.
    Delay(Duration),
    /// `throttle:10000`: so many bytes a second, each way.
    Throttle(u64),
    /// `halt`: nothing goes through; a connection that tries is half open for ever.
    Halt,
    /// `refuse`: new connections are reset.
    Refuse,
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no rule: write cut, reset or halt with :publish:N, :body:N, :confirm:N or :commit:N, \
     as in cut:publish:5; or swallow:confirms, hold:confirms:5s, pause:client, pause:server, \
     delay:20ms, throttle:10000 (bytes a second), halt, refuse"
)]
pub struct BadRule(String);

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let words: Vec<&str> = text.split(':').collect();
        let rule = match words[..] {
            [end, place, nth] if end_of(end).is_some() => end_of(end)
                .zip(place_of(place))
                .zip(nth.parse().ok().filter(|nth| *nth > 0))
                .map(|((end, at), nth)| Self::End { end, at, nth }),
            ["swallow", "confirms"] => Some(Self::SwallowConfirms),
            ["hold", "confirms", time] => duration(time).map(Self::HoldConfirms),
            ["pause", "client"] => Some(Self::Pause(Side::Client)),
            ["pause", "server"] => Some(Self::Pause(Side::Server)),
            ["delay", time] => duration(time).map(Self::Delay),
            ["throttle", rate] => rate.parse().ok().filter(|rate| *rate > 0).map(Self::Throttle),
            ["halt"] => Some(Self::Halt),
            ["refuse"] => Some(Self::Refuse),
            _ => None,
        };
        rule.ok_or_else(|| BadRule(text.to_owned()))
    }
}

fn end_of(word: &str) -> Option<End> {
    match word {
        "cut" => Some(End::Cut),
        "reset" => Some(End::Reset),
        "halt" => Some(End::Halt),
        _ => None,
    }
}

fn place_of(word: &str) -> Option<Place> {
    match word {
        "publish" => Some(Place::Publish),
        "body" => Some(Place::Body),
        "confirm" => Some(Place::Confirm),
        "commit" => Some(Place::Commit),
        _ => None,
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s')?, 1_000),
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(unit)?))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End { end, at, nth } => {
                let end = match end {
                    End::Cut => "cut",
                    End::Reset => "reset",
                    End::Halt => "halt",
                };
                let at = match at {
                    Place::Publish => "publish",
                    Place::Body => "body",
                    Place::Confirm => "confirm",
                    Place::Commit => "commit",
                };
                write!(f, "{end}:{at}:{nth}")
            }
            Self::SwallowConfirms => f.write_str("swallow:confirms"),
            Self::HoldConfirms(time) => write!(f, "hold:confirms:{}ms", time.as_millis()),
            Self::Pause(Side::Client) => f.write_str("pause:client"),
            Self::Pause(Side::Server) => f.write_str("pause:server"),
            Self::Delay(time) => write!(f, "delay:{}ms", time.as_millis()),
            Self::Throttle(rate) => write!(f, "throttle:{rate}"),
            Self::Halt => f.write_str("halt"),
            Self::Refuse => f.write_str("refuse"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_it_is_written() {
        let all = [
            "cut:publish:5",
            "reset:body:1",
            "halt:confirm:3",
            "cut:commit:1",
            "swallow:confirms",
            "hold:confirms:5000ms",
            "pause:client",
            "pause:server",
            "delay:20ms",
            "throttle:10000",
            "halt",
            "refuse",
        ];
        for text in all {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        let held = Rule::HoldConfirms(Duration::from_secs(5));
        assert_eq!("hold:confirms:5s".parse::<Rule>().unwrap(), held);
    }

    #[test]
    fn what_is_no_rule_is_refused_with_all_that_is() {
        for text in ["", "cut", "cut:publish", "cut:publish:0", "cut:ack:1", "delay:5", "halt:x:1"]
        {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains("cut:publish:5") && error.contains("throttle"), "{error}");
        }
    }
}
