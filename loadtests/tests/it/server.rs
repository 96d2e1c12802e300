//! A small HTTP server on a thread of its own, whose behaviour each test says.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What becomes of one request.
pub(crate) enum Act {
    /// A reply: status, extra headers, body.
    Reply(u16, Vec<(&'static str, String)>, String),
    /// The connection is reset.
    Reset,
    /// The connection ends in the middle of the reply.
    Cut,
    /// Nothing ever comes.
    Silence,
}

/// A running server; its threads end with the test's process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

/// Starts a server that does `act` with the number of the request (over all connections) and its body.
pub(crate) fn start(act: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (accepted, requests, act) = (Arc::clone(&connections), Arc::new(AtomicUsize::new(0)), Arc::new(act));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            accepted.fetch_add(1, Ordering::SeqCst);
            let (requests, act) = (Arc::clone(&requests), Arc::clone(&act));
            thread::spawn(move || serve(stream, |body| act(requests.fetch_add(1, Ordering::SeqCst), body)));
        }
    });
    Server { address, connections }
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn serve(mut stream: TcpStream, act: impl Fn(&str) -> Act) {
    while let Some(body) = read_request(&mut stream) {
        match act(&body) {
            Act::Reply(status, headers, body) => {
                let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let length = body.len();
                let reply = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
                if stream.write_all(reply.as_bytes()).is_err() {
                    return;
                }
            }
            // Closing with unread bytes makes the kernel send a reset.
            Act::Reset => {
                rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap();
                return;
            }
            Act::Cut => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").unwrap();
                return;
            }
            Act::Silence => thread::park(),
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(String::from_utf8(body).unwrap())
}
