//! `kill -9` at every point with everything in one process: embedded broker and SQLite.

use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use quadrille_tests::keeper::Keeper;
use quadrille_tests::process::{Program, faulty_bin, target_bin};
use quadrille_tests::rounds::rounds;
use tokio::task::spawn_blocking;

/// One demo: two deadlines of 2 s, and a busy machine.
const DEMO: Duration = Duration::from_secs(60);

/// As many as play beside each other: mostly they wait for deadlines.
const BESIDE: usize = 6;

const POINTS: [&str; 18] = [
    "delivered",
    "loaded",
    "writing",
    "committed",
    "requested",
    "called",
    "answered",
    "half_published",
    "publishing",
    "confirmed",
    "marking",
    "marked",
    "acknowledging",
    "ack_written",
    "acknowledged",
    "swept",
    "timer_due",
    "timer_fired",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_killed_at_any_point_goes_on_where_it_was() {
    let all: Vec<_> = (0..rounds(10, 100))
        .flat_map(|round| POINTS.map(|point| (point, nth(point, round))))
        .collect();
    for some in all.chunks(BESIDE) {
        let beside = some.iter().copied();
        let beside = beside.map(|(point, nth)| spawn_blocking(move || killed_once(point, nth)));
        for one in beside.collect::<Vec<_>>() {
            one.await.unwrap().unwrap();
        }
    }
}

/// The first time that it comes there, or a later one, when more is under way. There is one sweep, and
/// there are two timers.
fn nth(point: &str, round: u32) -> u32 {
    match point {
        "swept" | "timer_due" | "timer_fired" => 1,
        _ => 1 + round * 5 % 7,
    }
}

/// A busy machine does several things at once, and comes to a point less often: then the time before
/// will do.
fn killed_once(point: &str, nth: u32) -> Result<()> {
    for nth in (1..=nth).rev() {
        let fault = format!("{point}:{nth}:kill");
        if killed(&fault).with_context(|| fault.clone())? {
            println!("embedded | {fault}");
            return Ok(());
        }
    }
    bail!("a demo never comes to {point}")
}

/// Plays with a fault, then without: the audit of the second covers both. False if the fault did not
/// come, and all went well.
fn killed(fault: &str) -> Result<bool> {
    let keeper = Keeper::new("embedded")?;
    let data = keeper.folder().join("data");
    let whole = Program::new(target_bin("quadrille")?).arg("demo").arg("--data").arg(&data);
    let named = keeper.folder().join("quadrille");
    symlink(faulty_bin()?, &named)?;
    let faulty = |fault: &str| whole.at(&named).env("QUADRILLE_FAULT", fault);
    if fault.starts_with("swept") {
        // Somebody must have died before, with something that nobody saw confirmed.
        ensure!(faulty("confirmed:3:kill").start()?.wait(DEMO)?.signal() == Some(9));
    }
    let mut first = faulty(fault).start()?;
    let ended = first.wait(DEMO)?;
    if ended.success() {
        return Ok(false);
    }
    ensure!(ended.signal() == Some(9), "{ended}: {}{}", first.stdout(), first.stderr());
    let mut second = whole.start()?;
    let ended = second.wait(DEMO)?;
    ensure!(ended.success(), "{ended}: {}{}", second.stdout(), second.stderr());
    let found = "The audit found nothing";
    ensure!(second.stdout().contains(found), "{}", second.stdout());
    Ok(true)
}
