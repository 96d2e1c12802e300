//! Calls as frames on a gateway's few connections (`docs/LINK.md`): many in flight on each, all of a connection on its
//! thread.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use headgate_contract::link::{HEADER, PROTOCOL, VERSIONS, Versions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::App;
use super::socket::Socket;
use connection::Connection;
pub(super) use opening::{Opening, opening};

mod calls;
mod connection;
mod heads;
mod opening;
mod reply;

/// A connection whose gateway asks for a link.
pub(super) struct Asked {
    /// The versions that it speaks; none where it does not say so in a way that can be read.
    pub(super) versions: Option<Versions>,
    pub(super) stream: Socket,
    /// What came behind the question.
    pub(super) read: BytesMut,
}

/// A link that was granted.
pub(super) struct Opened {
    version: u16,
    stream: Way,
    read: BytesMut,
}

enum Way {
    /// Its socket belongs to no runtime yet.
    Plain(std::net::TcpStream),
    /// What was agreed on can't be taken from one to another.
    Tls(Socket),
}

impl Asked {
    /// Answers the question; none where there is to be no link.
    pub(super) async fn answer(mut self) -> io::Result<Option<Opened>> {
        let version = self.versions.and_then(|theirs| theirs.common(VERSIONS));
        let answer = match version {
            Some(version) => format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n{HEADER}: {version}\r\n\r\n"
            ),
            None => format!(
                "HTTP/1.1 426 Upgrade Required\r\nconnection: close, upgrade\r\nupgrade: {PROTOCOL}\r\n\
                 {HEADER}: {VERSIONS}\r\ncontent-length: 0\r\n\r\n"
            ),
        };
        self.stream.write_all(answer.as_bytes()).await?;
        self.stream.flush().await?;
        let Some(version) = version else {
            self.stream.shutdown().await?;
            return Ok(None);
        };
        let stream = match self.stream {
            Socket::Plain(stream) => Way::Plain(stream.into_std()?),
            stream @ Socket::Tls(_) => Way::Tls(stream),
        };
        Ok(Some(Opened { version, stream, read: self.read }))
    }
}

impl Opened {
    /// Whether it is to be served where it was asked for.
    pub(super) fn stays(&self) -> bool {
        matches!(self.stream, Way::Tls(_))
    }

    /// Serves the link to its end. `connections` of its kind serve this backend best.
    pub(super) async fn serve(self, app: &App, peer: SocketAddr, connections: usize) {
        let stream = match self.stream {
            Way::Plain(stream) => TcpStream::from_std(stream).map(Socket::Plain),
            Way::Tls(stream) => Ok(stream),
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%peer, %error, "link"),
        };
        let connections = u16::try_from(connections).unwrap_or(u16::MAX);
        Connection::new(app, peer, stream, self.read, self.version, connections).serve().await;
    }
}
