//! What the tests of the whole system share: real servers, our own programs and foreign clients.

pub mod clients;
pub mod keeper;
pub mod ledger;
pub mod process;
pub mod servers;
pub mod stage;
