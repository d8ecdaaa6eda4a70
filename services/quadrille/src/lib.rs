//! The command line as a library: everything in one process, and what operators need.
pub mod audit;
pub mod bench;
pub mod check;
pub mod choreography;
pub mod cli;
pub mod demo;
pub mod everyone;
pub mod history;
pub mod picture;
pub mod screen;
pub mod timeline;
pub mod up;
