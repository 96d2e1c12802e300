//! A backend's side of links that does not do what it should; all else on its port is passed on to a server of HTTP.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headgate_contract::link::{Answered, Closed, Content, FRAME_BYTES_MAX, Frame, Headers, Hello, Next, Reply, next};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::backend::Backend;

/// What it does on links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As it should.
    Well,
    /// Answers the question with this and closes.
    Answers(&'static str),
    /// Speaks this version.
    Speaks(u16),
    /// Grants so many calls.
    Grants(u32),
    /// Sends this instead of a reply.
    Sends(&'static [u8]),
    /// Sends a part of a reply, and then nothing: no pong either.
    Stalls,
    /// Sends each reply twice.
    Twice,
    /// Replies to a call that was never made.
    Unknown,
    /// Closes the connection instead of a reply.
    Cuts,
    /// Answers nothing but pings.
    Waits,
    /// Answers nothing but pings, and closes no call that is cancelled.
    Keeps,
    /// Answers calls when they are cancelled.
    AnswersCancelled,
    /// Says that the reply is too large.
    TooLarge,
    /// Says that it drains with the first reply.
    Drains,
}

/// What it saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) calls: AtomicU64,
    pub(super) cancels: AtomicU64,
    pub(super) heads: AtomicU64,
    /// The gateway's name.
    pub(super) name: Mutex<String>,
    /// Links that were asked for, and that are open.
    pub(super) asked: AtomicU64,
    pub(super) open: AtomicU64,
    /// The most calls that were open at once.
    pub(super) most: AtomicU64,
}

pub(super) struct Peer {
    pub(super) address: String,
    pub(super) seen: Arc<Seen>,
    manner: Arc<Mutex<Manner>>,
    server: tokio::task::JoinHandle<()>,
}

impl Peer {
    /// One in front of a server.
    pub(super) async fn before(backend: &Backend, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, manner) = (Arc::new(Seen::default()), Arc::new(Mutex::new(manner)));
        let server = tokio::spawn(accept(listener, backend.address.clone(), Arc::clone(&seen), Arc::clone(&manner)));
        Self { address, seen, manner, server }
    }

    pub(super) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, server: String, seen: Arc<Seen>, manner: Arc<Mutex<Manner>>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (server, seen, manner) = (server.clone(), Arc::clone(&seen), Arc::clone(&manner));
        connections.spawn(async move {
            let mut first = [0; 19];
            while stream.peek(&mut first).await.is_ok_and(|count| (1..first.len()).contains(&count)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if &first == b"GET /fleet/v1/link " {
                seen.asked.fetch_add(1, Relaxed);
                seen.open.fetch_add(1, Relaxed);
                let mut link = Link { stream, read: Vec::new(), manner, seen: Arc::clone(&seen), open: 0 };
                let _ = link.serve().await;
                seen.open.fetch_sub(1, Relaxed);
            } else if let Ok(mut to) = TcpStream::connect(server).await {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
            }
        });
    }
}

struct Link {
    stream: TcpStream,
    read: Vec<u8>,
    manner: Arc<Mutex<Manner>>,
    seen: Arc<Seen>,
    /// Calls that it has not answered.
    open: u64,
}

impl Link {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap()
    }

    async fn serve(&mut self) -> std::io::Result<()> {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(());
            }
        };
        assert!(head.contains("x-headgate-link: 1-1\r\n") && head.contains("upgrade: headgate-link\r\n"), "{head}");
        let (version, credits) = match self.manner() {
            Manner::Answers(answer) => return self.stream.write_all(answer.as_bytes()).await,
            Manner::Speaks(version) => (version, 100),
            Manner::Grants(credits) => (1, credits),
            _ => (1, 100),
        };
        let granted = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: headgate-link\r\n\
             x-headgate-link: {version}\r\n\r\n"
        );
        let hello = Hello { version, credits, frame_bytes_max: 1 << 18, connections: 1, heads: 8, name: "peer" };
        self.stream.write_all(granted.as_bytes()).await?;
        self.send(&[Frame::Hello(hello)]).await?;
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(());
            }
            let read = std::mem::take(&mut self.read);
            let mut rest = read.as_slice();
            while let Next::Frame(frame, used) = next(rest, FRAME_BYTES_MAX).unwrap() {
                rest = &rest[used..];
                if !self.frame(frame).await? {
                    return Ok(());
                }
            }
            self.read = rest.to_vec();
        }
    }

    /// Answers a frame; whether the link goes on.
    async fn frame(&mut self, frame: Frame<'_>) -> std::io::Result<bool> {
        match frame {
            Frame::Call(call) => {
                self.seen.calls.fetch_add(1, Relaxed);
                self.open += 1;
                self.seen.most.fetch_max(self.open, Relaxed);
                return self.call(call.id).await;
            }
            Frame::Hello(hello) => hello.name.clone_into(&mut self.seen.name.lock().unwrap()),
            Frame::Head(..) => drop(self.seen.heads.fetch_add(1, Relaxed)),
            Frame::Cancel(id) => {
                self.seen.cancels.fetch_add(1, Relaxed);
                self.open = self.open.saturating_sub(1);
                match self.manner() {
                    Manner::Keeps => {}
                    Manner::AnswersCancelled => self.send(&[reply(id)]).await?,
                    _ => self.send(&[Frame::Closed(id, Closed::Cancelled)]).await?,
                }
            }
            Frame::Ping(number) if self.manner() != Manner::Stalls => self.send(&[Frame::Pong(number)]).await?,
            _ => {}
        }
        Ok(true)
    }

    async fn call(&mut self, id: u64) -> std::io::Result<bool> {
        match self.manner() {
            Manner::Sends(bytes) => self.stream.write_all(bytes).await?,
            Manner::Stalls => {
                let mut bytes = Vec::new();
                reply(id).put(&mut bytes);
                self.stream.write_all(&bytes[..20]).await?;
            }
            Manner::Twice => self.send(&[reply(id), reply(id)]).await?,
            Manner::Unknown => self.send(&[reply(id + (1 << 16))]).await?,
            Manner::Cuts => return Ok(false),
            Manner::Waits | Manner::Keeps | Manner::AnswersCancelled => return Ok(true),
            Manner::TooLarge => self.send(&[Frame::Closed(id, Closed::TooLarge)]).await?,
            Manner::Drains => self.send(&[Frame::Draining, reply(id)]).await?,
            Manner::Grants(_) => {
                // So that others come meanwhile.
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.send(&[reply(id)]).await?;
            }
            Manner::Well | Manner::Answers(_) | Manner::Speaks(_) => self.send(&[reply(id)]).await?,
        }
        self.open = self.open.saturating_sub(1);
        Ok(true)
    }

    async fn send(&mut self, frames: &[Frame<'_>]) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.put(&mut bytes));
        self.stream.write_all(&bytes).await
    }
}

fn reply(id: u64) -> Frame<'static> {
    Frame::Reply(Reply {
        id,
        status: 200,
        error: None,
        version: Answered::AsChosen,
        load: 1,
        rows: Some(1),
        content: Content::Json,
        headers: Headers::NONE,
        body: b"{\"over\":\"link\"}",
    })
}
