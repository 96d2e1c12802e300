//! Ports: taking one, and saying by whom it is taken.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::{fs, io};

/// A port that can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    /// Somebody listens there.
    #[error("{what} {address} is in use by {owner}; stop it, or pass another address with {flag}")]
    Busy {
        /// What wanted it.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The process, as far as it can be seen.
        owner: String,
        /// The flag that moves it.
        flag: &'static str,
    },
    /// It can't be bound for another reason.
    #[error("{what} {address} can't be bound: {source}; pass another address with {flag}")]
    Refused {
        /// What wanted it.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
        /// The flag that moves it.
        flag: &'static str,
    },
}

/// Checks that an address can be bound now.
pub(crate) fn check(what: &'static str, address: SocketAddr, flag: &'static str) -> Result<(), PortError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(PortError::Busy { what, address, owner: owner(address.port()), flag })
        }
        Err(source) => Err(PortError::Refused { what, address, source, flag }),
    }
}

/// A loopback port that no other `headgate up` takes, though nothing may listen there yet, or not now.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) address: SocketAddr,
    /// The same port of UDP, which nothing here speaks: held by this process alone, and free again however it ends.
    _held: UdpSocket,
}

impl Reserved {
    fn new(port: u16) -> io::Result<Self> {
        let address = TcpListener::bind(loopback(port))?.local_addr()?;
        Ok(Self { address, _held: UdpSocket::bind(address)? })
    }
}

/// The first free loopback port from `preferred` up, else any free one.
pub(crate) fn free(preferred: u16) -> io::Result<Reserved> {
    let near = (preferred..preferred.saturating_add(100)).find_map(|port| Reserved::new(port).ok());
    near.map_or_else(|| Reserved::new(0), Ok)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The process that listens on a port, in words: read from /proc, where there is one and it may be read.
fn owner(port: u16) -> String {
    let unknown = || "another process".to_owned();
    let Some(inode) = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_inode(table, port)) else {
        return unknown();
    };
    let wanted = format!("socket:[{inode}]");
    let Ok(processes) = fs::read_dir("/proc") else { return unknown() };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds =
            |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str());
        if files.flatten().any(holds) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return format!("{} (pid {pid})", name.trim());
        }
    }
    unknown()
}

/// The inode of the socket that listens on `port`, from a table of the kernel's: columns 1 (local), 3 (state), 9 (inode).
fn listening_inode(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    fs::read_to_string(table).ok()?.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, ..] = columns.as_slice() else { return None };
        (*state == LISTEN && local.ends_with(&suffix)).then(|| columns.get(9).map(|inode| (*inode).to_owned()))?
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_busy_port_names_its_owner() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let error = check("the gateway's address", address, "--listen").unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        assert!(error.contains("--listen"), "{error}");
        let reserved = free(address.port()).unwrap();
        assert_ne!(reserved.address, address);
        // Before anything listens there, it is taken for others.
        assert_ne!(free(reserved.address.port()).unwrap().address, reserved.address);
        drop(held);
        assert!(check("the gateway's address", address, "--listen").is_ok());
    }
}
