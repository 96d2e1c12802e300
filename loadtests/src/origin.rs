//! The cheapest server that a proxy can have behind it: every call gets the same reply. To a Headgate gateway it is a backend
//! with one version of one model, ready; what that costs here is next to nothing, so that a bench of proxies on one machine
//! measures the proxies.

mod link;
mod report;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use headgate_contract::fleet::{STATE_PATH, WAIT_MS_MAX};
use headgate_contract::link::PATH as LINK_PATH;
use headgate_contract::{Digest, ModelName, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::wire;

/// What is read at once, in bytes.
const READ_BYTES: usize = 16 << 10;
/// The longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 16 << 20;
/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(10);
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
    /// To the question for its state.
    state: Vec<u8>,
    /// The query by which a gateway says that it knows that state.
    known: String,
}

/// Listens and answers until it is dropped.
pub async fn run(options: &Options) -> io::Result<()> {
    serve(TcpListener::bind(options.listen).await?, options).await
}

/// The same, on a listener that is bound.
pub async fn serve(listener: TcpListener, options: &Options) -> io::Result<()> {
    let answers = Rc::new(Answers::new(options));
    let connections = async {
        loop {
            match listener.accept().await {
                // Its end, whatever it was, is the caller's to see.
                Ok((stream, _)) => drop(tokio::task::spawn_local(answer(stream, Rc::clone(&answers)))),
                Err(_) => sleep(PAUSE).await,
            }
        }
    };
    LocalSet::new().run_until(connections).await
}

/// Answers the requests of one connection, in their order.
async fn answer(mut stream: TcpStream, answers: Rc<Answers>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    loop {
        let garbled = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let (reply, wait, opens, length) = match wire::request(&bytes).map_err(garbled)? {
            Some(head) if head.span.whole() <= bytes.len() => {
                let (reply, wait) = answers.to(head.path);
                (reply, wait, answers.links && head.path == LINK_PATH, head.span.whole())
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
        if let Some(wait) = wait {
            sleep(wait).await;
        }
        stream.write_all(reply).await?;
        bytes.advance(length);
        if opens {
            // Once for each link: it says how a gateway spoke.
            eprintln!("link opened");
            return link::answer(stream, bytes, answers.body.as_bytes()).await;
        }
    }
}

impl Answers {
    fn new(options: &Options) -> Self {
        let digest = Digest::of(options.model.as_str());
        let (version, digest_text) = (report::VERSION, digest.to_string());
        let body = prediction(options.reply_bytes as usize);
        let headers = [
            (header::VERSION, version.to_string()),
            (header::DIGEST, digest_text),
            (header::ROWS, "1".to_owned()),
            (header::LOAD, "1".to_owned()),
        ];
        Self {
            call: message(&headers, &body),
            link: if options.http_only { link::refused() } else { link::opened() },
            links: !options.http_only,
            body,
            state: message(&[], &report::of(&options.model, digest)),
            known: format!("since={}", report::CURSOR),
        }
    }

    /// What is answered to a path, and after how long: a gateway that knows the state waits for news of it.
    fn to(&self, path: &str) -> (&[u8], Option<Duration>) {
        if path == LINK_PATH {
            return (&self.link, None);
        }
        let Some(query) = path.strip_prefix(STATE_PATH) else { return (&self.call, None) };
        let mut parameters = query.trim_start_matches('?').split('&');
        let wait = parameters.clone().find_map(|parameter| parameter.strip_prefix("wait=")?.parse::<u64>().ok());
        let wait = Duration::from_millis(wait.unwrap_or(0).min(WAIT_MS_MAX));
        (&self.state, parameters.any(|parameter| parameter == self.known).then_some(wait))
    }
}

/// One prediction in JSON, filled up to `length` bytes.
fn prediction(length: usize) -> String {
    let (begin, end) = (format!("{{\"predictions\":[{SCORE}],\"filled_up\":\""), "\"}");
    let filled = "x".repeat(length.saturating_sub(begin.len() + end.len()));
    begin + &filled + end
}

fn message(headers: &[(&str, String)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        .into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_gateway_that_knows_the_state_waits() {
        let listen = "127.0.0.1:0".parse().unwrap();
        let answers =
            Answers::new(&Options { listen, model: "bench".parse().unwrap(), reply_bytes: 200, http_only: false });
        let (call, wait) = answers.to("/v1/models/bench:predict");
        assert!(call.ends_with(b"x\"}") && wait.is_none());
        assert_eq!(wire::reply(call).unwrap().unwrap().span.body, 200);
        assert_eq!(answers.to("/fleet/v1/state?wait=1000"), (answers.state.as_slice(), None));
        let again = format!("/fleet/v1/state?wait=1000&{}&generation=1", answers.known);
        assert_eq!(answers.to(&again).1, Some(Duration::from_secs(1)));
    }
}
