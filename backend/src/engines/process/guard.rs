//! The guard: this program once more, as the parent of a version's process.
//!
//! It stands between the backend and what a version started, so that nothing of it outlives the backend, however that ends:
//!
//! - it is the *subreaper* of all that the process starts: whoever forks twice or leaves the process group is still found
//!   and killed;
//! - its standard input is a socket to the backend, over which it takes orders. When that closes the backend is gone: it
//!   kills everything and removes the version's folder;
//! - it watches the memory of all of them together, and kills what holds too much.
//!
//! Orders are one byte each ([`TERMINATE`], [`KILL`]); it says `started <pid>`, then at most once `grown <bytes>`, and last
//! `ended <words>` or `failed <words>`, a line each.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group,
    set_child_subreaper, setrlimit, wait,
};

use super::{folder, tree};

/// The first argument of a guard.
pub(super) const ARGUMENT: &str = "process-guard";
/// Asks for SIGTERM to the process and its group.
pub(super) const TERMINATE: u8 = b't';
/// Asks for SIGKILL to everything.
pub(super) const KILL: u8 = b'k';

/// How often memory is looked at, at the most.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looking takes at most one part in so many of a processor's time.
const LOOK_SHARE: u32 = 20;
/// How long killed processes are waited for: one may hang in the kernel.
const REAP_MAX: Duration = Duration::from_secs(10);

/// What a guard is told by its arguments.
struct Task {
    /// The version's folder: [`super::folder`].
    folder: PathBuf,
    memory_bytes_max: u64,
    argv: Vec<OsString>,
}

/// What its threads share.
struct Watch {
    process: Pid,
    control: UnixStream,
    /// Whether the process was waited for: its number may be another's from then on.
    ended: AtomicBool,
    /// Whether the backend is gone.
    orphaned: AtomicBool,
}

/// Runs a guard where this program was started as one; its `main` must ask this before anything else.
pub fn entry() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != ARGUMENT {
        return None;
    }
    let task = (|| {
        let folder = PathBuf::from(args.next()?);
        let memory_bytes_max = args.next()?.to_str()?.parse().ok()?;
        let argv: Vec<OsString> = args.collect();
        (!argv.is_empty()).then_some(Task { folder, memory_bytes_max, argv })
    })();
    // Only a backend starts guards.
    let Some(task) = task else { return Some(ExitCode::from(2)) };
    Some(match guard(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn guard(task: Task) -> std::io::Result<()> {
    let control = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let folder = task.folder.clone();
    let memory_bytes_max = task.memory_bytes_max;
    let process = match start(task) {
        Ok(process) => process,
        Err(error) => return tell(&control, &format!("failed {error}")),
    };
    tell(&control, &format!("started {}", process.as_raw_nonzero()))?;
    let watch = Arc::new(Watch {
        process,
        control: control.try_clone()?,
        ended: AtomicBool::new(false),
        orphaned: AtomicBool::new(false),
    });
    let (obeying, looking) = (Arc::clone(&watch), Arc::clone(&watch));
    std::thread::Builder::new().name("obey".to_owned()).spawn(move || obeying.obey())?;
    std::thread::Builder::new().name("look".to_owned()).spawn(move || looking.look(memory_bytes_max))?;
    let ended = watch.reap();
    clear();
    let told = tell(&control, &format!("ended {ended}"));
    if watch.orphaned.load(Ordering::SeqCst) {
        folder::remove(&folder);
    }
    told
}

/// Starts the process, in a group of its own.
fn start(task: Task) -> std::io::Result<Pid> {
    let own = getpid();
    set_child_subreaper(Some(own))?;
    // What grows faster than it can be looked at fails in its own hands, and leaves no image of itself on the disk.
    for (resource, bytes) in [(Resource::Data, task.memory_bytes_max.saturating_mul(2)), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
    }
    let Some((program, arguments)) = task.argv.split_first() else {
        return Err(std::io::Error::other("no command"));
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder::work(&task.folder)).stdin(Stdio::null()).process_group(0);
    let child = command.spawn()?;
    Ok(Pid::from_child(&child))
}

fn tell(mut control: &UnixStream, line: &str) -> std::io::Result<()> {
    control.write_all((line.replace('\n', " ") + "\n").as_bytes())
}

/// Kills what the process left behind.
fn clear() {
    let since = Instant::now();
    while since.elapsed() < REAP_MAX {
        for orphan in tree::descendants(getpid()) {
            let _ = kill_process(orphan, Signal::KILL);
        }
        // All that have ended by now; an error says that there are no children left.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        if let Err(rustix::io::Errno::CHILD) = wait(WaitOptions::NOHANG) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How a process ended, in words.
fn words(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

impl Watch {
    /// Waits until the process ends, reaping all that end before it.
    fn reap(&self) -> String {
        loop {
            let ended = match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid == self.process => words(status),
                Ok(_) | Err(rustix::io::Errno::INTR) => continue,
                Err(error) => format!("it can't be waited for: {error}"),
            };
            self.ended.store(true, Ordering::SeqCst);
            return ended;
        }
    }

    /// Does what the backend says; its silence for ever is an order too.
    fn obey(&self) {
        let mut order = [0];
        loop {
            match (&self.control).read(&mut order) {
                Ok(1) if order[0] == TERMINATE => self.signal(Signal::TERM),
                Ok(1) => self.signal(Signal::KILL),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.orphaned.store(true, Ordering::SeqCst);
                    return self.signal(Signal::KILL);
                }
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if !self.ended.load(Ordering::SeqCst) {
            // It may have left its group.
            let _ = kill_process(self.process, signal);
            let _ = kill_process_group(self.process, signal);
        }
    }

    /// Kills everything once it holds more memory than it may.
    fn look(&self, bytes_max: u64) {
        while !self.ended.load(Ordering::SeqCst) {
            let began = Instant::now();
            let bytes = tree::descendants(getpid()).into_iter().map(tree::resident_bytes).sum::<u64>();
            if bytes > bytes_max {
                let _ = tell(&self.control, &format!("grown {bytes}"));
                return self.signal(Signal::KILL);
            }
            std::thread::sleep(LOOK_EVERY.max(began.elapsed() * LOOK_SHARE));
        }
    }
}
