//! Who does what is done: `user@host`.

/// The user and the host of this process, as `user@host`: what claims, heads and histories name. `unknown` stands for
/// what the machine doesn't tell.
pub fn whoami() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.unwrap_or_else(|| match rustix::process::getuid() {
        uid if uid.is_root() => "root".to_owned(),
        uid => format!("uid-{}", uid.as_raw()),
    });
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{}", if host.is_empty() { "unknown" } else { &host })
}
