//! An open-loop load driver over HTTP/1.1: requests arrive by a schedule that does not wait for replies, and their
//! latency counts from when they were due, so that a stall of the system shows in all the requests that it delayed
//! (no "coordinated omission").
//!
//! One thread drives: it wakes by a kernel timer, hands what is due to idle connections, opens more up to a bound, and
//! lets the rest wait in line, which their latency includes. It shares the machine with what it measures, so it does
//! not spin, unless it is told that all else goes before it; how late it was itself is measured too ([`tally::Tally::lag`]).

mod bare;
mod connection;
pub mod control;
pub mod expect;
pub mod failure;
mod merge;
pub mod phase;
mod pool;
pub mod schedule;
pub mod scores;
pub mod tally;
pub mod target;
pub mod timeline;
mod timer;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use control::{Change, Control, Log};
use expect::Expect;
use pool::Pool;
use schedule::{Law, Schedule};
use scores::Scores;
use tally::Tally;
use target::Target;
use timer::Timer;

/// How many changes of version may wait for whoever listens.
const CHANGES_MAX: usize = 10_000;

/// What to drive, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where requests go.
    pub target: Target,
    /// The address that connections come from: whose caller this is. Without it, whatever the system takes.
    pub from: Option<IpAddr>,
    /// What is posted, in turn; none makes the requests GETs.
    pub bodies: Vec<Bytes>,
    /// Headers beside `host` and `content-type`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How requests arrive.
    pub load: Load,
    /// For how long at most; [`Control::stop`] ends it earlier.
    pub duration: Duration,
    /// The most connections.
    pub connections: usize,
    /// How long after it was due a request has failed.
    pub timeout: Duration,
    /// What replies must look like; without it any reply of status 2xx will do.
    pub expect: Option<Expect>,
    /// What scores they must carry; without it nobody looks.
    pub scores: Option<Scores>,
    /// The names of the phases, at least one; the load begins in the first.
    pub phases: Vec<String>,
    /// Whether requests go and replies come as bytes, without a client library: takes two thirds of the time, but knows neither
    /// versions nor chunks, and a server that closes an idle connection costs it a request.
    pub bare: bool,
    /// Whether it looks again and again instead of sleeping until the next request is due: what it measures is then not how
    /// long this thread takes to wake. Only for a core where all else goes before it.
    pub spin: bool,
    /// Whether each call is kept, beside the sums of all ([`Tally::calls`]).
    pub keep: bool,
}

/// How requests arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// By a schedule, whatever becomes of them.
    Open {
        /// The law of the arrivals.
        law: Law,
        /// Arrivals a second, above 0.
        rate_per_s: f64,
        /// The same seed gives the same arrivals.
        seed: u64,
    },
    /// Each connection sends its next request when it has its reply: for finding the most that a system can do.
    Closed,
}

/// A load that runs. Dropped, it stops.
#[derive(Debug)]
pub struct Running {
    /// Steers it.
    pub control: Control,
    /// Tells when a backend's replies change their version.
    pub changes: mpsc::Receiver<Change>,
    done: oneshot::Receiver<io::Result<Driven>>,
}

/// A load that has ended.
#[derive(Debug)]
pub struct Driven {
    /// What was measured.
    pub tally: Tally,
    /// What happened meanwhile.
    pub log: Log,
    /// How long requests arrived.
    pub length: Duration,
    /// The most connections that there were.
    pub connections: usize,
}

/// Why a load could not be driven. The machine's fault, whose limits may have to be raised, but for a bad URL.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// No thread, runtime or timer.
    #[error("driver could not run: {0}")]
    Start(#[from] io::Error),
    /// The URL makes no sense.
    #[error(transparent)]
    Target(#[from] target::TargetError),
    /// The driver's thread ended without a result.
    #[error("driver's thread died")]
    Died,
}

/// Starts a load on a thread of its own.
pub fn start(plan: Plan) -> Result<Running, DriverError> {
    let started = Instant::now();
    let control = Control::new(started);
    let (changed, changes) = mpsc::channel(CHANGES_MAX);
    let (finished, done) = oneshot::channel();
    let steering = control.clone();
    thread::Builder::new().name("driver".to_owned()).spawn(move || {
        // Nobody waits any more where this fails.
        let _ = finished.send(drive(plan, steering, started, changed));
    })?;
    Ok(Running { control, changes, done })
}

impl Running {
    /// Waits until the load has ended, by its duration or because it was stopped.
    pub async fn finish(mut self) -> Result<Driven, DriverError> {
        (&mut self.done).await.map_err(|_| DriverError::Died)?.map_err(DriverError::Start)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.stop();
    }
}

impl Load {
    pub(crate) fn is_closed(self) -> bool {
        self == Load::Closed
    }
}

impl Plan {
    /// A connection to the target.
    async fn connect(&self) -> io::Result<TcpStream> {
        let Some(from) = self.from else { return TcpStream::connect(&self.target.address).await };
        let mut addresses = lookup_host(&self.target.address).await?.filter(|to| to.is_ipv4() == from.is_ipv4());
        let to = addresses.next().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(to).await
    }

    fn method(&self) -> Method {
        if self.bodies.is_empty() { Method::GET } else { Method::POST }
    }
}

fn drive(plan: Plan, control: Control, started: Instant, changes: mpsc::Sender<Change>) -> io::Result<Driven> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let phases = plan.phases.len();
        let pool = Pool::new(plan, control.clone(), started, changes);
        match pool.plan.load {
            Load::Closed => {
                (0..pool.plan.connections).for_each(|_| pool.connect());
                // Whether by its end or because it was stopped is all the same.
                let _ = tokio::time::timeout_at((started + pool.plan.duration).into(), control.stopped()).await;
            }
            Load::Open { law, rate_per_s, seed } => {
                arrive(&pool, &control, started, Schedule::new(law, rate_per_s, seed)).await?;
            }
        }
        let (length, connections) = pool.close().await;
        let mut tally = pool.take_tally();
        let log = control.log();
        for (phase, length) in tally.phases.iter_mut().zip(log.lengths(phases, length)) {
            phase.length = length;
        }
        Ok(Driven { tally, log, length, connections })
    })
}

async fn arrive(pool: &std::rc::Rc<Pool>, control: &Control, started: Instant, schedule: Schedule) -> io::Result<()> {
    let mut timer = Timer::new()?;
    for at in schedule.take_while(|at| *at < pool.plan.duration) {
        let due = started + at;
        if pool.plan.spin {
            while due > Instant::now() && !control.is_stopped() {
                tokio::task::yield_now().await;
            }
        } else if due > Instant::now() {
            tokio::select! {
                result = timer.until(due) => result?,
                () = control.stopped() => {}
            }
        }
        if control.is_stopped() {
            break;
        }
        pool.arrive(pool.call(due));
    }
    Ok(())
}
