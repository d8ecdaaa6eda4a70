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
    let mut i = 0;
    while i < all.len() {
        let mut j = 0;
        while j < all[i].consumes.len() {
            let message = all[i].consumes[j];
            let from_a_service = matches!(message.origin, Origin::Service(_));
            if (from_a_service || all[i].adapter) && !any(all, message.name, true) {
                return Fault::AwaitedButNeverPublished(message.name);
            }
            j += 1;
        }
        if let Some(name) = unheard(all, all[i].publishes) {
            return Fault::PublishedButNeverAwaited(name);
        }
        if let Some(name) = unheard(all, all[i].requests) {
            return Fault::PublishedButNeverAwaited(name);
        }
        i += 1;
    }
    Fault::None
}

const fn unheard(all: &[Wiring], said: &[Descriptor]) -> Option<&'static str> {
    let mut j = 0;
    while j < said.len() {
        if !said[j].heard_outside && !any(all, said[j].name, false) {
            return Some(said[j].name);
        }
        j += 1;
    }
    None
}

const fn any(all: &[Wiring], name: &str, said: bool) -> bool {
    let mut i = 0;
    while i < all.len() {
        let found = if said {
            contains(all[i].publishes, name) || contains(all[i].requests, name)
        } else {
            contains(all[i].consumes, name)
        };
        if found {
            return true;
        }
        i += 1;
    }
    false
}

const fn contains(list: &[Descriptor], name: &str) -> bool {
    let mut i = 0;
    while i < list.len() {
        if same(list[i].name.as_bytes(), name.as_bytes()) {
            return true;
        }
        i += 1;
    }
    false
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}
