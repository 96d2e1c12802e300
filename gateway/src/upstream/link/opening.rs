//! Asking a backend for a link.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use headgate_contract::link::{
    CREDITS_MAX, FRAME_BYTES_MAX, Frame, HEADER, Hello, Next, PATH, PROTOCOL, VERSIONS, next,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::super::stream::Stream;
use super::{Granted, LinkError, Terms, To};

/// The longest answer.
const HEAD_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
/// The least frames and the most connections of a backend that make sense.
const FRAME_BYTES_MIN: usize = 1 << 10;
const CONNECTIONS_MAX: usize = 256;

/// Opens a link; `within` bounds each step.
pub(super) async fn open(to: &To, within: Duration) -> Result<Granted, LinkError> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let mut stream = Stream::open(&to.address, within, &to.tls).await?;
    timeout(within, ask(&mut stream, &to.address)).await.map_err(late)??;
    let mut read = BytesMut::new();
    let version = timeout(within, answer(&mut stream, &mut read)).await.map_err(late)??;
    timeout(within, greet(stream, read, version, &to.name)).await.map_err(late)?
}

async fn ask(stream: &mut Stream, address: &str) -> io::Result<()> {
    let question = format!(
        "GET {PATH} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n{HEADER}: {VERSIONS}\r\n\r\n"
    );
    stream.write_all(question.as_bytes()).await?;
    stream.flush().await
}

/// Reads the answer: the version that the backend chose. What follows it stays in `read`.
async fn answer(stream: &mut Stream, read: &mut BytesMut) -> Result<u16, LinkError> {
    loop {
        if stream.read_buf(read).await? == 0 {
            return Err(LinkError::Refused("the connection was closed instead of an answer".to_owned()));
        }
        let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut slots);
        match response.parse(read) {
            Ok(httparse::Status::Complete(head_bytes)) => {
                let version = granted(&response)?;
                read.advance(head_bytes);
                return Ok(version);
            }
            Ok(httparse::Status::Partial) if read.len() < HEAD_BYTES_MAX => {}
            _ => return Err(LinkError::Refused("what answers is no HTTP".to_owned())),
        }
    }
}

/// The version that an answer grants.
fn granted(response: &httparse::Response<'_, '_>) -> Result<u16, LinkError> {
    if response.code != Some(101) {
        return Err(LinkError::Refused(format!("answered {}", response.code.unwrap_or_default())));
    }
    let named = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    if !named("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case(PROTOCOL)) {
        return Err(LinkError::Refused("answered 101 for another protocol".to_owned()));
    }
    let version = named(HEADER).and_then(|version| version.parse().ok());
    version
        .filter(|version| VERSIONS.contain(*version))
        .ok_or_else(|| LinkError::Broken(format!("version '{}' was granted", named(HEADER).unwrap_or_default())))
}

/// Says hello and waits for the backend's.
async fn greet(mut stream: Stream, mut read: BytesMut, version: u16, name: &str) -> Result<Granted, LinkError> {
    let mut out = Vec::new();
    let frame_bytes_max = FRAME_BYTES_MAX as u32;
    let hello = Hello { version, credits: 0, frame_bytes_max, connections: 1, heads: 0, name };
    Frame::Hello(hello).put(&mut out);
    stream.write_all(&out).await?;
    stream.flush().await?;
    loop {
        match next(&read, FRAME_BYTES_MAX) {
            Ok(Next::Frame(Frame::Hello(hello), used)) => {
                let (terms, wanted) = (terms(&hello, version)?, usize::from(hello.connections));
                let name = hello.name.to_owned();
                read.advance(used);
                return Ok(Granted { stream, read, terms, wanted: wanted.clamp(1, CONNECTIONS_MAX), name });
            }
            Ok(Next::Frame(..)) => return Err(LinkError::Broken("a frame came before the hello".to_owned())),
            Ok(Next::Part(_)) => {}
            Err(error) => return Err(LinkError::Broken(error.to_string())),
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

fn terms(hello: &Hello<'_>, version: u16) -> Result<Terms, LinkError> {
    let frame_bytes_max = (hello.frame_bytes_max as usize).min(FRAME_BYTES_MAX);
    if hello.version != version || hello.credits == 0 || frame_bytes_max < FRAME_BYTES_MIN {
        let Hello { version, credits, .. } = hello;
        let words =
            format!("a hello of version {version}, {credits} credits and frames of {frame_bytes_max} bytes came");
        return Err(LinkError::Broken(words));
    }
    Ok(Terms { credits: hello.credits.min(CREDITS_MAX) as usize, frame_bytes_max, heads: hello.heads })
}
