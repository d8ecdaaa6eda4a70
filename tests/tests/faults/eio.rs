//! A disk that answers with errors while it is written: what is written fails, now and then.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quadrille::everyone::SERVICES;
use quadrille_tests::keeper::Keeper;
use quadrille_tests::load::survive;
use quadrille_tests::process::Program;
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Ground, Kind, SOON, Stage};
use tokio::time::sleep;

use super::finish;

/// Where Debian has the libraries of the package `fiu-utils`, in the order of their loading.
const LIBRARIES: [&str; 2] =
    ["/usr/lib/fiu/fiu_run_preload.so", "/usr/lib/fiu/fiu_posix_preload.so"];

/// What fails: writing at a place of a file, as SQLite does, and having it on the disk.
const CALLS: [&str; 2] = ["posix/io/rw/pwrite*", "posix/io/sync/*"];

/// EIO, as the kernel numbers it.
const EIO: i32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_with_errors_leaves_no_half_commit_and_is_used_again() {
    errors().await.unwrap();
}

async fn errors() -> Result<()> {
    if !LIBRARIES.iter().all(|library| Path::new(library).exists()) {
        println!("SKIPPED: install the package fiu-utils");
        return Ok(());
    }
    let keeper = Keeper::new("fiu")?;
    let control = keeper.folder().join("control").display().to_string();
    let mut variables = Vec::new();
    for service in SERVICES {
        variables.push((service, "LD_PRELOAD", LIBRARIES.join(" ")));
        variables.push((service, "FIU_CTRL_FIFO", control.clone()));
    }
    let ground = Ground { told: &variables, ..Ground::of(RabbitMq::shared()) };
    let stage = Stage::start_on(Kind::AmqpSqlite, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let (mut felt, told) = (0, |stage: &Stage| {
        let lines = SERVICES.iter().map(|service| stage.logged(service, "check its disk").len());
        lines.sum::<usize>()
    });
    for round in 0..rounds(10, 100) as usize {
        let call = CALLS[round % CALLS.len()];
        let fault = async {
            tell(keeper.folder(), &control, &failing(call, 0.3))?;
            sleep(Duration::from_secs(2)).await;
            tell(keeper.folder(), &control, &format!("disable name={call}"))
        };
        survive(&stage, 60, fault).await.with_context(|| format!("round {round}, {call}"))?;
        let now = told(&stage);
        ensure!(now > felt, "{call} failed, and nobody was told");
        println!("{call} failed: told in {} lines", now - felt);
        felt = now;
    }
    finish(stage).await
}

/// So many of these calls fail.
fn failing(call: &str, share: f32) -> String {
    format!("enable_random name={call},probability={share},failinfo={EIO}")
}

/// Says it to every process: each listens at a pipe with its number.
fn tell(folder: &Path, control: &str, command: &str) -> Result<()> {
    let mut told = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix("control-").and_then(|n| n.strip_suffix(".in")) else {
            continue;
        };
        let said = Program::new("fiu-ctrl").arg("-f").arg(control).arg("-c").arg(command);
        let ended = said.arg(pid).start()?.wait(SOON)?;
        ensure!(ended.success(), "fiu-ctrl ended with {ended}");
        told += 1;
    }
    ensure!(told == SERVICES.len(), "{told} processes listen");
    Ok(())
}
