//! What breaks under load, and mends itself: nobody lends a hand, and the audit is clean after it.
//!
//! Faults that need a proxy, a disk or a clock of their own are in the test binary `faults`.

mod broker;
mod processes;
mod queues;
mod stores;

use quadrille_tests::load::{judge, load, rabbitmqctl, survive};
use quadrille_tests::rounds::rounds;
