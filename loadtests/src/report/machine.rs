//! Where a run took place: a figure without its machine says nothing.

use std::fs;
use std::thread::available_parallelism;

use serde::Serialize;

/// A machine, as far as it can be told from inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, in bytes; 0 where it can't be told.
    pub memory_bytes: u64,
    /// Operating system, its kernel's release, architecture.
    pub system: String,
    /// Whether this program was built without optimisation: its figures then say little.
    pub debug_build: bool,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            cores: available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            system: format!("{} {} {}", std::env::consts::OS, kernel.trim(), std::env::consts::ARCH),
            debug_build: cfg!(debug_assertions),
        }
    }
}

/// The value of the first line `name : value`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.split_once(':').filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    text.lines().find_map(of)
}

fn memory_bytes(meminfo: &str) -> u64 {
    let kilobytes = value(meminfo, "MemTotal").and_then(|value| value.strip_suffix("kB"));
    kilobytes.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_or_left_unknown() {
        assert_eq!(value("a : 1\nmodel name\t: X: Y\n", "model name"), Some("X: Y"));
        assert_eq!(memory_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"), 16384);
        assert_eq!(memory_bytes(""), 0);
        assert!(Machine::here().cores > 0);
    }
}
