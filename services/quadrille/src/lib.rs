//! The command line as a library: everything in one process, and what operators need.
pub mod audit;
pub mod bench;
pub mod check;
pub mod choreography;
pub mod cli;
pub mod demo;
pub mod describe;
pub mod everyone;
pub mod history;
pub mod parked;
pub mod picture;
pub mod proxy;
pub mod screen;
pub mod settings;
pub mod timeline;
pub mod up;
