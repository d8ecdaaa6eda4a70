//! What processes cost, read from `/proc`.
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Ticks of `/proc/<pid>/stat` in a second: on Linux always 100 for programs.
const TICKS: f64 = 100.0;

/// Of a process and all that come from it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) cpu_s: f64,
    /// The most resident memory that it ever had. What a server shares among its processes is
    /// counted once for each.
    pub(super) peak_mb: f64,
    pub(super) now_mb: f64,
}

/// Reads several process trees at one moment.
pub(super) fn costs(roots: &BTreeMap<String, u32>) -> BTreeMap<String, Cost> {
    let parents = parents();
    roots.iter().map(|(name, root)| (name.clone(), cost(*root, &parents))).collect()
}

fn cost(root: u32, parents: &[(u32, u32)]) -> Cost {
    let mut tree = vec![root];
    let mut next = 0;
    // This process is the parent of the private servers too, which are counted by themselves.
    let alone = root == std::process::id();
    while let Some(&parent) = tree.get(next).filter(|_| !alone) {
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    let mut sum = Cost::default();
    for pid in tree {
        if let Some(stat) = stat(pid) {
            // Those that have ended are counted by whoever waited for them.
            sum.cpu_s += [11, 12, 13, 14].map(|n| number(&stat, n)).iter().sum::<f64>() / TICKS;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        sum.peak_mb += kilobytes(&status, "VmHWM:") / 1024.0;
        sum.now_mb += kilobytes(&status, "VmRSS:") / 1024.0;
    }
    sum
}

fn kilobytes(status: &str, field: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// The fields of a process behind its name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(ToOwned::to_owned).collect())
}

fn number(stat: &[String], field: usize) -> f64 {
    stat.get(field).and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

fn parents() -> Vec<(u32, u32)> {
    let all = fs::read_dir("/proc").into_iter().flatten();
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?))).collect()
}

/// Units of work and the messages in them, as a service counts them itself.
pub(super) fn units(http: SocketAddr) -> Option<(f64, f64)> {
    let mut stream = TcpStream::connect_timeout(&http, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: q\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let sum = |suffix: &str| -> f64 {
        let begin = format!("quadrille_unit_of_work_messages_{suffix}{{");
        let lines = text.lines().filter(|line| line.starts_with(&begin));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    Some((sum("count"), sum("sum")))
}
