//! A gateway's side of a link.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use headgate_contract::Kind;
use headgate_contract::link::{
    Answered, Call, Closed, Content, FRAME_BYTES_MAX, Frame, Head, HeadOf, Headers, Hello, Next, next, put_head,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A link that is open.
pub(super) struct Gateway {
    stream: TcpStream,
    read: Vec<u8>,
    next_id: u64,
    pub(super) hello: Credits,
    frame_bytes_max: u32,
    /// What came of calls that nobody has asked for yet.
    ended: HashMap<u64, Said>,
    pongs: Vec<u64>,
    /// Pings that came; they are answered in [`Gateway::is_quiet`] alone.
    pub(super) pings: usize,
    drains: bool,
    heads: HashMap<String, u16>,
}

/// What the server said of itself.
pub(super) struct Credits {
    pub(super) credits: u32,
    pub(super) connections: u16,
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum Said {
    Reply(Reply),
    Closed(Closed),
}

/// How a link ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Closed,
    Open,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) error: Option<Kind>,
    version: Answered,
    load: u32,
    rows: Option<u32>,
    content: Content,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The question, of these versions.
pub(super) fn opening(versions: &str) -> String {
    format!(
        "GET /fleet/v1/link HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: headgate-link\r\n\
         x-headgate-link: {versions}\r\n\r\n"
    )
}

fn hello(frame_bytes_max: u32) -> Vec<u8> {
    let hello = Hello { version: 1, credits: 0, frame_bytes_max, connections: 1, heads: 0, name: "g1" };
    let mut bytes = Vec::new();
    Frame::Hello(hello).put(&mut bytes);
    bytes
}

impl Reply {
    /// As HTTP has them; `chosen` are the call's.
    pub(super) fn headers(&self, chosen: Option<(&str, &str)>) -> HeaderMap {
        let mut headers = self.headers.clone();
        let mut set = |name: &'static str, value: String| {
            assert!(headers.insert(name, HeaderValue::from_str(&value).unwrap()).is_none(), "{name} is there twice");
        };
        if let Some(media_type) = self.content.media_type() {
            set("content-type", media_type.to_owned());
        }
        let version = match self.version {
            Answered::None => None,
            Answered::AsChosen => chosen.map(|(version, digest)| (version.to_owned(), digest.to_owned())),
            Answered::Version(version, digest) => Some((version.to_string(), hex::encode(digest))),
        };
        assert_eq!(version.is_some(), self.version != Answered::None, "the call named no version");
        if let Some((version, digest)) = version {
            set("x-headgate-version", version);
            set("x-headgate-digest", digest);
            set("x-headgate-load", self.load.to_string());
        }
        if let Some(rows) = self.rows {
            set("x-headgate-rows", rows.to_string());
        }
        if let Some(kind) = self.error {
            set("x-headgate-error", kind.as_str().to_owned());
        }
        headers
    }
}

impl Gateway {
    pub(super) async fn open(server: SocketAddr) -> Self {
        Self::open_with(server, FRAME_BYTES_MAX as u32).await
    }

    /// One that takes no larger frames.
    pub(super) async fn open_with(server: SocketAddr, frame_bytes_max: u32) -> Self {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // The hello does not wait for the answer to the question.
        stream.write_all(&[opening("1-1").into_bytes(), hello(frame_bytes_max)].concat()).await.unwrap();
        let mut read = Vec::new();
        let end = loop {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "closed");
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8(read.drain(..end).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("x-headgate-link: 1\r\n"), "{head}");
        let mut gateway = Self {
            stream,
            read,
            next_id: 0,
            hello: Credits { credits: 0, connections: 0 },
            frame_bytes_max,
            ended: HashMap::new(),
            pongs: Vec::new(),
            pings: 0,
            drains: false,
            heads: HashMap::new(),
        };
        while gateway.hello.credits == 0 {
            gateway.more().await.unwrap();
        }
        gateway
    }

    pub(super) fn hello_again(&self) -> Vec<u8> {
        hello(self.frame_bytes_max)
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(super) fn put_head(&self, number: u16, path: &str, headers: &[(&str, &str)], out: &mut Vec<u8>) {
        let block = block(path, headers);
        Frame::Head(number, Head::read(&block).unwrap()).put(out);
    }

    /// Writes a call; its head is one that came before by this number, or comes with it.
    pub(super) fn put_call(
        &mut self,
        known: Option<u16>,
        path: &str,
        headers: &[(&str, &str)],
        timeout_ms: u32,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> u64 {
        self.next_id += 3;
        let block = block(path, headers);
        let head = known.map_or_else(|| HeadOf::Inline(Head::read(&block).unwrap()), HeadOf::Known);
        let id = self.next_id;
        let call = Call { id, timeout_ms, head, request_id: b"r-1", headers: Headers::NONE, body };
        Frame::Call(call).put(out);
        id
    }

    /// Sends a call.
    pub(super) async fn call(&mut self, path: &str, headers: &[(&str, &str)], known: bool, body: &[u8]) -> u64 {
        let mut bytes = Vec::new();
        let number = known.then(|| {
            let (key, numbers) = (format!("{path} {headers:?}"), self.heads.len() as u16);
            *self.heads.entry(key).or_insert(numbers)
        });
        if let Some(number) = number {
            self.put_head(number, path, headers, &mut bytes);
        }
        let id = self.put_call(number, path, headers, 20_000, body, &mut bytes);
        self.write(&bytes).await;
        id
    }

    /// How a call ends.
    pub(super) async fn said(&mut self, id: u64) -> Said {
        loop {
            if let Some(said) = self.ended.remove(&id) {
                return said;
            }
            self.more().await.unwrap();
        }
    }

    pub(super) async fn pong(&mut self, number: u64) {
        while !self.pongs.contains(&number) {
            self.more().await.unwrap();
        }
    }

    pub(super) async fn draining(&mut self) {
        while !self.drains {
            self.more().await.unwrap();
        }
    }

    /// Whether no call ends for a while; answers pings meanwhile.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let until = tokio::time::Instant::now() + Duration::from_millis(150);
        while let Ok(more) = tokio::time::timeout_at(until, self.more()).await {
            more.unwrap();
            let mut pong = Vec::new();
            Frame::Pong(0).put(&mut pong);
            self.write(&pong).await;
        }
        self.ended.is_empty()
    }

    /// Waits for the server to close it.
    pub(super) async fn end(&mut self) -> Ended {
        let end = async { while self.more().await.is_some() {} };
        match tokio::time::timeout(Duration::from_secs(20), end).await {
            Ok(()) => Ended::Closed,
            Err(_) => Ended::Open,
        }
    }

    /// Reads what comes next; none at the end.
    async fn more(&mut self) -> Option<()> {
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.read)).await;
        match read.expect("nothing comes") {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        loop {
            let Next::Frame(frame, used) = next(&self.read, FRAME_BYTES_MAX).unwrap() else { return Some(()) };
            match frame {
                Frame::Hello(hello) => {
                    assert_eq!(hello.version, 1);
                    self.hello = Credits { credits: hello.credits, connections: hello.connections };
                }
                Frame::Reply(reply) => {
                    let name = |name| HeaderName::from_bytes(name).unwrap();
                    let value = |value| HeaderValue::from_bytes(value).unwrap();
                    let said = Said::Reply(Reply {
                        status: reply.status,
                        error: reply.error,
                        version: reply.version,
                        load: reply.load,
                        rows: reply.rows,
                        content: reply.content,
                        headers: reply.headers.iter().map(|(n, v)| (name(n), value(v))).collect(),
                        body: reply.body.to_vec(),
                    });
                    assert!(self.ended.insert(reply.id, said).is_none(), "call {} ended twice", reply.id);
                }
                Frame::Closed(id, why) => assert!(self.ended.insert(id, Said::Closed(why)).is_none()),
                Frame::Ping(_) => self.pings += 1,
                Frame::Pong(number) => self.pongs.push(number),
                Frame::Draining => self.drains = true,
                Frame::Head(..) | Frame::Call(_) | Frame::Cancel(_) => panic!("a server sent {frame:?}"),
            }
            self.read.drain(..used);
        }
    }
}

fn block(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    assert!(put_head(path, headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), &mut block));
    block
}
