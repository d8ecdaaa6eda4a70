//! Child processes of tests: what they say, how they end, what an error shows of them.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use quadrille_tests::process::{Program, target_bin};

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Program {
    Program::new("sh").arg("-c").arg(script)
}

#[test]
fn a_line_is_found_in_either_output() {
    let mut both = shell("echo ready to go; echo and to stop >&2; sleep 60").start().unwrap();
    assert_eq!(both.wait_for_line("ready", SOON).unwrap(), "ready to go");
    assert_eq!(both.wait_for_line("stop", SOON).unwrap(), "and to stop");
    assert_eq!((both.stdout().as_str(), both.count("to")), ("ready to go\n", 2));
}

#[test]
fn the_second_of_equal_lines_can_be_waited_for() {
    let mut twice = shell("echo connected; sleep 0.2; echo connected; sleep 60").start().unwrap();
    assert_eq!(twice.wait_for_lines("connected", 2, SOON).unwrap().len(), 2);
}

#[test]
fn the_last_words_of_a_program_are_found() {
    let mut brief = shell("echo done").start().unwrap();
    assert_eq!(brief.wait_for_line("done", SOON).unwrap(), "done");
}

#[test]
fn an_early_end_is_an_error_that_shows_the_output() {
    let mut broken = shell("echo no broker at all >&2; exit 69").start().unwrap();
    let error = broken.wait_for_line("ready", SOON).unwrap_err().to_string();
    assert!(error.contains("exit status: 69") && error.contains("no broker at all"), "{error}");
}

#[test]
fn a_deadline_is_an_error_that_shows_the_output() {
    let mut slow = shell("echo still loading; sleep 60").start().unwrap();
    slow.wait_for_line("still", SOON).unwrap();
    let error = slow.wait_for_line("ready", Duration::from_millis(100)).unwrap_err().to_string();
    assert!(error.contains("still loading"), "{error}");
}

#[test]
fn a_program_ends_by_itself_by_request_or_by_force() {
    let mut itself = shell("exit 64").start().unwrap();
    assert_eq!(itself.wait(SOON).unwrap().code(), Some(64));

    let waits = shell("trap 'echo drained; exit 0' TERM; echo up; while :; do sleep 0.05; done");
    let mut asked = waits.start().unwrap();
    asked.wait_for_line("up", SOON).unwrap();
    assert_eq!(asked.terminate(SOON).unwrap().code(), Some(0));
    assert_eq!(asked.count("drained"), 1);

    let mut forced = waits.start().unwrap();
    forced.wait_for_line("up", SOON).unwrap();
    forced.kill9().unwrap();
    assert_eq!(forced.wait(SOON).unwrap().signal(), Some(9));
    assert_eq!(forced.count("drained"), 0);
}

#[test]
fn a_program_sees_its_own_variables_and_none_of_the_tests() {
    let mut program = shell("echo home=${HOME-none} colour=$COLOUR").env("COLOUR", "blue");
    program = program.env("UNUSED", "");
    let mut process = program.start().unwrap();
    assert_eq!(process.wait_for_line("home", SOON).unwrap(), "home=none colour=blue");
}

#[test]
fn a_program_that_was_not_built_is_named_with_its_remedy() {
    let error = target_bin("quadrille-minuet").unwrap_err().to_string();
    assert!(error.contains("quadrille-minuet") && error.contains("cargo build"), "{error}");
}
