//! Private real servers as child processes, for tests and for measuring; nothing of ours in it.

pub mod keeper;
pub mod servers;
