//! What a backend is sent, to the byte: a line between it and the gateway that reads each request as strictly as can be,
//! without any code of ours, and passes it on.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::backend::Backend;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Method, target and version.
    pub(super) line: String,
    /// Names in lower case, and values.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// A line that notes what passes.
pub(super) struct Tape {
    pub(super) address: String,
    seen: Arc<Mutex<Vec<Request>>>,
    /// What is no request.
    bad: Arc<Mutex<Vec<String>>>,
    line: tokio::task::JoinHandle<()>,
}

impl Tape {
    pub(super) async fn before(backend: &Backend) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, bad) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let line = {
            let (to, seen, bad) = (backend.address.clone(), Arc::clone(&seen), Arc::clone(&bad));
            tokio::spawn(async move {
                let mut connections = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let to = TcpStream::connect(&to).await.unwrap();
                    connections.spawn(pass(stream, to, Arc::clone(&seen), Arc::clone(&bad)));
                }
            })
        };
        Self { address, seen, bad, line }
    }

    /// The calls since the last look, and what was no request at all.
    pub(super) fn take(&self) -> (Vec<Request>, Vec<String>) {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.retain(|request| !request.line.contains(" /fleet/"));
        (seen, std::mem::take(&mut *self.bad.lock().unwrap()))
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.line.abort();
    }
}

async fn pass(from: TcpStream, to: TcpStream, seen: Arc<Mutex<Vec<Request>>>, bad: Arc<Mutex<Vec<String>>>) {
    let ((mut from, mut back), (mut answers, mut to)) = (from.into_split(), to.into_split());
    let answers = tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
    let mut came = Vec::new();
    while from.read_buf(&mut came).await.is_ok_and(|count| count > 0) {
        let mut whole = 0;
        loop {
            match read(&came[whole..]) {
                Ok(Some((request, used))) => {
                    seen.lock().unwrap().push(request);
                    whole += used;
                }
                Ok(None) => break,
                Err(why) => {
                    let text = String::from_utf8_lossy(&came[whole..]).into_owned();
                    return bad.lock().unwrap().push(format!("{why}: {text:?}"));
                }
            }
        }
        // What is not whole yet goes on later: nothing is passed on unseen.
        let whole: Vec<u8> = came.drain(..whole).collect();
        if to.write_all(&whole).await.is_err() {
            break;
        }
    }
    answers.abort();
}

/// The first request, and its bytes; none where it is not whole.
fn read(bytes: &[u8]) -> Result<Option<(Request, usize)>, &'static str> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    // Each byte a character: values may hold others than ASCII.
    let head: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return Err("no request line") };
    let graphic = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !method.bytes().all(|byte| byte.is_ascii_uppercase()) || !target.starts_with('/') || !graphic(target) {
        return Err("a line that is not plain");
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) =
            line.split_once(": ").or(line.strip_suffix(':').map(|name| (name, ""))).ok_or("no header")?;
        if !graphic(name) || value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err("a header that is not plain");
        }
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let values = |name: &str| headers.iter().filter(|h| h.0 == name).map(|h| h.1.as_str()).collect::<Vec<_>>();
    if values("host").len() != 1 {
        return Err("not one host");
    }
    let (start, rest) = (end + 4, &bytes[end + 4..]);
    let body = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Some((Vec::new(), 0)),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| "a length that is no number")?;
            rest.get(..length).map(|body| (body.to_vec(), length))
        }
        ([], ["chunked"]) => chunks(rest)?,
        _ => return Err("framing in doubt"),
    };
    let request = |body| Request { line: line.to_owned(), headers: headers.clone(), body };
    Ok(body.map(|(body, used)| (request(body), start + used)))
}

/// A body in chunks, without extensions and trailers, and its bytes.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = bytes[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + end]).map_err(|_| "a chunk's size")?;
        let size = usize::from_str_radix(size, 16).map_err(|_| "a chunk's size")?;
        at += end + 2;
        let Some(data) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk's end");
        }
        body.extend_from_slice(&data[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}
