//! The whole system on real servers: the same stories on every combination, then everything that
//! can go wrong. One binary, so that the servers are started once.
#![allow(clippy::unwrap_used, reason = "helpers of tests unwrap like the tests themselves")]

mod bad_input;
mod bomb;
mod clients;
mod crash_loop;
mod deadlines;
mod faults;
mod stories;
