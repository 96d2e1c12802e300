//! The origin's end of a link: every call is answered with the same reply as soon as it is read.

use std::io;

use bytes::{Buf as _, BytesMut};
use headgate_contract::link::{
    Answered, CREDITS, Content, FRAME_BYTES_MAX, Frame, HEADER, HEADS_MAX, Headers, Hello, Next, PROTOCOL, Reply,
    VERSIONS, next,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// The answer to the request that opens a link.
pub(super) fn opened() -> Vec<u8> {
    let version = VERSIONS.max;
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n{HEADER}: {version}\r\n\r\n"
    )
    .into()
}

/// The answer where none is to be opened.
pub(super) fn refused() -> Vec<u8> {
    b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n".into()
}

/// Answers the calls of a link with `body` until it is closed; `bytes` is what came behind its request.
pub(super) async fn answer(mut stream: TcpStream, mut bytes: BytesMut, body: &[u8]) -> io::Result<()> {
    let garbled = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut out = Vec::with_capacity(READ_BYTES);
    hello().put(&mut out);
    loop {
        while let Next::Frame(frame, length) = next(&bytes, FRAME_BYTES_MAX).map_err(garbled)? {
            match frame {
                Frame::Call(call) => reply(call.id, body).put(&mut out),
                Frame::Ping(number) => Frame::Pong(number).put(&mut out),
                // Heads are not looked at; what is to be cancelled was answered before.
                _ => {}
            }
            bytes.advance(length);
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        bytes.reserve(READ_BYTES);
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

fn hello() -> Frame<'static> {
    Frame::Hello(Hello {
        version: VERSIONS.max,
        credits: CREDITS,
        frame_bytes_max: u32::try_from(FRAME_BYTES_MAX).unwrap_or(u32::MAX),
        connections: 1,
        heads: HEADS_MAX,
        name: "origin",
    })
}

fn reply(id: u64, body: &[u8]) -> Frame<'_> {
    Frame::Reply(Reply {
        id,
        status: 200,
        error: None,
        version: Answered::AsChosen,
        load: 1,
        rows: Some(1),
        content: Content::Json,
        headers: Headers::NONE,
        body,
    })
}
