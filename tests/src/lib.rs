//! What the tests of the whole system share: real servers and our own programs as child processes.

pub mod keeper;
pub mod process;
pub mod servers;
