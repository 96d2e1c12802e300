//! Processes and their memory, as `/proc` has them. Where there is no `/proc` there are none.

use std::collections::HashMap;
use std::fs;

use rustix::process::Pid;

/// All that descend from a process, itself left out.
pub(super) fn descendants(of: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![of.as_raw_nonzero().get()];
    while let Some(pid) = next.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.extend(Pid::from_raw(child));
            next.push(child);
        }
    }
    found
}

/// Resident memory of a process that can't be dropped, in bytes: without the pages that are files. What it shares with its
/// children counts for each of them.
pub(super) fn resident_bytes(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let kib = |line: &str| {
        let rest = line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:"))?;
        rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    status.lines().filter_map(kib).sum::<u64>() * 1024
}

/// The parent in a process' `stat`. Its second field, the program's name in parentheses, may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_in_parentheses_hides_no_parent() {
        assert_eq!(parent("17 (a) R 1 (b)) S 4 17 17 0"), Some(4));
        assert_eq!(parent(""), None);
    }

    #[test]
    fn a_child_is_found_and_weighed() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(descendants(rustix::process::getpid()).contains(&pid));
        assert!(resident_bytes(rustix::process::getpid()) > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(resident_bytes(pid), 0);
    }
}
