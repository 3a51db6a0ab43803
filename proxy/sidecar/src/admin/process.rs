//! Prometheus' usual process metrics, read from Linux's `/proc/self`. On other systems they are left out.

use std::fs;
use std::time::SystemTime;

use super::samples::{one, timestamp};
use crate::telemetry::exposition::{Family, Value};
use crate::telemetry::families;

/// Clock ticks per second in `/proc/self/stat`: Linux shows 100 on every platform, whatever it uses itself.
const TICKS: f64 = 100.0;

/// What is known of the process now.
pub(super) fn families(started: SystemTime) -> Vec<Family> {
    let mut families = vec![one(&families::PROCESS_START, &[], Value::Gauge(timestamp(started)))];
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        families.push(one(&families::PROCESS_CPU, &[], Value::Seconds(seconds)));
    }
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        families.push(one(&families::PROCESS_RESIDENT, &[], Value::Gauge(bytes as f64)));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The folder that is being read is open too.
        families.push(one(&families::PROCESS_FDS, &[], Value::Gauge(open.count().saturating_sub(1) as f64)));
    }
    families
}

/// User and system time: the 12th and 13th fields after the name, which may itself hold spaces and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_is_read_right() {
        let stat = "17 (lee) board) S 1 17 17 0 -1 4194560 900 0 2 0 150 25 0 0 20 0 5 0 12345 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(cpu_seconds("17 (x) S 1"), None);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    7168 kB\nThreads:\t5\n"), Some(7_340_032));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
