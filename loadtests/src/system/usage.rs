//! What a process takes of the machine, from `/proc`; nothing where there is no `/proc`.

use std::collections::HashMap;
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

/// Processor time of the processes that `pid` began, itself and those that have ended and were waited for included. It
/// leads a process group; its descendants count too where they left that.
pub fn cpu_of_group(pid: u32) -> Duration {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<Member> = pids.filter_map(Member::of).collect();
    members(pid, &all).map(|member| member.cpu).sum()
}

/// A process, as far as it matters to whom it belongs.
#[derive(Clone, Copy, Debug)]
struct Member {
    pid: u32,
    parent: u32,
    group: u32,
    /// With that of its children that have ended.
    cpu: Duration,
}

impl Member {
    fn of(pid: u32) -> Option<Self> {
        Self::read(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn read(pid: u32, stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let cpu = (11..15).map(field).sum::<Option<u64>>()?;
        let (parent, group) = (u32::try_from(field(1)?).ok()?, u32::try_from(field(2)?).ok()?);
        Some(Self { pid, parent, group, cpu: Duration::from_millis(cpu * 10) })
    }
}

/// Those of `all` that belong to `leader`.
fn members(leader: u32, all: &[Member]) -> impl Iterator<Item = &Member> {
    let parents: HashMap<u32, u32> = all.iter().map(|member| (member.pid, member.parent)).collect();
    all.iter().filter(move |member| {
        let mut line = std::iter::successors(Some(member.pid), |pid| parents.get(pid).copied());
        member.group == leader || line.any(|pid| pid == leader)
    })
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
    #![allow(clippy::unwrap_used)]
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

    #[test]
    fn a_group_is_its_leader_its_members_and_its_descendants() {
        let stat = |parent: u32, group: u32| format!("(x) S {parent} {group} 1 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0");
        let processes = [(1, 0, 1), (7, 1, 7), (8, 7, 7), (9, 8, 9), (10, 1, 7), (11, 1, 11), (12, 11, 11)];
        let all: Vec<Member> =
            processes.iter().map(|(pid, parent, group)| Member::read(*pid, &stat(*parent, *group)).unwrap()).collect();
        assert_eq!(members(7, &all).map(|member| member.pid).collect::<Vec<_>>(), [7, 8, 9, 10]);
        assert_eq!(all[0].cpu, Duration::from_millis(100));
        assert!(
            cpu_of_group(std::process::id())
                >= of(std::process::id()).unwrap().cpu.saturating_sub(Duration::from_millis(20))
        );
    }
}
