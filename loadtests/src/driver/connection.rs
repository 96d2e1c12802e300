//! One connection: serves requests one after another, and connects anew when it was lost.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::time::timeout_at;

use super::bare;
use super::expect::version_of;
use super::failure::Failure;
use super::pool::{Call, Pool};
use super::tally::Answer;

/// The longest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// How often a request that never left this process is given to a new connection.
const UNSENT_MAX: usize = 3;
/// How much of a refusal's words is kept, in bytes.
const WORDS_MAX: usize = 300;

/// How long a connection of a closed loop waits after a failure.
const PAUSE: Duration = Duration::from_millis(10);

type Sender = SendRequest<Full<Bytes>>;
pub(super) type Failed = (Failure, String);

/// Serves the pool's requests until the load has ended.
pub(super) async fn serve(pool: Rc<Pool>) {
    let (mut sender, mut open): (Option<Sender>, Option<bare::Open>) = (None, None);
    while let Some(call) = pool.next().await {
        let deadline = (call.due + pool.plan.timeout).into();
        let result = match pool.plan.bare {
            true => timeout_at(deadline, bare::exchange(&pool, &mut open, call)).await,
            false => timeout_at(deadline, exchange(&pool, &mut sender, call)).await,
        };
        let result = result.unwrap_or_else(|_| Err((Failure::Timeout, format!("after {:?}", pool.plan.timeout))));
        let lost = result.is_err();
        pool.end(call, result);
        if lost {
            (sender, open) = (None, None);
            if pool.plan.load.is_closed() {
                // Else a refused connection would be tried again as fast as the machine can.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    pool.leave();
}

/// One request and its reply.
async fn exchange(pool: &Pool, slot: &mut Option<Sender>, call: Call) -> Result<Answer, Failed> {
    let mut request = request(pool, call)?;
    for _ in 0..UNSENT_MAX {
        let open = match slot {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        let sender = match slot {
            Some(sender) if open => sender,
            _ => slot.insert(connect(pool).await?),
        };
        match sender.try_send_request(request).await {
            Ok(response) => return read(pool, call, response).await,
            Err(mut error) => match error.take_message() {
                // Not a byte of it was sent: any client sends it again, the connection had been closed while idle.
                Some(unsent) => {
                    request = unsent;
                    *slot = None;
                }
                None => return Err(failed(error.error())),
            },
        }
    }
    Err((Failure::Reset, format!("{UNSENT_MAX} connections closed before the request was sent")))
}

fn request(pool: &Pool, call: Call) -> Result<Request<Full<Bytes>>, Failed> {
    let plan = &pool.plan;
    let body = plan.bodies.get(call.body).cloned().unwrap_or_default();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = plan.method();
    *request.uri_mut() = plan.target.path.clone();
    request.headers_mut().insert(header::HOST, plan.target.host.clone());
    if !plan.bodies.is_empty() && !plan.headers.iter().any(|(name, _)| name == header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    }
    request.headers_mut().extend(plan.headers.iter().cloned());
    Ok(request)
}

async fn connect(pool: &Pool) -> Result<Sender, Failed> {
    let stream = pool.plan.connect().await.map_err(|e| (Failure::of_io(&e), e.to_string()))?;
    stream.set_nodelay(true).map_err(|e| (Failure::of_io(&e), e.to_string()))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    // Its error reaches whoever waits for the reply.
    tokio::task::spawn_local(connection);
    Ok(sender)
}

async fn read(pool: &Pool, call: Call, response: Response<Incoming>) -> Result<Answer, Failed> {
    let (parts, body) = response.into_parts();
    let body = match Limited::new(body, REPLY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            return Err(match error.downcast_ref::<hyper::Error>() {
                Some(error) => failed(error),
                None => (Failure::Garbled, format!("reply of more than {REPLY_BYTES_MAX} bytes")),
            });
        }
    };
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let success = parts.status.is_success();
    if let Some(scores) = pool.looked_at().filter(|_| success) {
        scores.check(&parts.headers, call.body, &body).map_err(|words| (Failure::Scores, words))?;
    }
    let expect = pool.plan.expect.as_ref().filter(|_| success);
    Ok(Answer {
        status: parts.status.as_u16(),
        version: version_of(&parts.headers),
        backend: text(headgate_contract::header::BACKEND),
        fault: expect.and_then(|expect| expect.check(&parts.headers, call.body, &body).err()),
        retry_after: parts.headers.contains_key(header::RETRY_AFTER),
        words: if success { String::new() } else { words(&body) },
    })
}

pub(super) fn words(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(WORDS_MAX)]).into_owned()
}

fn failed(error: &hyper::Error) -> Failed {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    (Failure::of_hyper(error), format!("{error}{source}"))
}
