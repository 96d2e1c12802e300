//! TLS on the one port: HTTP/1.1, HTTP/2 and the link behind it, and whom it refuses.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::certs::{Authority, Signed, client};
use crate::support::{Bucket, Server, get, linear, until};

const WEIGHTS: [f64; 2] = [0.5, -2.0];
const CALL: &str =
    "POST /v1/models/bank:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 26\r\n\r\n{\"instances\": [[30, 7.5]]}";

async fn served(flags: &[(&str, &str)]) -> (Bucket, Server) {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", WEIGHTS)).await;
    let server = Server::start_with(&bucket, flags).await;
    (bucket, server)
}

async fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// What comes for a request of HTTP/1.1, up to a certain end.
async fn asks(stream: &mut TlsStream<TcpStream>, request: &str, end: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).ends_with(end) {
        if stream.read_buf(&mut read).await? == 0 {
            break;
        }
    }
    Ok(String::from_utf8(read).unwrap())
}

async fn is_ready(addr: SocketAddr, config: &Arc<ClientConfig>) -> bool {
    let Ok(mut stream) = connect(addr, config).await else { return false };
    let ready = "GET /v2/health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    asks(&mut stream, ready, "never").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

async fn until_ready(server: &Server, config: &Arc<ClientConfig>) {
    until("ready", || is_ready(server.addr, config)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_the_port_speaks_is_spoken_by_tls() {
    let authority = Authority::new();
    let (_bucket, mut server) = served(&authority.signs("127.0.0.1").flags()).await;
    let http1 = client(&authority.ca(), None, "http/1.1");
    until_ready(&server, &http1).await;
    let mut stream = connect(server.addr, &http1).await.unwrap();
    for _ in 0..3 {
        let answer = asks(&mut stream, CALL, "}").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"predictions\":[1.0]}"), "{answer}");
    }
    let asked = "GET /fleet/v1/link HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: headgate-link\r\n\
                 x-headgate-link: 1-1\r\n\r\n";
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut head = vec![0; 40];
    stream.read_exact(&mut head).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    drop(stream);

    let stream = connect(server.addr, &client(&authority.ca(), None, "h2")).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driven = tokio::spawn(connection);
    let request = http::Request::post(format!("https://{}/v1/models/bank:predict", server.addr));
    let request = request.body(Full::new(Bytes::from_static(b"{\"instances\": [[30, 7.5]]}"))).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(&answer.into_body().collect().await.unwrap().to_bytes()[..], b"{\"predictions\":[1.0]}");
    server.terminate();
    (&mut server.running).await.unwrap().unwrap();
    drop(sender);
    let _ = driven.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_otherwise_is_told() {
    let authority = Authority::new();
    let (_bucket, tls) = served(&authority.signs("127.0.0.1").flags()).await;
    let client = client(&authority.ca(), None, "http/1.1");
    until_ready(&tls, &client).await;
    get(tls.addr, "/v2/health/live").await.says(400, &["this port speaks TLS"]);
    assert!(is_ready(tls.addr, &client).await);

    let (_bucket, plain) = served(&[]).await;
    plain.ready().await;
    let error = connect(plain.addr, &client).await.unwrap_err().to_string();
    assert!(error.contains("InvalidContentType"), "{error}");
    assert_eq!(get(plain.addr, "/v2/health/live").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_good_certificate_are_refused_where_one_is_asked_for() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (own, ca) = (authority.signs("127.0.0.1"), authority.ca());
    let flags = [own.flags().as_slice(), &[("tls.client_ca", ca.as_str())]].concat();
    let (_bucket, server) = served(&flags).await;
    let good = authority.signs("gateway");
    until_ready(&server, &client(&ca, Some(&good), "http/1.1")).await;
    for bad in [None, Some(other.signs("gateway")), Some(authority.signs_expired("old"))] {
        assert!(!is_ready(server.addr, &client(&ca, bad.as_ref(), "http/1.1")).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let (authority, next) = (Authority::new(), Authority::new());
    let own = authority.signs("127.0.0.1");
    let (_bucket, server) = served(&own.flags()).await;
    let before = client(&authority.ca(), None, "http/1.1");
    until_ready(&server, &before).await;
    std::fs::write(&own.cert, "no certificate").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert!(is_ready(server.addr, &before).await, "what was good stands");
    next.signs("127.0.0.1").replaces(&own);
    until_ready(&server, &client(&next.ca(), None, "http/1.1")).await;
    assert!(!is_ready(server.addr, &before).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_good_are_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (own, foreign) = (authority.signs("127.0.0.1"), other.signs("127.0.0.1"));
    let read = |signed: &Signed| {
        let flags = [signed.flags().as_slice(), &[("store", "file:///models")]].concat();
        let flags = flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        headgate_backend::Config::from_flags(flags).unwrap_err().to_string()
    };
    let unlike = Signed { key: foreign.key, ..own.clone() };
    let missing = Signed { cert: "/nowhere.crt".to_owned(), ..own };
    assert!(read(&unlike).contains(&unlike.cert), "{}", read(&unlike));
    assert!(read(&missing).contains("/nowhere.crt"), "{}", read(&missing));
}
