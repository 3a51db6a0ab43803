//! What the kernel accounts to a process: CPU time from its clock, resident memory from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Kernel clock ticks per second: the unit of `/proc/stat` on every Linux port of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time and memory of a process and all its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time of all threads since the start, ended ones included, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
}

/// Usage of `root` and its descendants. An error when `root` is gone.
pub(crate) fn usage_of_tree(root: u32) -> io::Result<Usage> {
    let mut usage = Usage { cpu_seconds: cpu_seconds(root)?, rss_kib: 0 };
    for pid in tree(root, &parents()?) {
        if pid != root {
            // A descendant may have ended meanwhile.
            usage.cpu_seconds += cpu_seconds(pid).unwrap_or(0.0);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok();
        usage.rss_kib += status.and_then(|status| parse_kib(&status, "VmRSS:")).unwrap_or(0);
    }
    Ok(usage)
}

/// The clock of a process; unlike `/proc/PID/stat`, it does not count in steps of 10 ms.
fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?;
    Ok(Duration::from(clock_gettime(clock)?).as_secs_f64())
}

/// The parent of every process of the machine.
fn parents() -> io::Result<BTreeMap<u32, u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        if let Some(parent) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse_parent(&stat))
        {
            parents.insert(pid, parent);
        }
    }
    Ok(parents)
}

/// Forgets the peak of resident memory of `root` and its descendants.
pub(crate) fn reset_peak_of_tree(root: u32) -> io::Result<()> {
    for pid in tree(root, &parents()?) {
        // Linux: 5 resets VmHWM to what is resident now.
        fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    }
    Ok(())
}

/// The peak of resident memory of `root` and its descendants since it was forgotten, in KiB.
pub(crate) fn peak_of_tree(root: u32) -> io::Result<u64> {
    let peak = |pid| fs::read_to_string(format!("/proc/{pid}/status")).ok().and_then(|s| parse_kib(&s, "VmHWM:"));
    Ok(tree(root, &parents()?).into_iter().filter_map(peak).sum())
}

/// Seconds that all cores together spent not idle since boot, time stolen by the hypervisor included.
pub(crate) fn machine_busy_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    parse_busy(&stat).ok_or_else(|| io::Error::other("/proc/stat has no cpu line"))
}

/// `pid (name) state ppid …`; the name may hold spaces and parentheses.
fn parse_parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn parse_kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Sums the first line of `/proc/stat` without idle and iowait; guest time is part of user time.
fn parse_busy(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    if fields.len() < 8 {
        return None;
    }
    let busy: u64 = fields[..3].iter().sum::<u64>() + fields[5..8].iter().sum::<u64>();
    Some(busy as f64 / TICKS_PER_SECOND)
}

/// `root` and every process below it.
fn tree(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut members = vec![root];
    let mut next = 0;
    while let Some(&parent) = members.get(next) {
        next += 1;
        for (&pid, &above) in parents {
            if above == parent && !members.contains(&pid) {
                members.push(pid);
            }
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_behind_an_awkward_name() {
        let line = "4687 (a (b) c) S 4683 4683 3311 0 -1 4194304 100 0 0 0 250 75 9 9 20 0 4 0 62317 3133440 360";
        assert_eq!(parse_parent(line), Some(4683));
        assert_eq!(parse_parent("4687 (cat) R"), None);
        assert_eq!(parse_parent("garbage"), None);
    }

    #[test]
    fn rss_is_read_in_kib() {
        let status = "Name:\tx\nVmHWM:\t    5678 kB\nVmRSS:\t    1234 kB\nThreads:\t1\n";
        assert_eq!(parse_kib(status, "VmRSS:"), Some(1234));
        assert_eq!(parse_kib(status, "VmHWM:"), Some(5678));
        assert_eq!(parse_kib("Name:\tkthreadd\n", "VmRSS:"), None);
    }

    #[test]
    fn busy_time_leaves_out_idle_and_iowait_and_guests() {
        let stat = "cpu  100 20 30 9999 888 4 5 6 70 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse_busy(stat), Some(1.65));
        assert_eq!(parse_busy("cpu0 1 2 3\n"), None);
    }

    #[test]
    fn a_tree_holds_children_of_children_only() {
        let parents = BTreeMap::from([(1, 0), (5, 1), (6, 5), (7, 1), (8, 6)]);
        assert_eq!(tree(5, &parents), [5, 6, 8]);
    }

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let usage = usage_of_tree(std::process::id()).expect("own /proc entry");
        assert!(usage.rss_kib > 0);
        let later = usage_of_tree(std::process::id()).expect("own /proc entry");
        assert!(later.cpu_seconds > usage.cpu_seconds, "reading /proc takes time: {usage:?} {later:?}");
        reset_peak_of_tree(std::process::id()).expect("own /proc entry");
        assert!(peak_of_tree(std::process::id()).expect("own /proc entry") > 0);
        assert!(machine_busy_seconds().expect("/proc/stat") > 0.0);
    }
}
