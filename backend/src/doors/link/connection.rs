//! One link: what comes is read and begun, what is done is written, all by one task.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use headgate_contract::link::{CREDITS, Call, FRAME_BYTES_MAX, Frame, FrameError, HEADS_MAX, Hello, Next, next};
use tokio::io::AsyncWrite;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::io::poll_read_buf;

use super::super::body::{self, Held, Source};
use super::super::socket::Socket;
use super::super::{App, predict};
use super::calls::Calls;
use super::heads::{BadHead, Heads, Read};
use super::reply::{self, Answer};
use crate::refusal::Refusal;

/// What is read at once.
const READ_BYTES: usize = 64 << 10;
/// And how often before calls go on and are written.
const READS_MAX: usize = 4;
/// Nothing more is read while so much waits to be written: the other side takes none of it.
const UNWRITTEN_BYTES_MAX: usize = 4 << 20;
/// What is kept of the buffers.
const KEPT_BYTES: usize = 256 << 10;
/// How often it is looked at whether the backend drains, and how long nothing came.
const TICK: Duration = Duration::from_millis(100);
/// How long a gateway that was told has to close it, once the backend stops.
const STOPPED_STAYS: Duration = Duration::from_secs(1);

/// A link.
pub(super) struct Connection<'a> {
    app: &'a App,
    peer: SocketAddr,
    stream: Socket,
    read: BytesMut,
    /// Bytes of the frame that comes next, where a part of it has come.
    wanted: usize,
    out: Vec<u8>,
    written: usize,
    version: u16,
    /// What the gateway said of itself.
    gateway: Option<Gateway>,
    heads: Heads,
    calls: Calls<'a, Done>,
    last_id: Option<u64>,
    /// When something came last, and whether a ping went out since.
    heard: Instant,
    pinged: bool,
    told_draining: bool,
    /// Since when the backend stops and no call is open.
    stopped: Option<Instant>,
}

#[derive(Debug)]
struct Gateway {
    name: String,
    frame_bytes_max: usize,
}

/// How reading ended.
enum Reads {
    /// All that came was read.
    All,
    /// There may be more.
    More,
    /// Nothing is read for now.
    Paused,
    /// No more will come.
    End,
}

/// A call that was answered.
struct Done {
    head: Arc<Read>,
    answer: Answer,
}

/// A call as it begins.
struct Begun {
    head: Arc<Read>,
    body: Result<(Bytes, Held), Refusal>,
    started: Instant,
    timeout: Duration,
    /// Its id, where somebody reads the access log.
    id: Option<String>,
}

/// Why a link broke. The gateway's fault.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Head(#[from] BadHead),
    #[error("{0}")]
    Said(String),
    #[error("nothing came for {} ms", .0.as_millis())]
    Silent(Duration),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        app: &'a App,
        peer: SocketAddr,
        stream: Socket,
        read: BytesMut,
        version: u16,
        connections: u16,
    ) -> Self {
        let mut out = Vec::new();
        let hello = Hello {
            version,
            credits: CREDITS,
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            connections,
            heads: HEADS_MAX,
            name: app.shared.board.instance(),
        };
        Frame::Hello(hello).put(&mut out);
        Self {
            app,
            peer,
            stream,
            read,
            wanted: 0,
            out,
            written: 0,
            version,
            gateway: None,
            heads: Heads::default(),
            calls: Calls::new(),
            last_id: None,
            heard: Instant::now(),
            pinged: false,
            told_draining: false,
            stopped: None,
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self) {
        let ended = self.run().await;
        let gateway = self.gateway.as_ref().map_or("", |gateway| gateway.name.as_str());
        let (peer, in_flight) = (self.peer, self.calls.len());
        match ended {
            Ok(()) => tracing::debug!(%peer, gateway, "link closed"),
            Err(Broken::Io(error)) => tracing::debug!(%peer, gateway, in_flight, %error, "link broke"),
            Err(error) => {
                tracing::warn!(%peer, gateway, in_flight, %error, "link closed: its gateway broke the protocol")
            }
        }
    }

    async fn run(&mut self) -> Result<(), Broken> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Frames that came with the question.
        self.take_in()?;
        // What bounds a task's turn is here how much is read at once.
        let turns = poll_fn(|context| {
            while ticks.poll_tick(context).is_ready() {
                if self.tick()? {
                    return Poll::Ready(Ok(()));
                }
            }
            self.turn(context)
        });
        unconstrained(pin!(turns)).await
    }

    /// Reads, lets calls go on, and writes, until none of it can be done; ends when the gateway closes.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll_write(context)?;
        let read = self.poll_reads(context)?;
        let (app, out) = (self.app, &mut self.out);
        let most = self.gateway.as_ref().map_or(FRAME_BYTES_MAX, |gateway| gateway.frame_bytes_max);
        self.calls.poll(context, |id, done| done.put(app, id, most, out));
        self.poll_write(context)?;
        match read {
            Reads::End => return Poll::Ready(Ok(())),
            // Others get their turn before.
            Reads::More => context.waker().wake_by_ref(),
            Reads::Paused if !self.is_full() => context.waker().wake_by_ref(),
            Reads::Paused | Reads::All => {}
        }
        Poll::Pending
    }

    fn poll_reads(&mut self, context: &mut Context<'_>) -> Result<Reads, Broken> {
        for _ in 0..READS_MAX {
            if self.is_full() {
                return Ok(Reads::Paused);
            }
            let wanted = self.wanted.saturating_sub(self.read.len());
            self.read.reserve(wanted.max(READ_BYTES));
            match poll_read_buf(Pin::new(&mut self.stream), context, &mut self.read)? {
                Poll::Pending => return Ok(Reads::All),
                Poll::Ready(0) => return Ok(Reads::End),
                Poll::Ready(_) => {
                    (self.heard, self.pinged) = (Instant::now(), false);
                    self.take_in()?;
                }
            }
        }
        Ok(Reads::More)
    }

    /// Whether the other side takes nothing of what waits to be written.
    fn is_full(&self) -> bool {
        self.out.len() - self.written > UNWRITTEN_BYTES_MAX
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        while self.written < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(context, &self.out[self.written..]) {
                Poll::Ready(Ok(0)) => return Err(Broken::Io(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => self.written += count?,
                Poll::Pending => return Ok(()),
            }
        }
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        self.written = 0;
        // TLS may hold something back; a plain connection does not.
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(flushed) => Ok(flushed?),
            Poll::Pending => Ok(()),
        }
    }

    /// Takes in all frames that have come.
    fn take_in(&mut self) -> Result<(), Broken> {
        let mut read = std::mem::take(&mut self.read);
        let started = Instant::now();
        let taken = loop {
            match next(&read, FRAME_BYTES_MAX) {
                Ok(Next::Frame(frame, used)) => match self.frame(frame, started) {
                    Ok(()) => read.advance(used),
                    Err(error) => break Err(error),
                },
                Ok(Next::Part(wanted)) => {
                    self.wanted = wanted;
                    break Ok(());
                }
                Err(error) => break Err(error.into()),
            }
        };
        self.read = read;
        taken
    }

    fn frame(&mut self, frame: Frame<'_>, started: Instant) -> Result<(), Broken> {
        let said = |words: &str| Err(Broken::Said(words.to_owned()));
        match (frame, &self.gateway) {
            (Frame::Hello(hello), None) if hello.version == self.version => {
                let frame_bytes_max = (hello.frame_bytes_max as usize).min(FRAME_BYTES_MAX);
                self.gateway = Some(Gateway { name: hello.name.to_owned(), frame_bytes_max });
                tracing::debug!(peer = %self.peer, gateway = hello.name, version = self.version, "link opened");
                Ok(())
            }
            (Frame::Hello(hello), _) => Err(Broken::Said(format!(
                "a hello of version {} came, one of version {} expected once",
                hello.version, self.version
            ))),
            (_, None) => said("a frame came before the hello"),
            (Frame::Head(number, head), _) => Ok(self.heads.keep(self.app, number, &head)?),
            (Frame::Call(call), Some(gateway)) => {
                let most = gateway.frame_bytes_max;
                self.call(&call, started, most)
            }
            (Frame::Cancel(id), _) => {
                if self.calls.drop(id) {
                    let cancelled = headgate_contract::link::Closed::Cancelled;
                    Frame::Closed(id, cancelled).put(&mut self.out);
                } else if self.last_id.is_none_or(|last| id > last) {
                    return Err(Broken::Said(format!("a cancel of call {id} came, which did not come")));
                }
                Ok(())
            }
            (Frame::Ping(number), _) => {
                Frame::Pong(number).put(&mut self.out);
                Ok(())
            }
            (Frame::Pong(_), _) => Ok(()),
            (Frame::Reply(_) | Frame::Closed(..) | Frame::Draining, _) => said("a frame came that only backends send"),
        }
    }

    /// Begins a call, and answers it where that needs no waiting.
    fn call(&mut self, call: &Call<'_>, started: Instant, most: usize) -> Result<(), Broken> {
        let id = call.id;
        if self.last_id.is_some_and(|last| id <= last) {
            return Err(Broken::Said(format!("call {id} came after call {}", self.last_id.unwrap_or_default())));
        }
        self.last_id = Some(id);
        if self.calls.len() >= CREDITS as usize {
            return Err(Broken::Said(format!("call {id} came, and {CREDITS} are open, as many as may be")));
        }
        let head = self.heads.of(self.app, &call.head, call.headers)?;
        let held = body::announced(self.app, call.body.len() as u64);
        let begun = Begun {
            head,
            body: held.map(|held| (Bytes::copy_from_slice(call.body), held)),
            started,
            timeout: Duration::from_millis(call.timeout_ms.into()),
            id: predict::is_noted().then(|| String::from_utf8_lossy(call.request_id).into_owned()),
        };
        if let Some(done) = self.calls.begin(id, begun.answer(self.app, self.peer)) {
            done.put(self.app, id, most, &mut self.out);
        }
        Ok(())
    }

    /// What time alone brings; answers whether the link is to end.
    fn tick(&mut self) -> Result<bool, Broken> {
        let patience = self.app.shared.limits.idle_timeout;
        let silent = self.heard.elapsed();
        if silent >= patience && self.calls.len() == 0 {
            return Err(Broken::Silent(silent));
        }
        if silent >= patience / 2 && !self.pinged {
            self.pinged = true;
            Frame::Ping(0).put(&mut self.out);
        }
        let stops = self.app.stopping.is_cancelled();
        if (stops || self.app.shared.board.is_draining()) && !self.told_draining {
            self.told_draining = true;
            Frame::Draining.put(&mut self.out);
        }
        if !stops || self.calls.len() > 0 || !self.out.is_empty() {
            self.stopped = None;
            return Ok(false);
        }
        // A call may be on its way that was sent before the gateway knew.
        Ok(self.stopped.get_or_insert_with(Instant::now).elapsed() >= STOPPED_STAYS)
    }
}

impl Begun {
    async fn answer(self, app: &App, peer: SocketAddr) -> Done {
        let Self { head, body, started, timeout, id } = self;
        let answer = match &head.asks {
            Ok(asks) => {
                predict::answer_to(app, asks, &head.headers, Source::Read(body), (started, Some(timeout))).await
            }
            Err(refusal) => Err(predict::early(app, started, refusal.clone())),
        };
        if let Some(id) = id {
            predict::note(&answer, peer, &head.path, &id, started);
        }
        Done { head, answer }
    }
}

impl Done {
    fn put(self, app: &App, id: u64, most: usize, out: &mut Vec<u8>) {
        let load = u32::try_from(app.shared.in_flight.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        reply::put(id, &self.head, self.answer, load, most, out);
    }
}
