//! The whole system on real servers: the same stories on every combination, then everything that
//! can go wrong. One binary, so that the servers are started once.
#![allow(clippy::unwrap_used, reason = "helpers of tests unwrap like the tests themselves")]

#[path = "e2e/clients.rs"]
mod clients;
#[path = "e2e/crash_loop.rs"]
mod crash_loop;
#[path = "e2e/deadlines.rs"]
mod deadlines;
#[path = "e2e/stories.rs"]
mod stories;
