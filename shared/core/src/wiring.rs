//! Who consumes and publishes what: topology, graph and the check that nothing is said unheard.
use crate::{Adapter, Descriptor, Messages, Origin, Service};

/// All messages of one participant.
#[derive(Clone, Copy, Debug)]
pub struct Wiring {
    pub name: &'static str,
    pub consumes: &'static [Descriptor],
    pub publishes: &'static [Descriptor],
    pub requests: &'static [Descriptor],
    /// True of the outside world behind an adapter.
    pub adapter: bool,
}

impl Wiring {
    pub const fn of<S: Service>() -> Self {
        Self {
            name: S::NAME,
            consumes: S::Consumes::LIST,
            publishes: S::Publishes::LIST,
            requests: S::Requests::LIST,
            adapter: false,
        }
    }
    pub const fn adapter<A: Adapter>() -> Self {
        Self {
            name: A::NAME,
            consumes: A::Requests::LIST,
            publishes: A::Answers::LIST,
            requests: &[],
            adapter: true,
        }
    }
}

/// What is wrong between participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    AwaitedButNeverPublished(&'static str),
    PublishedButNeverAwaited(&'static str),
}

/// Finds a message that nobody says, or that nobody hears. Runs at compile time.
///
/// A command comes from outside. An internal message that no adapter answers is a timer.
pub const fn check(all: &[Wiring]) -> Fault {
    let mut left = all;
    while let [wiring, others @ ..] = left {
        if let Some(name) = unsaid(all, wiring) {
            return Fault::AwaitedButNeverPublished(name);
        }
        if let Some(name) = unheard(all, wiring.publishes) {
            return Fault::PublishedButNeverAwaited(name);
        }
        if let Some(name) = unheard(all, wiring.requests) {
            return Fault::PublishedButNeverAwaited(name);
        }
        left = others;
    }
    Fault::None
}

const fn unsaid(all: &[Wiring], wiring: &Wiring) -> Option<&'static str> {
    let mut awaited = wiring.consumes;
    while let [message, others @ ..] = awaited {
        let from_a_service = matches!(message.origin, Origin::Service(_));
        if (from_a_service || wiring.adapter) && !any(all, message.name, true) {
            return Some(message.name);
        }
        awaited = others;
    }
    None
}

const fn unheard(all: &[Wiring], mut said: &[Descriptor]) -> Option<&'static str> {
    while let [message, others @ ..] = said {
        if !message.heard_outside && !any(all, message.name, false) {
            return Some(message.name);
        }
        said = others;
    }
    None
}

const fn any(mut all: &[Wiring], name: &str, said: bool) -> bool {
    while let [wiring, others @ ..] = all {
        let found = if said {
            contains(wiring.publishes, name) || contains(wiring.requests, name)
        } else {
            contains(wiring.consumes, name)
        };
        if found {
            return true;
        }
        all = others;
    }
    false
}

const fn contains(mut list: &[Descriptor], name: &str) -> bool {
    while let [message, others @ ..] = list {
        if same(message.name.as_bytes(), name.as_bytes()) {
            return true;
        }
        list = others;
    }
    false
}

const fn same(mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([x, after_x @ ..], [y, after_y @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (after_x, after_y);
    }
    a.is_empty() && b.is_empty()
}
