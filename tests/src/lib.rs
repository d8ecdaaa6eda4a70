//! What the tests of the whole system share: real servers, our own programs and foreign clients.

pub mod clients;
pub mod disk;
pub mod load;
pub mod process;
pub mod rounds;
pub mod stage;

pub use quadrille_harness::{keeper, servers};
