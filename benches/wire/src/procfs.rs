//! What the kernel accounts to a process: CPU time and resident memory, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Kernel clock ticks per second: the unit of `/proc/PID/stat` on every Linux port of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time and memory of a process and all its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time of all threads since the start, in seconds (10 ms steps).
    pub(crate) cpu_seconds: f64,
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
}

/// The fields read from `/proc/PID/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    ticks: u64,
}

/// Usage of `root` and its descendants. An error when `root` is gone.
pub(crate) fn usage_of_tree(root: u32) -> io::Result<Usage> {
    let own = read_stat(root)?;
    let mut stats = all_stats()?;
    stats.insert(root, own);
    let mut usage = Usage::default();
    for pid in tree(root, &stats) {
        if let Some(stat) = stats.get(&pid) {
            usage.cpu_seconds += stat.ticks as f64 / TICKS_PER_SECOND;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok();
        usage.rss_kib += status.and_then(|status| parse_kib(&status, "VmRSS:")).unwrap_or(0);
    }
    Ok(usage)
}

/// Every process of the machine.
fn all_stats() -> io::Result<BTreeMap<u32, Stat>> {
    let mut stats = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        if let Ok(stat) = read_stat(pid) {
            stats.insert(pid, stat);
        }
    }
    Ok(stats)
}

/// Forgets the peak of resident memory of `root` and its descendants.
pub(crate) fn reset_peak_of_tree(root: u32) -> io::Result<()> {
    for pid in tree(root, &all_stats()?) {
        // Linux: 5 resets VmHWM to what is resident now.
        fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    }
    Ok(())
}

/// The peak of resident memory of `root` and its descendants since it was forgotten, in KiB.
pub(crate) fn peak_of_tree(root: u32) -> io::Result<u64> {
    let peak = |pid| fs::read_to_string(format!("/proc/{pid}/status")).ok().and_then(|s| parse_kib(&s, "VmHWM:"));
    Ok(tree(root, &all_stats()?).into_iter().filter_map(peak).sum())
}

/// Seconds that all cores together spent not idle since boot, time stolen by the hypervisor included.
pub(crate) fn machine_busy_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    parse_busy(&stat).ok_or_else(|| io::Error::other("/proc/stat has no cpu line"))
}

fn read_stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not readable")))
}

/// `pid (name) state ppid … utime stime …`; the name may hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks: user + system })
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
fn tree(root: u32, stats: &BTreeMap<u32, Stat>) -> Vec<u32> {
    let mut members = vec![root];
    let mut next = 0;
    while let Some(&parent) = members.get(next) {
        next += 1;
        for (&pid, stat) in stats {
            if stat.parent == parent && !members.contains(&pid) {
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
    fn stat_fields_behind_an_awkward_name() {
        let line = "4687 (a (b) c) S 4683 4683 3311 0 -1 4194304 100 0 0 0 250 75 9 9 20 0 4 0 62317 3133440 360";
        assert_eq!(parse_stat(line), Some(Stat { parent: 4683, ticks: 325 }));
        assert_eq!(parse_stat("4687 (cat) R 1"), None);
        assert_eq!(parse_stat("garbage"), None);
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
        let stats: BTreeMap<u32, Stat> = [(1, 0), (5, 1), (6, 5), (7, 1), (8, 6)]
            .into_iter()
            .map(|(pid, parent)| (pid, Stat { parent, ticks: 0 }))
            .collect();
        assert_eq!(tree(5, &stats), [5, 6, 8]);
    }

    #[test]
    fn this_process_has_memory() {
        let usage = usage_of_tree(std::process::id()).expect("own /proc entry");
        assert!(usage.rss_kib > 0);
        reset_peak_of_tree(std::process::id()).expect("own /proc entry");
        assert!(peak_of_tree(std::process::id()).expect("own /proc entry") > 0);
        assert!(machine_busy_seconds().expect("/proc/stat") > 0.0);
    }
}
