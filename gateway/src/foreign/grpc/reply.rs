//! A gRPC reply as a backend of ours would answer by HTTP: a message, or an error in JSON and its kind in a header.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use headgate_contract::grpc::{self, HEAD_BYTES, Head};
use headgate_contract::{Kind, header as ours};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::super::call::{refusal, strip_ours};
use crate::foreign::Door;
use crate::upstream::{Body, BodyError, BoxError, Options, Reply};

/// Messages of errors are kept up to this many bytes.
const WORDS_BYTES_MAX: usize = 4_096;

/// The rest of a message that is too large to be held, and then how it went.
struct Rest {
    body: Incoming,
    start: Option<Bytes>,
    left: u64,
}

pub(super) async fn read(response: Response<Incoming>, door: Door, options: &Options) -> Result<Reply, BoxError> {
    let (mut head, mut body) = response.into_parts();
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(grpc::CONTENT_TYPE.as_bytes());
    if head.status != StatusCode::OK || !head.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
        let message = format!("a backend's gRPC port answered with status {} and no gRPC", head.status);
        return Ok(refusal(Kind::BadGateway, message));
    }
    if let Some(refused) = failed(&head.headers, door) {
        return Ok(refused);
    }
    let mut came = BytesMut::new();
    let mut length = None;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => came.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if length.is_none() && came.len() >= HEAD_BYTES {
            length = Some(take_head(&mut came)?);
        }
        if let Some(length) = length.filter(|length| *length > options.whole_bytes_max) {
            let left = length.checked_sub(came.len() as u64).ok_or("a message is longer than it says")?;
            headers_of_http(&mut head.headers);
            let rest = Rest { body, start: Some(came.freeze()), left };
            return Ok(Reply { head, body: Body::Streaming(rest.boxed_unsync()) });
        }
        if came.len() as u64 > options.whole_bytes_max {
            return Err("a reply is longer than its message".into());
        }
    }
    let trailers = trailers.ok_or("a reply ended without its status")?;
    if let Some(refused) = failed(&trailers, door) {
        return Ok(refused);
    }
    if !is_good(&trailers) || length != Some(came.len() as u64) {
        return Err("a reply says that all went well, and is no message".into());
    }
    headers_of_http(&mut head.headers);
    Ok(Reply { head, body: Body::whole(came.freeze()) })
}

fn take_head(came: &mut BytesMut) -> Result<u64, BoxError> {
    let mut bytes = [0; HEAD_BYTES];
    came.copy_to_slice(&mut bytes);
    match Head::read(bytes) {
        Some(Head { compressed: false, length }) => Ok(length.into()),
        Some(_) => Err("a message is compressed, which was not asked for".into()),
        None => Err("a frame begins with neither 0 nor 1".into()),
    }
}

fn is_good(trailers: &HeaderMap) -> bool {
    trailers.get(grpc::STATUS).is_some_and(|status| status == "0")
}

/// What a status means that is not 0, in head or trailers.
fn failed(headers: &HeaderMap, door: Door) -> Option<Reply> {
    let status = headers.get(grpc::STATUS).filter(|status| *status != "0")?;
    let code: u8 = status.to_str().ok().and_then(|code| code.parse().ok()).unwrap_or(2);
    let words = headers.get(grpc::MESSAGE).map(|words| decoded(words.as_bytes())).unwrap_or_default();
    let kind = meaning(code, &words, door);
    let message = if words.is_empty() { format!("a backend answered with gRPC status {code}") } else { words };
    Some(refusal(kind, message))
}

/// Which kind of error a code is (google.golang.org's `codes` numbers), of a server that is none of ours.
fn meaning(code: u8, words: &str, door: Door) -> Kind {
    match code {
        3 | 9 | 11 if words.contains("is not ready yet") => Kind::NotHere,
        3 | 9 | 11 => Kind::InvalidRequest,
        4 => Kind::DeadlineExceeded,
        5 => Kind::NotHere,
        7 => Kind::Forbidden,
        16 => Kind::Unauthenticated,
        8 => Kind::Overloaded,
        14 if words.contains("maximum queue size") => Kind::Overloaded,
        14 => Kind::Unavailable,
        12 => Kind::Unsupported,
        // It can't be told whether the model failed, or the call is wrong.
        _ if door.is_prediction() => Kind::ModelFailed,
        _ => Kind::BadGateway,
    }
}

/// The words of an error: `%XX` stands for a byte.
fn decoded(words: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(words.len().min(WORDS_BYTES_MAX));
    let mut rest = words.get(..WORDS_BYTES_MAX).unwrap_or(words);
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'%') {
            Some(escaped) => {
                bytes.push(escaped);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The reply's metadata as headers of HTTP.
fn headers_of_http(headers: &mut HeaderMap) {
    strip_ours(headers);
    let of_grpc: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("grpc-")).cloned().collect();
    for name in of_grpc {
        headers.remove(name);
    }
    headers.remove(ours::REQUEST_ID);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(start) = self.start.take().filter(|start| !start.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        let broken = |why: &str| Poll::Ready(Some(Err(BodyError(why.to_owned()))));
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return broken(&error.to_string()),
                None => return broken("a backend's answer ended without its status"),
            };
            match frame.into_data() {
                Ok(data) if data.len() as u64 > self.left => {
                    return broken("a backend's answer is longer than it says");
                }
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.left -= data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) if self.left == 0 && is_good(&trailers) => return Poll::Ready(None),
                    _ => return broken("a backend's answer broke off"),
                },
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let start = self.start.as_ref().map_or(0, |start| start.len() as u64);
        SizeHint::with_exact(start + self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whose_fault_it_is() {
        for (code, words, door, kind) in [
            (5, "Request for unknown model: 'm' is not found", Door::Message, Kind::NotHere),
            (3, "unexpected inference input", Door::Message, Kind::InvalidRequest),
            (3, "Model m is not ready yet.", Door::Message, Kind::NotHere),
            (14, "Exceeds maximum queue size", Door::Message, Kind::Overloaded),
            (14, "Server exiting", Door::Message, Kind::Unavailable),
            (13, "in ensemble", Door::Message, Kind::ModelFailed),
            (2, "Unexpected <class 'IndexError'>", Door::Message, Kind::ModelFailed),
            (13, "", Door::MetadataMessage, Kind::BadGateway),
            (12, "decoupled", Door::Message, Kind::Unsupported),
        ] {
            assert_eq!(meaning(code, words, door), kind, "{code} {words}");
        }
    }

    #[test]
    fn words_are_read_back() {
        let said = "row 3: '\u{e9}' is 100% wrong\n";
        assert_eq!(decoded(grpc::percent_encoded(said).as_bytes()), said);
        assert_eq!(decoded(b"100% %zz %4"), "100% %zz %4");
    }
}
