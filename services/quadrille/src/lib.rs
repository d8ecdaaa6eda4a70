//! Quadrille's command line as a library: who takes part, and what is checked of them.

pub mod check;
pub mod choreography;
