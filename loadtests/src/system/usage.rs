//! What a process takes of the machine, from `/proc`; nothing where there is no `/proc`.

use std::fs;
use std::time::Duration;

/// What a process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its process id.
    pub pid: u32,
    /// Memory that is resident, in bytes.
    pub resident_bytes: u64,
    /// Processor time since it began, in user and kernel mode.
    pub cpu: Duration,
}

impl Usage {
    /// Processor time since `before`, where both are of one process: one that was started anew counts from 0.
    pub fn cpu_since(self, before: Usage) -> Option<Duration> {
        if self.pid == before.pid { self.cpu.checked_sub(before.cpu) } else { None }
    }
}

/// Reads what process `pid` takes.
pub fn of(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(Usage { pid, resident_bytes: resident_bytes(&status)?, cpu: cpu(&stat)? })
}

/// `VmRSS:     1234 kB` of `/proc/<pid>/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Fields 14 and 15 of `/proc/<pid>/stat`, in ticks of 10 ms (the kernel's ABI, whatever its own clock).
fn cpu(stat: &str) -> Option<Duration> {
    // Field 2 is a name in brackets that may hold anything, blanks too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 << 20));
        let stat = "7 (a b) c) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        let (before, again) = (Usage { pid: 7, ..Usage::default() }, Usage { pid: 8, ..Usage::default() });
        let now = Usage { cpu: Duration::from_secs(2), ..before };
        assert_eq!((now.cpu_since(before), now.cpu_since(again)), (Some(Duration::from_secs(2)), None));
        assert_eq!((resident_bytes("Name: zombie"), cpu("")), (None, None));
    }
}
