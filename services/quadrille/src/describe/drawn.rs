//! The description in words, for a terminal of 80 columns.
use super::{Consumed, Description, Limits, Party, Published, Request, Timer};
use std::fmt;

/// Columns of a terminal that nobody has made wider.
const WIDTH: usize = 80;
/// Where a list begins.
const INDENT: usize = 13;

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { commands, services, adapters, limits } = self;
        for service in services {
            writeln!(f, "{service}")?;
        }
        for adapter in adapters {
            writeln!(f, "{} (adapter to the outside world)", adapter.name)?;
            list(f, "is asked", &adapter.requests.join(", "))?;
            list(f, "may answer", &adapter.answers.join(", "))?;
            writeln!(f)?;
        }
        let Limits { body_max_bytes, batch_max_messages } = limits;
        writeln!(f, "Commands from outside go to the exchange {commands}, with a JSON body,")?;
        writeln!(f, "and with the message's name and version as routing key: order.place.v1")?;
        writeln!(
            f,
            "Limits: {} KiB a body, {batch_max_messages} messages a unit of work.",
            body_max_bytes / 1024
        )
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        list(f, "entity", &format!("{}: {}", self.entity, self.states.join(", ")))?;
        list(f, "exchange", &self.exchange)?;
        list(f, "queue", &format!("{}, dead letters in {}", self.queue, self.dead_letters))?;
        let mut head = "consumes";
        for Consumed { name, version, from, .. } in &self.consumes {
            row(f, head, &format!("{name} v{version}"), &format!("from {from}"))?;
            head = "";
        }
        let mut head = "publishes";
        for message in &self.publishes {
            let Published { name, version, .. } = message;
            row(f, head, &format!("{name} v{version}"), &message.hearers())?;
            head = "";
        }
        for Timer { name, after_ms, about } in &self.timers {
            list(f, "timer", &format!("{name} after {} min, {about}", after_ms / 60_000))?;
        }
        let mut head = "asks";
        for Request { name, adapter } in &self.requests {
            row(f, head, name, &format!("of the {adapter}"))?;
            head = "";
        }
        Ok(())
    }
}

impl Published {
    fn hearers(&self) -> String {
        let outside = self.heard_outside.then_some("the outside");
        let all: Vec<_> = self.heard_by.iter().copied().chain(outside).collect();
        format!("to {}", all.join(", "))
    }
}

fn row(f: &mut fmt::Formatter, head: &str, name: &str, rest: &str) -> fmt::Result {
    writeln!(f, "  {head:<11}{name:<30}{rest}")
}

/// Text that goes on below itself.
fn list(f: &mut fmt::Formatter, head: &str, text: &str) -> fmt::Result {
    write!(f, "  {head:<11}")?;
    let mut at = INDENT;
    for (n, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if n > 0 && at + 1 + length > WIDTH {
            write!(f, "\n{:INDENT$}", "")?;
            at = INDENT;
        } else if n > 0 {
            f.write_str(" ")?;
            at += 1;
        }
        f.write_str(word)?;
        at += length;
    }
    writeln!(f)
}
