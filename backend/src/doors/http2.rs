//! HTTP/2 with prior knowledge on the port that speaks HTTP/1.1: told apart by a connection's first bytes, which stay
//! where they are, so that nothing stands between HTTP/1.1 and its socket.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;

use super::tls;

/// What a connection of HTTP/2 begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often to look for the rest of a preface that came in parts, and how many times: no client sends it so.
const PART: Duration = Duration::from_millis(10);
const PARTS_MAX: usize = 100;

/// Calls at once on one connection; a client keeps others back.
const STREAMS_MAX: u32 = 256;
/// The headers of a call, in bytes.
const HEADERS_BYTES_MAX: u32 = 32 << 10;
/// What may arrive of a call, and of all calls of a connection, before it is read.
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What waits to be sent, of a call.
const SEND_BUFFER: usize = 256 << 10;
/// Calls that a client may take back before they were looked at; then the connection ends.
const TAKEN_BACK_MAX: usize = 64;
/// Calls that are refused as they break the protocol, those beyond the bound on calls at once too; then it ends.
const REFUSED_MAX: usize = 1024;

/// Whether a connection speaks HTTP/2; none where it closes before it says, or says nothing for so long.
pub(super) async fn is_spoken(stream: &TcpStream, peer: SocketAddr, patience: Duration) -> Option<bool> {
    let peeked = async {
        let mut bytes = [0; PREFACE.len()];
        for _ in 0..PARTS_MAX {
            let count = stream.peek(&mut bytes).await.ok()?;
            let came = bytes.get(..count).unwrap_or_default();
            match PREFACE.strip_prefix(came) {
                _ if count == 0 => return None,
                None => {
                    if tls::is_spoken(came) {
                        tls::refused(peer, "it speaks TLS, for which 'tls.cert' is not set");
                    }
                    return Some(false);
                }
                Some([]) => return Some(true),
                Some(_) => tokio::time::sleep(PART).await,
            }
        }
        Some(false)
    };
    tokio::time::timeout(patience, peeked).await.ok()?
}

/// Connections, with a bound on all that a client may cause. One whose other side answers no ping within `patience` is
/// closed.
pub(super) fn builder(patience: Duration) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(TAKEN_BACK_MAX)
        .max_local_error_reset_streams(REFUSED_MAX)
        .keep_alive_interval(patience)
        .keep_alive_timeout(patience);
    http
}
