//! What reads and writes a link: one task for both. It writes what callers have gathered, and wakes those whose replies
//! have come.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use headgate_contract::link::{FRAME_BYTES_MAX, Frame, Next, next};
use tokio::io::AsyncWrite;
use tokio::task::coop::unconstrained;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::io::poll_read_buf;

use super::super::stream::Stream;
use super::state::{Closes, Ended, State};
use super::{Answer, Link, LinkError};

/// What is read at once, and how often before others get their turn.
const READ_BYTES: usize = 64 << 10;
const READS_MAX: usize = 4;
/// What is kept of the buffers.
const KEPT_BYTES: usize = 256 << 10;
/// How long nothing may come while calls are open before the backend is asked whether it is there, and how long its
/// answer may take.
const SILENCE: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(125);
/// Calls in flight from which it is worth to wait until others have written theirs.
const WORTH: usize = 4;

/// A link's connection.
pub(super) struct Driver<'l> {
    link: &'l Link,
    stream: Stream,
    read: BytesMut,
    /// Bytes of the frame that comes next, where a part of it has come.
    wanted: usize,
    writing: Vec<u8>,
    written: usize,
    /// Whether others had their turn since it was to write.
    gathered: bool,
    wakers: Vec<Waker>,
    heard: Instant,
    pinged: Option<Instant>,
    drains: bool,
}

/// How reading ended.
enum Reads {
    /// All that came was read.
    All,
    /// There may be more.
    More,
    /// No more will come.
    End,
}

impl<'l> Driver<'l> {
    pub(super) fn new(link: &'l Arc<Link>, stream: Stream, read: BytesMut) -> Self {
        Self {
            link,
            stream,
            read,
            wanted: 0,
            writing: Vec::new(),
            written: 0,
            gathered: false,
            wakers: Vec::new(),
            heard: Instant::now(),
            pinged: None,
            drains: false,
        }
    }

    /// Serves the link to its end. `drains`: the backend is about to stop.
    pub(super) async fn run(mut self, drains: impl Fn() + Send) -> Result<(), LinkError> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.take_in()?;
        let turns = poll_fn(|context| {
            while ticks.poll_tick(context).is_ready() {
                self.tick()?;
            }
            let turned = self.turn(context);
            if std::mem::take(&mut self.drains) {
                drains();
            }
            turned
        });
        unconstrained(pin!(turns)).await
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let read = self.poll_reads(context)?;
        let goes_on = self.poll_write(context)?;
        match read {
            Reads::End => Poll::Ready(Ok(())),
            _ if !goes_on => Poll::Ready(Ok(())),
            Reads::More => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Reads::All => Poll::Pending,
        }
    }

    /// Writes what there is to write; answers whether the link goes on.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<bool, LinkError> {
        loop {
            while self.written < self.writing.len() {
                match Pin::new(&mut self.stream).poll_write(context, &self.writing[self.written..]) {
                    Poll::Ready(Ok(0)) => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
                    Poll::Ready(count) => self.written += count?,
                    Poll::Pending => return Ok(true),
                }
            }
            // TLS may hold something back; a plain connection does not.
            if let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(context) {
                flushed?;
            }
            self.writing.clear();
            self.writing.shrink_to(KEPT_BYTES);
            self.written = 0;
            let mut state = self.link.state();
            if state.out.is_empty() {
                self.gathered = false;
                if state.retires && state.open() == 0 {
                    return Ok(false);
                }
                wait(&mut state, context);
                return Ok(true);
            }
            if !self.gathered && state.open() >= WORTH {
                drop(state);
                self.gathered = true;
                // Behind all tasks that can run now, and those whose bytes have come meanwhile: their calls go along.
                let _ = pin!(yield_now()).poll(context);
                return Ok(true);
            }
            self.gathered = false;
            state.take_out(&mut self.writing);
        }
    }

    fn poll_reads(&mut self, context: &mut Context<'_>) -> Result<Reads, LinkError> {
        for _ in 0..READS_MAX {
            let wanted = self.wanted.saturating_sub(self.read.len());
            self.read.reserve(wanted.max(READ_BYTES));
            match poll_read_buf(Pin::new(&mut self.stream), context, &mut self.read)? {
                Poll::Pending => return Ok(Reads::All),
                Poll::Ready(0) => return Ok(Reads::End),
                Poll::Ready(_) => {
                    (self.heard, self.pinged) = (Instant::now(), None);
                    self.take_in()?;
                }
            }
        }
        Ok(Reads::More)
    }

    /// Takes in all frames that have come, and wakes who waits for them.
    fn take_in(&mut self) -> Result<(), LinkError> {
        let taken = {
            let mut state = self.link.state();
            let taken = loop {
                match next(&self.read, FRAME_BYTES_MAX) {
                    Ok(Next::Frame(frame, used)) => {
                        if let Err(error) = frame_in(&mut state, frame, &mut self.wakers, &mut self.drains) {
                            break Err(error);
                        }
                        self.read.advance(used);
                    }
                    Ok(Next::Part(wanted)) => {
                        self.wanted = wanted;
                        break Ok(());
                    }
                    Err(error) => break Err(LinkError::Broken(error.to_string())),
                }
            };
            self.link.in_flight.store(state.open(), Relaxed);
            taken
        };
        self.wakers.drain(..).for_each(Waker::wake);
        taken
    }

    /// What time alone brings.
    fn tick(&mut self) -> Result<(), LinkError> {
        if let Some(pinged) = self.pinged {
            return match pinged.elapsed() {
                waited if waited >= PATIENCE => Err(LinkError::Silent(waited)),
                _ => Ok(()),
            };
        }
        let mut state = self.link.state();
        if state.open() > 0 && self.heard.elapsed() >= SILENCE {
            Frame::Ping(1).put(&mut state.out);
            self.pinged = Some(Instant::now());
        }
        Ok(())
    }
}

/// Lets callers wake the driver.
fn wait(state: &mut State, context: &Context<'_>) {
    match &mut state.driver {
        Some(before) => before.clone_from(context.waker()),
        none => *none = Some(context.waker().clone()),
    }
}

fn frame_in(state: &mut State, frame: Frame<'_>, wakers: &mut Vec<Waker>, drains: &mut bool) -> Result<(), LinkError> {
    let closed = match frame {
        Frame::Reply(reply) => {
            let answer = Answer::of(&reply).map_err(LinkError::Broken)?;
            (reply.id, state.closes(reply.id, || Ended::Reply(answer)))
        }
        Frame::Closed(id, _) => (id, state.closes(id, || Ended::Closed)),
        Frame::Ping(number) => {
            Frame::Pong(number).put(&mut state.out);
            return Ok(());
        }
        Frame::Pong(_) => return Ok(()),
        Frame::Draining => {
            (state.retires, *drains) = (true, true);
            return Ok(());
        }
        Frame::Hello(_) => return Err(LinkError::Broken("a second hello came".to_owned())),
        Frame::Head(..) | Frame::Call(_) | Frame::Cancel(_) => {
            return Err(LinkError::Broken("a frame came that only gateways send".to_owned()));
        }
    };
    match closed {
        (_, Some(Closes::Answered(waits))) => wakers.extend(waits),
        (_, Some(Closes::Freed)) => {}
        (id, None) => return Err(LinkError::Broken(format!("a reply to call {id} came, which is not open"))),
    }
    Ok(())
}
