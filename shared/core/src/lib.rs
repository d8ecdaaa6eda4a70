//! What a service is, without saying how it runs: no clock, no random, no IO.
//!
//! Read in this order: [`Event`] (one message), [`messages!`] (a closed list of them), [`Machine`]
//! (one entity and how it answers), [`Service`] (several entities in one decision), [`Adapter`]
//! (what the outside world may answer), [`Wiring`] (who consumes and publishes what).
#![no_std]

extern crate alloc;

mod event;
mod machine;
mod service;
pub mod strict;
mod wiring;

pub use event::{
    Descriptor, Event, Example, Invalid, Keyed, Messages, NoMessages, Origin, Undecoded,
};
pub use machine::{Cx, Machine, Transition, answers, becomes, defer, ignore, reject};
pub use service::{Adapter, Effects, Service, UnitOfWork, Verdict};
pub use wiring::{Fault, Wiring, check};

/// Everything a service file needs, in one line.
pub mod prelude {
    pub use crate::{
        Adapter, Cx, Event, Example, Keyed, Machine, Messages, NoMessages, Origin, Service,
        Transition, UnitOfWork, Verdict, becomes, defer, events, ignore, messages, reject,
    };
    pub use alloc::collections::{BTreeMap, BTreeSet};
    pub use alloc::{string::String, vec, vec::Vec};
    pub use core::time::Duration;
    pub use serde::{Deserialize, Serialize};
}

#[doc(hidden)]
pub mod __private {
    pub use alloc::string::{String, ToString};
    pub use alloc::sync::Arc;
    pub use alloc::vec::Vec;
    pub use serde;
}
