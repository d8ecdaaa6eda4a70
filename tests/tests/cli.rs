//! The command line as its users meet it: the real program, its output, its exit codes.
#![allow(clippy::unwrap_used)]

#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/declare.rs"]
mod declare;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/parked.rs"]
mod parked;
#[path = "cli/up.rs"]
mod up;
#[path = "cli/words.rs"]
mod words;

use quadrille_tests::process::{Process, Program, target_bin};
use std::time::Duration;

/// How long a verb may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// How one call ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn quadrille(arguments: &[&str]) -> Program {
    let program = Program::new(target_bin("quadrille").unwrap());
    arguments.iter().fold(program, |program, argument| program.arg(*argument))
}

/// Runs it to its end.
fn run(arguments: &[&str]) -> Said {
    said(quadrille(arguments).start().unwrap())
}

fn said(mut process: Process) -> Said {
    let code = process.wait(SOON).unwrap().code();
    Said { code, out: process.stdout(), err: process.stderr() }
}
