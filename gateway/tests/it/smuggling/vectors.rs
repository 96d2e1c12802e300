//! Messages whose end two readers may see in different places, and what a careful one makes of them. The backend's tests
//! send the same.

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    /// Refused with one of these; its connection closes.
    Bad(&'static [u16]),
    /// One message, whatever its answer, after which the connection closes: nobody knows what follows. It may be refused.
    Last,
    /// One message, and no HTTP/1 behind it: that is refused, or the connection closes without a word, where it was all there
    /// when it was looked at.
    BeforeOther,
    /// One message, as plain as any other: what follows it is the next one.
    Whole,
    /// The same, with a body that nobody needs: its connection may close instead.
    Unneeded,
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    /// What is odd about it.
    pub(crate) name: String,
    /// Who published it, or what says how it is to be read.
    pub(crate) source: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is: Is,
}

/// Refused as no HTTP.
const BAD: Is = Is::Bad(&[400]);
/// Refused, as it is not understood or not served.
const CODING: Is = Is::Bad(&[400, 501]);
const LARGE: Is = Is::Bad(&[400, 413, 431]);

/// What a caller would have served in another's name: it must never be seen by a backend, nor answered.
pub(crate) const SMUGGLED: &str =
    "POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nX-Smuggled: 1\r\nContent-Length: 2\r\n\r\n{}";

/// Where all of them are sent.
pub(crate) const START: &str = "POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n";

const RFC_FRAMING: &str = "RFC 9112, section 6.3";
const RFC_FIELDS: &str = "RFC 9112, section 5";
const RFC_LINE: &str = "RFC 9112, section 3";
const RFC_HOST: &str = "RFC 9112, section 3.2";
const RFC_CHUNKS: &str = "RFC 9112, section 7.1";
const LINHART: &str = "Linhart and others, HTTP Request Smuggling, 2005";
const KETTLE: &str = "Kettle, HTTP Desync Attacks, 2019";
const KLEIN: &str = "Klein, HTTP Request Smuggling in 2020";
const BROWSER: &str = "Kettle, Browser-Powered Desync Attacks, 2022";

/// All of them.
pub(crate) fn all() -> Vec<Vector> {
    [both(), codings(), lengths(), unread(), fields(), lines(), hosts(), targets(), chunks(), hops()].concat()
}

fn vector(name: impl Into<String>, source: &'static str, is: Is, bytes: impl Into<Vec<u8>>) -> Vector {
    Vector { name: name.into(), source, bytes: bytes.into(), is }
}

/// A length and a coding: by one of them a second request lies in the body, by the other behind it.
fn both() -> Vec<Vector> {
    let ends = format!("0\r\n\r\n{SMUGGLED}");
    let inside = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let (whole, chunked) = (format!("Content-Length: {}\r\n", ends.len()), "Transfer-Encoding: chunked\r\n");
    vec![
        vector("CL.TE", KETTLE, Is::Last, format!("{START}{whole}{chunked}\r\n{ends}")),
        vector("TE.CL", KETTLE, Is::Last, format!("{START}{chunked}Content-Length: 4\r\n\r\n{inside}")),
        vector("CL.TE, the coding first", LINHART, Is::Last, format!("{START}{chunked}{whole}\r\n{ends}")),
        vector("CL.TE, no length", RFC_FRAMING, Is::Last, format!("{START}Content-Length: 0\r\n{chunked}\r\n{ends}")),
        vector(
            "a coding between two lengths",
            "CVE-2020-10109 (Twisted)",
            Is::Last,
            format!("{START}Content-Length: 3\r\n{chunked}{whole}\r\n{ends}"),
        ),
        vector(
            "a coding and a bad length",
            "CVE-2019-20445 (Netty)",
            Is::Last,
            format!("{START}{chunked}Content-Length: x\r\n\r\n{ends}"),
        ),
        vector(
            "a bad length and a coding",
            RFC_FRAMING,
            BAD,
            format!("{START}Content-Length: x\r\n{chunked}\r\n{ends}"),
        ),
    ]
}

/// Codings that some read and others don't (TE.TE), beside a length.
fn codings() -> Vec<Vector> {
    let ends = format!("0\r\n\r\n{SMUGGLED}");
    let whole = format!("Content-Length: {}\r\n", ends.len());
    let cases: [(&str, &'static str, Is); 38] = [
        ("Transfer-Encoding: xchunked", KETTLE, CODING),
        ("Transfer-Encoding : chunked", "CVE-2019-16869 (Netty)", BAD),
        ("Transfer-Encoding\t: chunked", "CVE-2021-22959 (llhttp)", BAD),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", KETTLE, CODING),
        ("Transfer-Encoding: x\r\nTransfer-Encoding: chunked", KETTLE, Is::Last),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "CVE-2021-21299 (hyper)", Is::Last),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "CVE-2020-10109 (Twisted)", CODING),
        ("Transfer-Encoding:\tchunked", KETTLE, Is::Last),
        ("Transfer-Encoding:chunked", KETTLE, Is::Last),
        ("Transfer-Encoding: chunked \t", KETTLE, Is::Last),
        ("Transfer-Encoding: chUNKed", KETTLE, Is::Last),
        (" Transfer-Encoding: chunked", KETTLE, BAD),
        ("X: y\n Transfer-Encoding: chunked", "CVE-2020-7238 (Netty)", BAD),
        ("X: y\nTransfer-Encoding: chunked", KETTLE, Is::Last),
        ("X: y\rTransfer-Encoding: chunked", "CVE-2023-30589 (llhttp)", BAD),
        ("X: y\r\n\rTransfer-Encoding: chunked", "CVE-2022-32214 (llhttp)", BAD),
        ("Transfer-Encoding\r\n: chunked", KETTLE, BAD),
        ("Transfer-Encoding: chunk", KETTLE, CODING),
        ("Transfer-Encoding: \x0bchunked", "CVE-2019-18277 (HAProxy)", BAD),
        ("Transfer-Encoding: \x0cchunked", "CVE-2019-16789 (Waitress)", BAD),
        ("Transfer-Encoding: chunked\x0b", KLEIN, BAD),
        ("Transfer-Encoding: \0chunked", KETTLE, BAD),
        ("Transfer-Encoding: chunked\0", KETTLE, BAD),
        ("Transfer-Encoding: \"chunked\"", "CVE-2019-15605 (llhttp)", CODING),
        ("Transfer-Encoding: 'chunked'", KETTLE, CODING),
        ("Transfer-Encoding: chunked;q=1", KETTLE, CODING),
        ("Transfer-Encoding: chunked, identity", "CVE-2019-16786 (Waitress)", CODING),
        ("Transfer-Encoding: chunked,", KLEIN, CODING),
        ("Transfer-Encoding: identity", "CVE-2022-1705 (Go)", CODING),
        ("Transfer-Encoding: gzip", RFC_FRAMING, CODING),
        ("Transfer-Encoding:", RFC_FRAMING, CODING),
        ("Transfer-Encoding: identity, chunked", KETTLE, Is::Last),
        ("Transfer-Encoding: chunked, chunked", "CVE-2024-1135 (Gunicorn)", Is::Last),
        ("Transfer-Encoding: gzip, chunked", RFC_FRAMING, Is::Last),
        ("Transfer-Encoding:\r\n chunked", "CVE-2022-32215 (llhttp)", BAD),
        ("Transfer-Encoding: chunked\r\n , identity", "CVE-2022-32215 (llhttp)", BAD),
        ("Transfer-\rEncoding: chunked", KETTLE, BAD),
        // Another header, which says nothing.
        ("Transfer_Encoding: chunked", KETTLE, Is::Whole),
    ];
    let mut all: Vec<Vector> = cases
        .into_iter()
        .map(|(coding, source, is)| vector(coding, source, is, format!("{START}{whole}{coding}\r\n\r\n{ends}")))
        .collect();
    let start = START.replace("HTTP/1.1", "HTTP/1.0");
    let old = format!("{start}{whole}Transfer-Encoding: chunked\r\n\r\n{ends}");
    all.push(vector("a coding in HTTP/1.0", "RFC 9112, section 6.1", BAD, old));
    let mut latin = format!("{START}{whole}Transfer-Encoding: ").into_bytes();
    latin.extend([b"\xffchunked\r\n\r\n".as_slice(), ends.as_bytes()].concat());
    all.push(vector("Transfer-Encoding: \\xffchunked", KETTLE, CODING, latin));
    all
}

/// Lengths that some read and others don't.
fn lengths() -> Vec<Vector> {
    let cases: [(&str, &'static str, Is); 37] = [
        ("Content-Length: 2", RFC_FRAMING, Is::Whole),
        ("content-length:2", RFC_FRAMING, Is::Whole),
        ("Content-Length:  2 \t", RFC_FRAMING, Is::Whole),
        ("Content-Length: 02", RFC_FRAMING, Is::Whole),
        ("Content-Length: 0000000000000000000000000000002", RFC_FRAMING, Is::Whole),
        ("Content-Length: 2\r\nContent-Length: 2", RFC_FRAMING, Is::Whole),
        ("Content-Length: 2\r\nContent-Length: 96", LINHART, BAD),
        ("Content-Length: 96\r\nContent-Length: 2", LINHART, BAD),
        ("Content-Length: 2\r\nContent-Length: 2\r\nContent-Length: 3", "CVE-2020-10108 (Twisted)", BAD),
        ("Content-Length: 2\r\nContent-Length: +2", RFC_FRAMING, BAD),
        ("Content-Length: 2\r\nContent-Length:", "CVE-2023-40225 (HAProxy)", BAD),
        ("Content-Length:\r\nContent-Length: 2", "CVE-2023-40225 (HAProxy)", BAD),
        ("Content-Length:", "CVE-2023-40225 (HAProxy)", BAD),
        ("Content-Length: 2, 2", RFC_FRAMING, BAD),
        ("Content-Length: 2, 96", KLEIN, BAD),
        ("Content-Length: 2,", KLEIN, BAD),
        ("Content-Length: +2", "CVE-2021-32715 (hyper)", BAD),
        ("Content-Length: -2", RFC_FRAMING, BAD),
        ("Content-Length: 0x2", KLEIN, BAD),
        ("Content-Length: 2e0", KLEIN, BAD),
        ("Content-Length: 2.0", KLEIN, BAD),
        ("Content-Length: 1_0", KLEIN, BAD),
        ("Content-Length: 2 0", KLEIN, BAD),
        ("Content-Length: 2;", KLEIN, BAD),
        ("Content-Length: \"2\"", KLEIN, BAD),
        ("Content-Length: \x0b2", KLEIN, BAD),
        ("Content-Length: 2\x0c", KLEIN, BAD),
        ("Content-Length: 2\0", KLEIN, BAD),
        ("Content-Length : 2", "CVE-2019-16869 (Netty)", BAD),
        ("Content-Length 2", "CVE-2019-20444 (Netty)", BAD),
        ("Content-Length\r\n: 2", KLEIN, BAD),
        ("Content-Length:\r\n 2", "RFC 9112, section 5.2", BAD),
        ("Content-Length: 2\r\n 6", "RFC 9112, section 5.2", BAD),
        ("Content-Length: 18446744073709551615", RFC_FRAMING, LARGE),
        ("Content-Length: 18446744073709551618", RFC_FRAMING, LARGE),
        ("Content-Length: 340282366920938463463374607431768211458", RFC_FRAMING, LARGE),
        ("Content-Length: 9223372036854775809", RFC_FRAMING, LARGE),
    ];
    cases
        .into_iter()
        .map(|(length, source, is)| vector(length, source, is, format!("{START}{length}\r\n\r\n{{}}")))
        .collect()
}

/// Bodies of requests that need none: whoever does not read them takes them for the next request (CL.0, TE.0).
fn unread() -> Vec<Vector> {
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunks = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let mut all = Vec::new();
    for line in [
        "GET /v2/models/m",
        "GET /v2/health/live",
        "HEAD /v2/health/live",
        "OPTIONS /v2/models/m/infer",
        "DELETE /v2/models/m",
        "POST /v2/nowhere",
        "POST /v2/health/live",
        "POST /v2/models/..%2f/infer",
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\n");
        let sized = format!("{head}{length}\r\n{SMUGGLED}");
        all.push(vector(format!("CL.0: {line}"), BROWSER, Is::Unneeded, sized));
        let coded = format!("{head}{chunked}\r\n{chunks}");
        all.push(vector(format!("TE.0: {line}"), "Lotay and others, TE.0, 2024", Is::Unneeded, coded));
    }
    let no_body = format!("{START}\r\n");
    all.push(vector("no length and no body", RFC_FRAMING, Is::Whole, no_body));
    for expect in ["Expect: 100-continue", "Expect: y 100-continue", "Expect: 100-Continue"] {
        let head = format!("GET /v2/health/live HTTP/1.1\r\nHost: x\r\n{expect}\r\n{length}\r\n{SMUGGLED}");
        all.push(vector(format!("0.CL: {expect}"), "Kettle, HTTP/1.1 must die, 2025", Is::Unneeded, head));
    }
    let folded =
        format!("OPTIONS /v2/health/live HTTP/1.1\r\nHost: x\r\nExpect:\r\n 100-continue\r\n{length}\r\n{SMUGGLED}");
    all.push(vector("0.CL: a folded expectation", "CVE-2025-32094 (Akamai)", BAD, folded));
    all
}

/// Headers that are none.
fn fields() -> Vec<Vector> {
    let cases: [(&[u8], &'static str, Is); 24] = [
        (b"X: a\0b", RFC_FIELDS, BAD),
        (b"X: a\x01b", RFC_FIELDS, BAD),
        (b"X: a\x7fb", RFC_FIELDS, BAD),
        (b"X: a\x0bb", RFC_FIELDS, BAD),
        (b"X: a\rb", "CVE-2023-30589 (llhttp)", BAD),
        (b"X: a\r", RFC_FIELDS, BAD),
        (b"X: a\xe9b", RFC_FIELDS, Is::Whole),
        (b"X: a\tb", RFC_FIELDS, Is::Whole),
        (b"X:", RFC_FIELDS, Is::Whole),
        (b"X: a\nY: b", "RFC 9112, section 2.2", Is::Whole),
        (b"X : a", "RFC 9112, section 5.1", BAD),
        (b"X\0: a", RFC_FIELDS, BAD),
        (b"X\x80: a", RFC_FIELDS, BAD),
        (b"X(: a", RFC_FIELDS, BAD),
        (b"X Y: a", RFC_FIELDS, BAD),
        (b"X", "CVE-2019-20444 (Netty)", BAD),
        (b": a", "CVE-2023-25725 (HAProxy)", BAD),
        (b":", "CVE-2023-25725 (HAProxy)", BAD),
        (b"\0: a", RFC_FIELDS, BAD),
        (b" X: a", "RFC 9112, section 5.2", BAD),
        (b"X: a\r\n b", "RFC 9112, section 5.2", BAD),
        (b"X: a\r\n\tb", "RFC 9112, section 5.2", BAD),
        (b"X: a\n b", "RFC 9112, section 5.2", BAD),
        (b"X: a\r\n  ", "RFC 9112, section 5.2", BAD),
    ];
    let head = |header: &[u8]| {
        let (before, after) = (format!("{START}Content-Length: 2\r\n"), b"\r\n\r\n{}");
        [before.as_bytes(), header, after].concat()
    };
    let mut all: Vec<Vector> = cases
        .into_iter()
        .map(|(header, source, is)| vector(header.escape_ascii().to_string(), source, is, head(header)))
        .collect();
    // A length of a name in one byte less than it needs: what lies behind it became headers.
    let long = format!("Content-Length0{}:\r\nContent-Length: 0", "a".repeat(255));
    all.push(vector("a name of 270 bytes", "CVE-2021-40346 (HAProxy)", BAD, head(long.as_bytes())));
    all
}

/// First lines that are none.
fn lines() -> Vec<Vector> {
    let rest = "\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    let post = "POST /v2/models/m/infer";
    let cases: [(&str, &'static str, Is); 27] = [
        ("POST  /v2/models/m/infer HTTP/1.1", RFC_LINE, BAD),
        ("POST /v2/models/m/infer  HTTP/1.1", RFC_LINE, BAD),
        ("POST\t/v2/models/m/infer\tHTTP/1.1", RFC_LINE, BAD),
        ("POST /v2/models/m/infer HTTP/1.1 ", RFC_LINE, BAD),
        ("POST /v2/models/m/infer HTTP/1.1\rX: y", RFC_LINE, BAD),
        (" POST /v2/models/m/infer HTTP/1.1", RFC_LINE, BAD),
        ("\0POST /v2/models/m/infer HTTP/1.1", RFC_LINE, BAD),
        ("POST /v2/models/m /infer HTTP/1.1", RFC_LINE, BAD),
        ("POST /v2/models/m\0/infer HTTP/1.1", RFC_LINE, BAD),
        ("POST /v2/models/m\x01/infer HTTP/1.1", RFC_LINE, BAD),
        ("POST /v2/models/m\x7f/infer HTTP/1.1", RFC_LINE, BAD),
        ("POST /v2/models/m\x0b/infer HTTP/1.1", RFC_LINE, BAD),
        ("PO(ST /v2/models/m/infer HTTP/1.1", RFC_LINE, BAD),
        ("POST: /v2/models/m/infer HTTP/1.1", RFC_LINE, BAD),
        ("POST /v2/models/m/infer HTTP/1.01", "RFC 9112, section 2.3", BAD),
        ("POST /v2/models/m/infer HTTP/01.1", "RFC 9112, section 2.3", BAD),
        ("POST /v2/models/m/infer HTTP/1.2", "RFC 9112, section 2.3", Is::Bad(&[400, 505])),
        ("POST /v2/models/m/infer HTTP/2.0", "RFC 9112, section 2.3", Is::Bad(&[400, 505])),
        ("POST /v2/models/m/infer HTTP/0.9", "RFC 9112, section 2.3", Is::Bad(&[400, 505])),
        ("POST /v2/models/m/infer http/1.1", "RFC 9112, section 2.3", BAD),
        ("POST /v2/models/m/infer HTTP/1,1", "RFC 9112, section 2.3", BAD),
        ("POST /v2/models/m/infer HTTP /1.1", "RFC 9112, section 2.3", BAD),
        ("POST /v2/models/m/infer HTTP/1.1x", "RFC 9112, section 2.3", BAD),
        ("POST /v2/models/m/infer", "HTTP/0.9", BAD),
        ("/v2/models/m/infer HTTP/1.1", RFC_LINE, BAD),
        ("POST HTTP/1.1", RFC_LINE, BAD),
        ("post /v2/models/m/infer HTTP/1.1", RFC_LINE, Is::Whole),
    ];
    let mut all: Vec<Vector> = cases
        .into_iter()
        .map(|(line, source, is)| vector(line.escape_debug().to_string(), source, is, format!("{line}{rest}")))
        .collect();
    all.push(vector("lines before it", "RFC 9112, section 2.2", Is::Whole, format!("\r\n\r\n{post} HTTP/1.1{rest}")));
    let line_feeds = format!("{post} HTTP/1.1{rest}").replace("\r\n", "\n");
    all.push(vector("line feeds alone", "RFC 9112, section 2.2", Is::Whole, line_feeds));
    let returns = format!("{post} HTTP/1.1{rest}").replace("\r\n", "\r");
    all.push(vector("carriage returns alone", "CVE-2023-30589 (llhttp)", BAD, returns));
    let old = "GET /v2/health/live\r\n\r\n";
    all.push(vector("HTTP/0.9", "HTTP/0.9", BAD, old));
    all
}

/// Hosts: one, and one that can be one.
fn hosts() -> Vec<Vector> {
    let head = "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 2\r\n";
    let cases: [(&str, Is); 18] = [
        ("", BAD),
        ("Host: x\r\nHost: y\r\n", BAD),
        ("Host: x\r\nHost: x\r\n", BAD),
        ("Host: x\r\nHost:\r\n", BAD),
        ("Host: x, y\r\n", BAD),
        ("Host: x y\r\n", BAD),
        ("Host: x/y\r\n", BAD),
        ("Host: x@y\r\n", BAD),
        ("Host: x?y\r\n", BAD),
        ("Host: http://x\r\n", BAD),
        ("Host: x:y\r\n", BAD),
        ("Host: [::1\r\n", BAD),
        ("Host: x\0\r\n", BAD),
        ("Host : x\r\n", BAD),
        ("Host: \r\n", Is::Whole),
        ("Host: x.example:8080\r\n", Is::Whole),
        ("Host: [::1]:8080\r\n", Is::Whole),
        ("host:\tx_1\r\n", Is::Whole),
    ];
    let mut all: Vec<Vector> = cases
        .into_iter()
        .map(|(host, is)| vector(host.escape_debug().to_string(), RFC_HOST, is, format!("{head}{host}\r\n{{}}")))
        .collect();
    let old = format!("{}Connection: keep-alive\r\n\r\n{{}}", head.replace("HTTP/1.1", "HTTP/1.0"));
    all.push(vector("no host in HTTP/1.0", RFC_HOST, Is::Whole, old));
    all
}

/// Targets that are no paths.
fn targets() -> Vec<Vector> {
    let cases: [(&str, Is); 15] = [
        ("POST http://y/v2/models/m/infer", Is::Whole),
        ("POST http://a@y:1/v2/models/m/infer", Is::Whole),
        ("POST https://y/v2/models/m/infer?x=http://z", Is::Whole),
        ("POST //y/v2/models/m/infer", Is::Whole),
        ("POST /v2/models/m/infer?x=%0d%0aX-Smuggled:%201", Is::Whole),
        ("POST /v2/models/m%0d%0aX-Smuggled:%201/infer", Is::Whole),
        ("POST /v2/models/m%00/infer", Is::Unneeded),
        ("POST /v2/models/../../fleet/v1/nudge", Is::Unneeded),
        ("POST /fleet/v1/nudge", Is::Unneeded),
        ("POST y:80", Is::Unneeded),
        ("CONNECT y:80", Is::Last),
        ("OPTIONS *", Is::Unneeded),
        ("POST *", Is::Unneeded),
        ("POST v2/models/m/infer", BAD),
        ("POST http:///v2/models/m/infer", BAD),
    ];
    let rest = " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    cases.into_iter().map(|(target, is)| vector(target, RFC_LINE, is, format!("{target}{rest}"))).collect()
}

/// Chunks that some read and others don't.
fn chunks() -> Vec<Vector> {
    let cases: [(&str, &'static str, Is); 36] = [
        ("2\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, Is::Whole),
        ("1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", RFC_CHUNKS, Is::Whole),
        ("002\r\n{}\r\n000\r\n\r\n", RFC_CHUNKS, Is::Whole),
        ("2;a=b;c=\"d\"\r\n{}\r\n0;e\r\n\r\n", "CVE-2021-22960 (llhttp)", Is::Whole),
        ("2\r\n{}\r\n0\r\nX: y\r\n\r\n", RFC_CHUNKS, Is::Whole),
        ("2\r\n{}\r\n0\r\nContent-Length: 90\r\n\r\n", "RFC 9110, section 6.5.1", Is::Whole),
        ("2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", "RFC 9110, section 6.5.1", Is::Whole),
        (
            "2\r\n{}\r\n0\r\nHost: y\r\nX-Smuggled: 1\r\nX-Headgate-Chosen-Version: 9\r\n\r\n",
            "RFC 9110, section 6.5.1",
            Is::Whole,
        ),
        ("2;a\n{}\r\n0\r\n\r\n", "CVE-2025-55315 (Kestrel)", BAD),
        ("2;a\nxx\r\n4f\r\n0\r\n\r\n", "CVE-2025-55315 (Kestrel)", BAD),
        ("2;a\rb\r\n{}\r\n0\r\n\r\n", "CVE-2021-22960 (llhttp)", BAD),
        ("2\n{}\r\n0\r\n\r\n", "CVE-2025-22871 (Go)", BAD),
        ("2\r{}\r\n0\r\n\r\n", KLEIN, BAD),
        ("2\r\n{}0\r\n\r\n", RFC_CHUNKS, BAD),
        ("2\r\n{}\n0\r\n\r\n", "CVE-2025-43859 (h11)", BAD),
        ("2\r\n{}xx0\r\n\r\n", "CVE-2025-43859 (h11)", BAD),
        ("2\r\n{}}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("g\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        (";a\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("+2\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("-2\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("0x2\r\n{}\r\n0\r\n\r\n", "CVE-2023-46846 (Squid)", BAD),
        (" 2\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("2_0\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("2 2\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("2\x0b\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("2\0\r\n{}\r\n0\r\n\r\n", RFC_CHUNKS, BAD),
        ("10000000000000002\r\n{}\r\n0\r\n\r\n", "CVE-2021-32714 (hyper)", BAD),
        ("fffffffffffffffff2\r\n{}\r\n0\r\n\r\n", "CVE-2021-32714 (hyper)", BAD),
        ("100000000000000000000000000000002\r\n{}\r\n0\r\n\r\n", "CVE-2021-32714 (hyper)", BAD),
        ("2\r\n{}\r\n0\n\n", "CVE-2025-22871 (Go)", BAD),
        // Its trailers go on to an empty line with CR, whatever is behind them: nothing of it is a request.
        ("2\r\n{}\r\n0\r\nX: y\n\n", RFC_CHUNKS, Is::Last),
        ("2\r\n{}\r\n0\r\nX: a\0b\r\n\r\n", RFC_CHUNKS, BAD),
        ("2\r\n{}\r\n0\r\nX : y\r\n\r\n", RFC_CHUNKS, BAD),
        ("2\r\n{}\r\n0\r\nX\r\n\r\n", RFC_CHUNKS, BAD),
    ];
    let head = format!("{START}Transfer-Encoding: chunked\r\n\r\n");
    let mut all: Vec<Vector> = cases
        .into_iter()
        .map(|(chunks, source, is)| vector(chunks.escape_debug().to_string(), source, is, format!("{head}{chunks}")))
        .collect();
    // The end is missing, so that the next request's lines would be trailers.
    let open = format!("{head}2\r\n{{}}\r\n0\r\n{SMUGGLED}");
    all.push(vector("a request for trailers", "CVE-2022-35256 (llhttp)", BAD, open));
    let long = format!("{head}2;{}\r\n{{}}\r\n0\r\n\r\n", "a".repeat(20_000));
    all.push(vector("an extension of 20,000 bytes", "CVE-2023-39326 (Go)", BAD, long));
    all
}

/// What is for one connection only, and would be for the next.
fn hops() -> Vec<Vector> {
    let davison = "Davison, Abusing HTTP hop-by-hop request headers, 2019";
    let h2c = "Bishop Fox, h2c Smuggling, 2020";
    let cases: [(&str, &'static str, Is); 12] = [
        ("Connection: content-length", davison, Is::Whole),
        ("Connection: host, content-length, x-headgate-chosen-version", davison, Is::Whole),
        ("Connection: transfer-encoding", davison, Is::Whole),
        ("Connection: \"close\"", davison, Is::Whole),
        ("Connection: \u{e9}", davison, Is::Whole),
        ("Connection: close", davison, Is::Last),
        ("Connection: keep-alive\r\nConnection: x, Close", davison, Is::Last),
        (
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
            h2c,
            Is::Whole,
        ),
        ("Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", h2c, Is::Whole),
        ("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", h2c, Is::Whole),
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
            "Sevastyanov, websocket smuggling, 2019",
            Is::Whole,
        ),
        ("Connection: upgrade\r\nUpgrade: headgate-link\r\nX-Headgate-Link: 1-1", h2c, Is::Whole),
    ];
    let head = format!("{START}Content-Length: 2\r\n");
    let mut all: Vec<Vector> = cases
        .into_iter()
        .map(|(hop, source, is)| vector(hop, source, is, format!("{head}{hop}\r\n\r\n{{}}")))
        .collect();
    let preface = format!("{head}\r\n{{}}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    all.push(vector("HTTP/2 behind a request", h2c, Is::BeforeOther, preface));
    all
}
