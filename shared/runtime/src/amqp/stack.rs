//! Threads with a stack large enough to survive a hostile message.
//!
//! A header may hold a table that holds a table, and so on. lapin reads, prints and drops these by
//! recursion, on its own thread and before anybody could look: a header of 7 KB ends a process
//! whose threads have 2 MiB of stack, the broker gives the message to the next replica, and so on.
//! A smaller largest frame does not help, as brokers send a large header all the same. So the stack
//! must hold what the largest header can do.
use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The least stack of every thread, in bytes: the deepest header of a frame of 128 KiB needs half
/// of it in a release build. It is address space, not memory.
pub const STACK_MIN_BYTES: usize = 128 * 1024 * 1024;

/// What the standard library reads once, when it starts the first thread.
pub const STACK_VARIABLE: &str = "RUST_MIN_STACK";

/// Makes sure that threads get [`STACK_MIN_BYTES`]. To be called first of all, before there is a
/// second thread.
///
/// If the variable is not set, the program starts itself again with it, in the same process, under
/// the same name and with the same arguments: setting it from inside is not safe in Rust, and a caller could forget
/// it.
///
/// # Errors
/// If the program cannot start itself again.
pub fn ensure_stack() -> io::Result<()> {
    let set = env::var(STACK_VARIABLE).ok().and_then(|text| text.parse::<usize>().ok());
    if set.is_some_and(|bytes| bytes >= STACK_MIN_BYTES) {
        return Ok(());
    }
    let mut again = Command::new(env::current_exe()?);
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).env(STACK_VARIABLE, STACK_MIN_BYTES.to_string());
    // Returns only if it failed.
    Err(again.exec())
}
