//! What is measured of processes from outside: their memory, and what they say of themselves.

use anyhow::{Context, Result};

use super::Stage;

impl Stage {
    /// The most memory that any process of a service ever held, in MiB.
    pub fn memory_peak_mib(&mut self, service: &str) -> Result<u64> {
        let peaks = self.processes.memory_peaks(service)?;
        Ok(peaks.into_iter().max().context("no such service")? >> 20)
    }

    /// What a service's own metrics say, summed up over its processes.
    pub fn gauge(&mut self, service: &str, name: &str) -> Result<i64> {
        let sample = format!("{name}{{service=\"{service}\"}} ");
        let mut sum = 0;
        for text in self.processes.metrics(service)? {
            let values = text.lines().filter_map(|line| line.strip_prefix(&sample));
            sum += values.map(str::parse::<i64>).sum::<Result<i64, _>>()?;
        }
        Ok(sum)
    }
}
