//! What HTTP/2 lets a caller say that HTTP/1.1 can't hold: the gateway writes each call anew for its backends, and must not
//! let what it was told run out of its place (Kettle, HTTP/2: The Sequel is Always Worse, 2021).

use tokio_util::sync::CancellationToken;

use super::vectors::SMUGGLED;
use super::{before_tape, heard, well_behaved};
use crate::rawh2::{DATA, END, HEADERS, Raw, frame, literal};

/// A head, and a body or none.
struct Vector {
    name: &'static str,
    head: Vec<(&'static [u8], Vec<u8>)>,
    body: Option<Vec<u8>>,
    trailers: Vec<(&'static [u8], Vec<u8>)>,
    /// Whether it is a message all the same.
    is_sound: bool,
}

fn plain() -> Vec<(&'static [u8], Vec<u8>)> {
    let pairs: [(&'static [u8], &[u8]); 4] =
        [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/v2/models/m/infer")];
    pairs.map(|(name, value)| (name, value.to_vec())).to_vec()
}

/// A plain head with one more header.
fn with(name: &'static [u8], value: impl Into<Vec<u8>>) -> Vec<(&'static [u8], Vec<u8>)> {
    [plain(), vec![(name, value.into())]].concat()
}

/// A plain head with another value of one of its four.
fn but(name: &'static [u8], value: impl Into<Vec<u8>>) -> Vec<(&'static [u8], Vec<u8>)> {
    let value = value.into();
    plain().into_iter().map(|(of, was)| (of, if of == name { value.clone() } else { was })).collect()
}

fn vectors() -> Vec<Vector> {
    let bad = |name, head| Vector { name, head, body: Some(b"{}".to_vec()), trailers: vec![], is_sound: false };
    let body = |vector: Vector, body: &[u8]| Vector { body: Some(body.to_vec()), ..vector };
    let lines = format!("x\r\nX-Smuggled: 1\r\n\r\n{SMUGGLED}");
    let ends = format!("0\r\n\r\n{SMUGGLED}");
    let line = format!("/v2/models/m/infer HTTP/1.1\r\nHost: x\r\nX-Smuggled: 1\r\n\r\n{SMUGGLED}");
    let first = |header: (&'static [u8], &[u8])| [vec![(header.0, header.1.to_vec())], plain()].concat();
    vec![
        body(bad("H2.CL: a length of nothing", with(b"content-length", "0")), SMUGGLED.as_bytes()),
        body(bad("H2.CL: a length too short", with(b"content-length", "2")), format!("{{}}{SMUGGLED}").as_bytes()),
        bad("H2.CL: a length too long", with(b"content-length", "90")),
        bad("two lengths", [with(b"content-length", "2"), vec![(b"content-length", b"3".to_vec())]].concat()),
        bad("a length that is none", with(b"content-length", "+2")),
        bad("a length of two", with(b"content-length", "2, 2")),
        body(bad("H2.TE", with(b"transfer-encoding", "chunked")), ends.as_bytes()),
        bad("transfer-encoding: identity", with(b"transfer-encoding", "identity")),
        bad("a connection", with(b"connection", "keep-alive")),
        bad("proxy-connection", with(b"proxy-connection", "keep-alive")),
        bad("keep-alive", with(b"keep-alive", "timeout=5")),
        bad("an upgrade", with(b"upgrade", "h2c")),
        bad("te: gzip", with(b"te", "gzip")),
        bad("lines in a value", with(b"x-a", lines.as_str())),
        bad("a line feed in a value", with(b"x-a", "b\nx-smuggled: 1")),
        bad("a carriage return in a value", with(b"x-a", "b\rx-smuggled: 1")),
        bad("NUL in a value", with(b"x-a", "b\0c")),
        bad("a coding in a value", with(b"x-a", "b\r\ntransfer-encoding: chunked\r\nc: d")),
        bad("lines in a name", with(b"x-a: b\r\nx-smuggled", "1")),
        bad("a colon in a name", with(b"transfer-encoding:chunked\r\nx", "1")),
        bad("a blank in a name", with(b"x smuggled", "1")),
        bad("a name in capitals", with(b"X-A", "1")),
        bad("an empty name", with(b"", "1")),
        bad("lines in the method", but(b":method", line.replace("/v2", "POST /v2"))),
        bad("a blank in the method", but(b":method", "POST /v2/models/m/infer HTTP/1.1")),
        bad("lines in the path", but(b":path", line.as_str())),
        bad("a blank in the path", but(b":path", "/v2/models/m/infer HTTP/1.1")),
        bad("a line feed in the path", but(b":path", "/v2/models/m/infer\nx-smuggled: 1")),
        bad("a path that begins with none", but(b":path", "v2/models/m/infer")),
        bad("an empty path", but(b":path", "")),
        bad("lines in the authority", but(b":authority", lines.as_str())),
        bad("a blank in the authority", but(b":authority", "x y")),
        bad("lines in the scheme", but(b":scheme", format!("http://x{line}"))),
        bad("a URL for a scheme", but(b":scheme", "http://x/v2/models/m/infer?")),
        bad("no path", plain()[..3].to_vec()),
        bad("no method", plain()[1..].to_vec()),
        bad("no scheme", [&plain()[..1], &plain()[2..]].concat()),
        bad("two paths", first((b":path", b"/v2/health/live"))),
        bad("two methods", first((b":method", b"GET"))),
        bad("two authorities", first((b":authority", b"y"))),
        bad("a pseudo-header behind a header", [vec![(b"x-a".as_slice(), b"b".to_vec())], plain()].concat()),
        bad("an unknown pseudo-header", first((b":x", b"y"))),
        bad("a status", first((b":status", b"200"))),
        bad("two hosts", [with(b"host", "x"), vec![(b"host", b"y".to_vec())]].concat()),
        bad("a host that is none", with(b"host", "x/y")),
        Vector { is_sound: true, ..bad("a length as it is", with(b"content-length", "2")) },
        Vector { is_sound: true, ..bad("te: trailers", with(b"te", "trailers")) },
        body(Vector { is_sound: true, ..bad("a body that looks like its end", plain()) }, ends.as_bytes()),
        // What is behind the body goes nowhere.
        Vector {
            trailers: vec![(b":path", b"/v2".to_vec())],
            is_sound: true,
            ..bad("a path behind the body", plain())
        },
        Vector {
            trailers: vec![(b"x-smuggled", b"1".to_vec()), (b"host", b"y".to_vec())],
            is_sound: true,
            ..bad("headers behind the body", plain())
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_out_of_its_place() {
    let (_backend, tape, gateway) = before_tape().await;
    let stop = CancellationToken::new();
    let beside = tokio::spawn(well_behaved(gateway.address.clone(), stop.clone()));
    let mut wrong = Vec::new();
    for vector in vectors() {
        let mut raw = Raw::open(&gateway.address).await;
        let end = if vector.body.is_none() { END } else { 0 };
        raw.send(&frame(HEADERS, 4 | end, 1, &literal(&vector.head))).await;
        if let Some(body) = &vector.body {
            raw.send(&frame(DATA, if vector.trailers.is_empty() { END } else { 0 }, 1, body)).await;
        }
        if !vector.trailers.is_empty() {
            raw.send(&frame(HEADERS, 4 | END, 1, &literal(&vector.trailers))).await;
        }
        let status = raw.status(1).await;
        let right = if vector.is_sound { status == Some(200) } else { matches!(status, None | Some(400)) };
        if !right {
            wrong.push(format!("{}: answered with {status:?}", vector.name));
        }
        if let Err(why) = heard(&tape, usize::from(vector.is_sound), 0, vector.body.as_deref().unwrap_or_default()) {
            wrong.push(format!("{}: {why}", vector.name));
        }
    }
    stop.cancel();
    assert!(beside.await.unwrap() > 10);
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(gateway.state().await["in_flight"], 0);
}
