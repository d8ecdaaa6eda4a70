//! What every implementation of a port must keep: suites that any implementation is put through.
pub mod broker;
pub mod store;
