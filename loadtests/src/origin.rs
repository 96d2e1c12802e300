//! The cheapest server that a proxy can have behind it: every call gets the same reply. To a Headgate gateway it is a backend
//! with one version of one model, ready; what that costs here is next to nothing, so that a bench of proxies on one machine
//! measures the proxies. Told so, it passes for a backend of a given capacity, for one that fails or for one that hangs
//! ([`Work`]), and tells what came ([`Counts`]).

mod desk;
mod link;
mod report;
mod work;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use headgate_contract::fleet::{STATE_PATH, StateReport, WAIT_MS_MAX};
use headgate_contract::link::PATH as LINK_PATH;
use headgate_contract::{Digest, Kind, ModelName, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::accept;
use crate::wire::{self, RequestHead};
use desk::{Desk, Done};

pub use desk::{COUNTS_PATH, Counts, Seen};
pub use work::{FailAs, Law, WORK_PATH, Work, WorkError};

/// What is read at once, in bytes.
const READ_BYTES: usize = 16 << 10;
/// The longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 16 << 20;
/// The only score that it gives.
pub const SCORE: f64 = 0.875;

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where it listens
    #[arg(long, value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// The model whose only version it says it serves
    #[arg(long, default_value = "bench", value_name = "NAME")]
    pub model: ModelName,
    /// Bytes of a reply's body
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=1 << 20))]
    pub reply_bytes: u32,
    /// Refuse links: gateways then speak HTTP/1.1
    #[arg(long)]
    pub http_only: bool,
    /// The name that it gives itself
    #[arg(long, default_value = "origin", value_name = "NAME")]
    pub name: String,
    /// Calls that are worked on at once, where they are worked on
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub servers: u32,
    /// What it does at first
    #[command(flatten)]
    pub work: Work,
}

/// What it answers.
#[derive(Debug)]
struct Answers {
    /// To every call, head and body.
    call: Vec<u8>,
    /// The body alone.
    body: String,
    /// To the question for a link, and whether that opens one.
    link: Vec<u8>,
    links: bool,
    /// What it tells of its state, but for the calls in flight.
    report: StateReport,
    /// The query by which a gateway says that it knows that state.
    known: String,
    /// The headers of an answer.
    headers: [(&'static str, String); 4],
    name: String,
    desk: Rc<Desk>,
}

/// Listens and answers until it is dropped.
pub async fn run(options: &Options) -> io::Result<()> {
    serve(TcpListener::bind(options.listen).await?, options).await
}

/// The same, on a listener that is bound.
pub async fn serve(listener: TcpListener, options: &Options) -> io::Result<()> {
    options.work.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let answers = Rc::new(Answers::new(options));
    accept::each(listener, |stream| answer(stream, Rc::clone(&answers))).await
}

/// What is to be done for a request.
enum Act {
    /// To answer so, after a while.
    Say(Vec<u8>, Duration),
    /// To work on a call for which there is so much time, in milliseconds.
    Work(u64),
    /// To answer a call at once.
    Call,
    /// To begin a link, or to refuse one.
    Link,
}

/// Answers the requests of one connection, in their order.
async fn answer(mut stream: TcpStream, answers: Rc<Answers>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    loop {
        let garbled = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let (act, length) = match wire::request(&bytes).map_err(garbled)? {
            Some(head) if head.span.whole() <= bytes.len() => {
                (answers.act(&head, &bytes[head.span.head..head.span.whole()]), head.span.whole())
            }
            Some(head) if head.span.whole() > REQUEST_BYTES_MAX => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than any bench's request"));
            }
            _ => {
                bytes.reserve(READ_BYTES);
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
                continue;
            }
        };
        bytes.advance(length);
        match act {
            Act::Call => stream.write_all(&answers.call).await?,
            Act::Say(reply, wait) => {
                if !wait.is_zero() {
                    sleep(wait).await;
                }
                stream.write_all(&reply).await?;
            }
            Act::Work(timeout_ms) => {
                let done = tokio::select! {
                    biased;
                    done = answers.desk.serve(timeout_ms) => done,
                    () = hung_up(&stream) => return Ok(()),
                };
                if done == Done::Reset {
                    return stream.set_zero_linger();
                }
                stream.write_all(&answers.worked(done)).await?;
            }
            Act::Link => {
                stream.write_all(&answers.link).await?;
                if answers.links {
                    // Once for each link: it says how a gateway spoke.
                    eprintln!("link opened");
                    return link::answer(stream, bytes, &answers).await;
                }
            }
        }
    }
}

/// Waits until the other side closes.
async fn hung_up(stream: &TcpStream) {
    let mut byte = [0];
    if !matches!(stream.peek(&mut byte).await, Ok(0) | Err(_)) {
        // The next request is there already; it waits its turn.
        std::future::pending::<()>().await;
    }
}

impl Answers {
    fn new(options: &Options) -> Self {
        let digest = Digest::of(options.model.as_str());
        let version = report::VERSION.to_string();
        let body = prediction(options.reply_bytes as usize);
        let headers = [
            (header::VERSION, version),
            (header::DIGEST, digest.to_string()),
            (header::ROWS, "1".to_owned()),
            (header::LOAD, "1".to_owned()),
        ];
        let report = report::of(&options.model, digest, &options.name);
        Self {
            call: message(200, &headers, &body),
            link: if options.http_only { link::refused() } else { link::opened() },
            links: !options.http_only,
            body,
            known: format!("since={}", report.cursor),
            report,
            headers,
            name: options.name.clone(),
            desk: Desk::new(options.servers, options.work),
        }
    }

    /// What a request asks for: a gateway that knows the state waits for news of it.
    fn act(&self, head: &RequestHead<'_>, body: &[u8]) -> Act {
        match head.path {
            LINK_PATH => return Act::Link,
            WORK_PATH => return Act::Say(self.switch(body), Duration::ZERO),
            COUNTS_PATH => {
                let counts = serde_json::to_string(&self.desk.counts()).unwrap_or_default();
                return Act::Say(message(200, &[], &counts), Duration::ZERO);
            }
            _ => {}
        }
        let Some(query) = head.path.strip_prefix(STATE_PATH) else {
            return if self.desk.is_idle() { Act::Call } else { Act::Work(head.timeout_ms.unwrap_or(0)) };
        };
        let mut parameters = query.trim_start_matches('?').split('&');
        let wait = parameters.clone().find_map(|parameter| parameter.strip_prefix("wait=")?.parse::<u64>().ok());
        let knows = parameters.any(|parameter| parameter == self.known);
        let wait = if knows { Duration::from_millis(wait.unwrap_or(0).min(WAIT_MS_MAX)) } else { Duration::ZERO };
        let report = StateReport { in_flight: self.desk.in_flight(), ..self.report.clone() };
        // Strings, numbers and lists always have a form in JSON.
        Act::Say(message(200, &[], &serde_json::to_string(&report).unwrap_or_default()), wait)
    }

    /// Does what it is told from now on.
    fn switch(&self, body: &[u8]) -> Vec<u8> {
        let told = serde_json::from_slice::<Work>(body).map_err(|error| error.to_string());
        match told.and_then(|work| work.check().map(|()| work).map_err(|error| error.to_string())) {
            Ok(work) => {
                self.desk.switch(work);
                message(200, &[], "{}")
            }
            Err(error) => message(400, &[], &error),
        }
    }

    /// The reply to a call that was worked on.
    fn worked(&self, done: Done) -> Vec<u8> {
        let load = (self.desk.in_flight() + 1).to_string();
        match kind_of(done) {
            None => {
                let [version, digest, rows, (name, _)] = self.headers.clone();
                message(200, &[version, digest, rows, (name, load)], &self.body)
            }
            Some(kind) => {
                let headers = [(header::ERROR, kind.as_str().to_owned()), (header::LOAD, load)];
                message(kind.status(), &headers, &self.words(kind))
            }
        }
    }

    fn words(&self, kind: Kind) -> String {
        format!("{{\"error\":\"{} says {}, as it was told\"}}", self.name, kind.as_str())
    }
}

/// How a call that was not answered is told.
fn kind_of(done: Done) -> Option<Kind> {
    match done {
        Done::Answered => None,
        Done::Failed | Done::Reset => Some(Kind::Internal),
        Done::Refused => Some(Kind::Overloaded),
        Done::Late => Some(Kind::DeadlineExceeded),
    }
}

/// One prediction in JSON, filled up to `length` bytes.
fn prediction(length: usize) -> String {
    let (begin, end) = (format!("{{\"predictions\":[{SCORE}],\"filled_up\":\""), "\"}");
    let filled = "x".repeat(length.saturating_sub(begin.len() + end.len()));
    begin + &filled + end
}

fn message(status: u16, headers: &[(&str, String)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let (length, reason) = (body.len(), if status == 200 { "OK" } else { "Error" });
    format!("HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        .into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_gateway_that_knows_the_state_waits() {
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            model: "bench".parse().unwrap(),
            reply_bytes: 200,
            http_only: false,
            name: "origin".to_owned(),
            servers: 1,
            work: Work::default(),
        };
        let answers = Answers::new(&options);
        let act = |path: &str, body: &[u8]| {
            let text = format!("POST {path} HTTP/1.1\r\nx-headgate-timeout-ms: 70\r\n\r\n");
            answers.act(&wire::request(text.as_bytes()).unwrap().unwrap(), body)
        };
        assert!(matches!(act("/v1/models/bench:predict", b""), Act::Call));
        assert_eq!(wire::reply(&answers.call).unwrap().unwrap().span.body, 200);
        assert!(matches!(act("/fleet/v1/state?wait=1000", b""), Act::Say(_, Duration::ZERO)));
        let again = format!("/fleet/v1/state?wait=1000&{}&generation=1", answers.known);
        assert!(matches!(act(&again, b""), Act::Say(_, wait) if wait == Duration::from_secs(1)));
        let status = |act: Act| match act {
            Act::Say(reply, _) => wire::reply(&reply).unwrap().unwrap().status,
            _ => 0,
        };
        assert_eq!(status(act(WORK_PATH, b"{\"fail\": 7}")), 400);
        assert_eq!(status(act(WORK_PATH, b"{\"service_ms\": 7}")), 200);
        assert!(matches!(act("/v1/models/bench:predict", b""), Act::Work(70)));
    }
}
