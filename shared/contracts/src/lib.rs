//! The messages that cross borders, one file a publisher. Facts only: no logic, no defaults.
#![no_std]

extern crate alloc;

mod commands;
mod inventory;
mod order;
mod payment;
mod shipping;
mod values;

pub use commands::*;
pub use inventory::*;
pub use order::*;
pub use payment::*;
pub use shipping::*;
pub use values::*;
