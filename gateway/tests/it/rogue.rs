//! Backends that answer over HTTP/1.1 what they should not: another backend answers, or the reply is the caller's own; what
//! nobody asked for is never anybody's.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use headgate_contract::header;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::{Backend, Script};
use crate::gateway::{Gateway, config};
use crate::until;

/// What is sent for a call: `{id}` is the caller's, at `{later}` some time passes, at `{end}` the connection is closed.
type Reply = Arc<Mutex<String>>;

/// A server whose replies to predictions are as they are written here; all else goes to a real one.
struct Rogue {
    address: String,
    reply: Reply,
    calls: Arc<AtomicU64>,
}

impl Rogue {
    async fn before(backend: &Backend) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (reply, calls) = (Reply::default(), Arc::<AtomicU64>::default());
        let (to, its, counted) = (backend.address.clone(), Arc::clone(&reply), Arc::clone(&calls));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (to, reply, calls) = (to.clone(), Arc::clone(&its), Arc::clone(&counted));
                tokio::spawn(async move { serve(&mut stream, &to, &reply, &calls).await });
            }
        });
        Self { address, reply, calls }
    }
}

async fn serve(stream: &mut TcpStream, real: &str, reply: &Reply, calls: &AtomicU64) -> std::io::Result<()> {
    let mut read = Vec::new();
    while let Some(message) = message(stream, &mut read).await? {
        if !message.starts_with(b"POST /v2/") {
            let mut real = TcpStream::connect(real).await?;
            real.write_all(&message).await?;
            let answer = self::message(&mut real, &mut Vec::new()).await?;
            stream.write_all(&answer.unwrap_or_default()).await?;
            continue;
        }
        let head = String::from_utf8_lossy(&message);
        calls.fetch_add(1, Relaxed);
        let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap_or_default();
        let text = reply.lock().unwrap().replace("{id}", id);
        for (n, part) in text.split("{later}").enumerate() {
            if n > 0 {
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            match part.split_once("{end}") {
                Some((last, _)) => {
                    stream.write_all(last.as_bytes()).await?;
                    return stream.shutdown().await;
                }
                None => stream.write_all(part.as_bytes()).await?,
            }
        }
    }
    Ok(())
}

/// The next message: a head, and a body of the length that it tells; none at the end.
async fn message(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let end = end + 4 + length.unwrap_or(0);
            if read.len() >= end {
                return Ok(Some(read.drain(..end).collect()));
            }
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n{id}";
const POISON: &str = "HTTP/1.1 200 OK\r\nx-poison: 1\r\ncontent-length: 6\r\n\r\npoison";

/// What is odd about a reply, and the reply.
fn replies() -> Vec<(&'static str, String)> {
    let with = |header: &str| format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n{{id}}");
    vec![
        ("two at once", format!("{GOOD}{POISON}")),
        ("many at once", format!("{GOOD}{}", POISON.repeat(50))),
        ("another one later", format!("{GOOD}{{later}}{POISON}")),
        (
            "another one in two parts",
            format!("{GOOD}HTTP/1.1 200 OK\r\n{{later}}x-poison: 1\r\ncontent-length: 6\r\n\r\npoison"),
        ),
        ("garbage behind it", format!("{GOOD}poison\r\n\r\n")),
        ("lines behind it", format!("{GOOD}\r\n\r\n")),
        ("a close behind it", format!("{GOOD}{{end}}")),
        ("a timeout behind it", format!("{GOOD}{{later}}HTTP/1.1 408 poison\r\ncontent-length: 0\r\n\r\n{{end}}")),
        ("a length too short", with("content-length: 6").replace("{id}", &format!("{{id}}{POISON}"))),
        ("a length too long", with("content-length: 60") + "{end}"),
        ("no length, and a close", with("x-a: b") + "{end}"),
        ("two lengths", with("content-length: 6\r\ncontent-length: 7")),
        ("a length that is none", with("content-length: +6")),
        ("a negative length", with("content-length: -6")),
        ("a length beyond all", with("content-length: 99999999999999999999") + "{end}"),
        (
            "a length and a coding",
            with("content-length: 6\r\ntransfer-encoding: chunked").replace("{id}", "6\r\n{id}\r\n0\r\n\r\n"),
        ),
        (
            "a coding and a poison",
            with("transfer-encoding: chunked").replace("{id}", &format!("6\r\n{{id}}\r\n0\r\n\r\n{POISON}")),
        ),
        ("an unknown coding", with("transfer-encoding: poison") + "{end}"),
        ("chunks that are none", with("transfer-encoding: chunked").replace("{id}", "poison\r\n")),
        ("a chunk beyond all", with("transfer-encoding: chunked").replace("{id}", "fffffffffffffffff\r\npoison")),
        ("chunks that end too early", with("transfer-encoding: chunked").replace("{id}", "6\r\n{id}\r\n") + "{end}"),
        ("no reply at all", "{end}".into()),
        ("garbage", "\u{0}\u{1}poison\r\n\r\n".into()),
        ("HTTP/0.9", "poison{end}".into()),
        ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n".into()),
        ("HTTP/2", "\u{0}\u{0}\u{0}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}".into()),
        ("a status that is none", GOOD.replace("200", "099")),
        ("a status of four digits", GOOD.replace("200", "2000")),
        ("a version that is none", GOOD.replace("HTTP/1.1", "HTTP/9.9")),
        ("a header without a colon", with("poison\r\ncontent-length: 6")),
        ("NUL in a header", with("x-a: \u{0}\r\ncontent-length: 6")),
        ("a carriage return in a header", with("x-a: b\rx-poison: 1\r\ncontent-length: 6")),
        ("a name with a blank", with("x-a : b\r\ncontent-length: 6")),
        ("500 headers", with(&format!("{}content-length: 6", "x-a: b\r\n".repeat(500)))),
        ("a head of a megabyte", with(&format!("x-a: {}\r\ncontent-length: 6", "b".repeat(1 << 20)))),
        ("a head without end", format!("HTTP/1.1 200 OK\r\n{}", "x-a: b\r\n".repeat(200_000))),
        ("a protocol that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\npoison".into()),
        ("1,000 interim replies", format!("{}{GOOD}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000))),
        ("hints", format!("HTTP/1.1 103 Early Hints\r\nx-poison: 1\r\n\r\n{GOOD}")),
        ("a body where none may be", format!("HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\n{POISON}")),
        ("a reply in drops", GOOD.replace("\r\n", "{later}\r\n{later}")),
    ]
}

/// What is wrong with the answers that callers get while a backend replies so, if anything is.
async fn answers(backends: [&Backend; 2], reply: &str) -> Vec<String> {
    let rogue = Rogue::before(backends[0]).await;
    *rogue.reply.lock().unwrap() = reply.to_owned();
    let more = "fleet.eject_failures=0\nfleet.failure_penalty_ms=0\nlimits.deadline_ms=8000\nretry.ratio=1.0\n\
                fleet.link_connections=0";
    let mut config = config(&backends[1..], more);
    config.discovery.backends.push(rogue.address.clone());
    let gateway = Gateway::start(config).await;
    gateway.until_ready(2).await;
    let (mut wrong, mut calls) = (Vec::new(), 0);
    while rogue.calls.load(Relaxed) < 3 && calls < 100 {
        let id = format!("c-{calls:04}");
        let answer = gateway.post("/v2/models/m/infer", &[(header::REQUEST_ID, &id)]).await;
        let own = answer.header(header::BACKEND) == "b2" || answer.body == id.as_bytes();
        let fine = answer.status == 200 && own || answer.status == 204 && answer.body.is_empty();
        if !fine || answer.headers.contains_key("x-poison") || answer.header(header::REQUEST_ID) != id {
            wrong.push(format!("{answer:?}"));
        }
        calls += 1;
        // So that what comes later finds the connection idle: what crosses the next call on its way is taken for its reply,
        // as HTTP/1.1 has no way to tell.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert!(rogue.calls.load(Relaxed) > 0, "it was never asked");
    *rogue.reply.lock().unwrap() = GOOD.into();
    assert_eq!(gateway.infer().await.status, 200);
    until("nothing is in flight", async || gateway.state().await["in_flight"] == 0).await;
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reply_is_anybody_elses() {
    let (b1, b2) = (Backend::start("b1", Script::ready()).await, Backend::start("b2", Script::ready()).await);
    let odd = futures_util::stream::iter(replies()).map(async |(name, reply)| {
        let odd = answers([&b1, &b2], &reply).await;
        odd.into_iter().map(|answer| format!("{name}: {answer}")).collect::<Vec<_>>()
    });
    let wrong = odd.buffer_unordered(6).collect::<Vec<_>>().await.concat();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
