//! Port numbers that stay ours for as long as a server needs them, also between its restarts.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result};

/// Below the range from which Linux takes ports for outgoing connections (32768 and up), so that no
/// client of another test sits on the port of a server that is just being restarted.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// A TCP port of 127.0.0.1 that no other test process on this machine will choose.
///
/// The claim is a UDP socket bound to the same number: no server here uses UDP, the kernel gives
/// it to one process at a time, and takes it back when that process dies.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Finds a port that is free and unclaimed.
    pub(crate) fn claim() -> Result<Port> {
        static TRIED: AtomicU16 = AtomicU16::new(0);
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = nanos.context("the clock is before 1970")?.subsec_nanos();
        let start = (nanos ^ std::process::id().wrapping_mul(2_654_435_761)) % u32::from(COUNT);
        let start = u16::try_from(start).expect("a remainder of COUNT fits it");
        for _ in 0..COUNT {
            let step = TRIED.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (start + step) % COUNT;
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Port { number, _claim: claim });
            }
        }
        anyhow::bail!("no free port in {FIRST}..{} of 127.0.0.1", FIRST + COUNT)
    }
}
