//! One HTTP/1.1 connection, driven by the task that uses it: no task of its own, so that a call costs no hand-over.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::stream::Stream;
use super::tls::Tls;
use super::{Body, BoxError};
use crate::edge::body::after;

/// Reads and writes for as long as it is polled.
type Driver = http1::Connection<TokioIo<Stream>, Body>;

/// An open connection.
pub(super) struct Connection {
    sender: http1::SendRequest<Body>,
    /// None once it has ended.
    driver: Option<Pin<Box<Driver>>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("open", &self.driver.is_some()).finish()
    }
}

impl Connection {
    pub(super) async fn open(address: &str, timeout: Duration, tls: &Tls) -> Result<Self, BoxError> {
        let stream = Stream::open(address, timeout, tls).await?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: Some(Box::pin(driver)) })
    }

    /// Whether it can take a call: a close by the other side that has arrived is seen here.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })
        .await;
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a call and waits for the reply's head. The request comes back where nothing of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, (Option<Request<Body>>, BoxError)> {
        let reply = self.sender.try_send_request(request);
        match self.drive_until(reply).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(mut error)) => Err((error.take_message(), error.into_error().into())),
            None => Err((None, "connection ended without a word".into())),
        }
    }

    /// Reads the reply's body: whole, with the connection for the next call, or as a stream.
    pub(super) async fn read(
        mut self,
        head: &response::Parts,
        mut incoming: Incoming,
        whole_bytes_max: u64,
    ) -> Result<(Body, Option<Self>), BoxError> {
        let known = incoming.size_hint().exact();
        if known.is_some_and(|bytes| bytes > whole_bytes_max) {
            return Ok((self.stream(Bytes::new(), incoming), None));
        }
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        while !incoming.is_end_stream() {
            let Some(frame) = self.drive_until(incoming.frame()).await.flatten() else { break };
            let Ok(data) = frame?.into_data() else { continue };
            if first.is_empty() {
                first = data;
                continue;
            }
            gather(&mut rest, &first, &data, known);
            if rest.len() as u64 > whole_bytes_max {
                return Ok((self.stream(rest.freeze(), incoming), None));
            }
        }
        let whole = if rest.is_empty() { first } else { rest.freeze() };
        if known.is_some_and(|bytes| bytes != whole.len() as u64) {
            return Err(format!("{} of {} bytes of the reply came", whole.len(), known.unwrap_or_default()).into());
        }
        let closes = head.headers.get(http::header::CONNECTION).is_some_and(|value| value == "close");
        let reusable = self.driver.is_some() && !closes;
        Ok((Body::whole(whole), reusable.then_some(self)))
    }

    /// The rest of a reply as it comes, the connection driven by a task of its own until it ends.
    fn stream(self, start: Bytes, rest: Incoming) -> Body {
        if let Some(driver) = self.driver {
            tokio::spawn(async move {
                if let Err(error) = driver.await {
                    tracing::debug!(%error, "connection broke while a reply streamed");
                }
            });
        }
        Body::Streaming(after(start, rest))
    }

    /// Waits for `wanted` while it drives the connection; none where the connection ends and it can't come any more.
    async fn drive_until<F: Future>(&mut self, wanted: F) -> Option<F::Output> {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            self.drive(cx);
            match wanted.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if self.driver.is_none() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Lets the connection read and write. Dropped when it ends, it tells whoever waits for it why.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(ended) = driver.as_mut().poll(cx)
        {
            if let Err(error) = ended {
                tracing::debug!(%error, "connection to a backend broke");
            }
            self.driver = None;
        }
    }
}

/// Adds to what came of a body, `first` before all else: with one allocation where its length is known.
fn gather(rest: &mut BytesMut, first: &[u8], data: &[u8], known: Option<u64>) {
    if rest.is_empty() {
        let known = known.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default();
        rest.reserve(known.max(first.len() + data.len()));
        rest.extend_from_slice(first);
    }
    rest.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_known_length_is_gathered_in_one_allocation() {
        let mut rest = BytesMut::new();
        let first = [1_u8; 1_000];
        for _ in 1..64 {
            gather(&mut rest, &first, &first, Some(64_000));
        }
        assert_eq!(rest.len(), 64_000);
        assert!(rest.capacity() < 70_000, "{} bytes are reserved", rest.capacity());
    }
}
