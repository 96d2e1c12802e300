//! A reply that came over a link.

use bytes::Bytes;
use headgate_contract::Kind;
use headgate_contract::link::{Answered, Content, Reply};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, header};

/// What a backend answered, without a detour by the headers that HTTP would have for it.
#[derive(Debug)]
pub struct Answer {
    /// HTTP's status.
    pub status: StatusCode,
    /// Why it is an error.
    pub error: Option<Kind>,
    /// The version that answered.
    pub version: Answered,
    /// Calls in flight there when it was answered.
    pub load: u32,
    /// Rows that were scored.
    pub rows: Option<u32>,
    /// The body's content type, where it is a usual one.
    pub content: Content,
    /// Headers for which a frame has no fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Takes it out of its frame, which is read into again at once. In words what is wrong with it: the backend's fault.
    pub(super) fn of(reply: &Reply<'_>) -> Result<Self, String> {
        let Ok(status) = StatusCode::from_u16(reply.status) else {
            return Err(format!("a reply of status {} came", reply.status));
        };
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && !reply.body.is_empty() {
            // By HTTP/1.1 it would be read as the next reply's beginning.
            return Err(format!("a reply of status {} came with a body", reply.status));
        }
        let (error, version, load) = (reply.error, reply.version, reply.load);
        let (rows, content, body) = (reply.rows, reply.content, Bytes::copy_from_slice(reply.body));
        let mut headers = HeaderMap::new();
        for (name, value) in reply.headers {
            let name = HeaderName::from_bytes(name).map_err(|_| "a reply's header has no name that can be one")?;
            let value = HeaderValue::from_bytes(value).map_err(|_| format!("a reply's header '{name}' is none"))?;
            headers.append(name, value);
        }
        // How far a message reaches is for who writes it to say.
        headers.remove(CONTENT_LENGTH);
        headers.remove(header::DATE);
        Ok(Self { status, error, version, load, rows, content, headers, body })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::link::{Frame, Headers, Next, next, put_headers};

    use super::*;

    fn of(status: u16, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let mut block = Vec::new();
        assert!(put_headers(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), &mut block));
        let headers = Headers::read(&block).unwrap();
        let (error, version, content) = (None, Answered::AsChosen, Content::Json);
        let reply = Reply { id: 1, status, error, version, load: 3, rows: Some(2), content, headers, body: b"{}" };
        let mut bytes = Vec::new();
        Frame::Reply(reply).put(&mut bytes);
        let Next::Frame(Frame::Reply(reply), _) = next(&bytes, bytes.len()).unwrap() else { panic!("no reply") };
        Answer::of(&reply)
    }

    #[test]
    fn a_reply_is_taken_out_and_says_nothing_of_its_length() {
        let answer = of(200, &[("x-a", "b"), ("content-length", "7"), ("x-a", "c")]).unwrap();
        assert_eq!(
            (answer.status, answer.load, answer.rows, &answer.body[..]),
            (StatusCode::OK, 3, Some(2), &b"{}"[..])
        );
        assert_eq!(answer.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(answer.headers.len(), 2);
    }

    #[test]
    fn a_header_that_is_none_is_the_backends_fault() {
        for (name, value) in [("x a", "b"), ("x:", "b"), ("x", "b\r\ny: z"), ("x", "\0")] {
            assert!(of(200, &[(name, value)]).is_err(), "{name:?} {value:?}");
        }
    }

    #[test]
    fn a_body_where_none_may_be_is_the_backends_fault() {
        assert!(of(204, &[]).is_err() && of(304, &[]).is_err() && of(404, &[]).is_ok());
    }
}
