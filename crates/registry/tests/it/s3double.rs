//! An S3 server in this process: objects in one map behind one lock, so that conditional writes are atomic; signatures are
//! verified by crate `s3s`. Requests are counted by kind; faults are injected on the wire.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use headgate_contract::Digest;
use headgate_registry::store::{AccessKey, Store, StoreOptions};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

const KEY: &str = "key-of-the-double";
const SECRET: &str = "secret-of-the-double";

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Get,
    Head,
    List,
    Put,
    Post,
    Delete,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// An error reply; the request has no effect.
    Reply(u16, &'static str),
    /// The request takes effect, and its reply is lost.
    LoseReply,
    /// Half of the body, then the connection breaks.
    CutBody,
    /// One byte of the body, then nothing.
    SlowBody,
    /// No reply at all.
    Hang,
}

struct Planned {
    kind: Kind,
    key: String,
    fault: Fault,
    times: usize,
}

#[derive(Default)]
struct State {
    objects: Mutex<BTreeMap<String, Bytes>>,
    uploads: Mutex<HashMap<String, BTreeMap<i32, Bytes>>>,
    counts: Mutex<BTreeMap<Kind, usize>>,
    faults: Mutex<Vec<Planned>>,
    ignores_conditions: AtomicBool,
    page: AtomicUsize,
}

/// The server; it ends with this value.
pub(crate) struct Double {
    address: SocketAddr,
    state: Arc<State>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Double {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(State::default());
        state.page.store(1000, Ordering::Relaxed);
        let mut builder = S3ServiceBuilder::new(Api(Arc::clone(&state)));
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (service, state) = (service.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let each = service_fn(move |request| answer(service.clone(), Arc::clone(&state), request));
                    // A connection that a fault has broken ends with an error.
                    _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), each).await;
                });
            }
        });
        Self { address, state, server }
    }

    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions {
            endpoint: Some(format!("http://{}", self.address)),
            access_key: Some(AccessKey { id: KEY.to_owned(), secret: SECRET.to_owned() }),
            operation_timeout_ms: 2_000,
            ..StoreOptions::default()
        }
    }

    pub(crate) async fn store(&self) -> Store {
        self.store_with(self.options()).await
    }

    pub(crate) async fn store_with(&self, options: StoreOptions) -> Store {
        Store::open(&"s3://models/prod".parse().unwrap(), &options).await.unwrap()
    }

    /// Lets the next `times` requests of a kind, whose key contains `key`, go wrong.
    pub(crate) fn fault(&self, kind: Kind, key: &str, fault: Fault, times: usize) {
        self.state.faults.lock().unwrap().push(Planned { kind, key: key.to_owned(), fault, times });
    }

    pub(crate) fn ignore_conditions(&self) {
        self.state.ignores_conditions.store(true, Ordering::Relaxed);
    }

    pub(crate) fn page(&self, entries: usize) {
        self.state.page.store(entries, Ordering::Relaxed);
    }

    /// How many requests there were since the last call, by kind.
    pub(crate) fn counted(&self) -> BTreeMap<Kind, usize> {
        std::mem::take(&mut *self.state.counts.lock().unwrap())
    }

    /// Puts other bytes where an object is: the store lies.
    pub(crate) fn lie(&self, key: &str, bytes: impl Into<Bytes>) {
        self.state.objects.lock().unwrap().insert(format!("prod/{key}"), bytes.into());
    }

    pub(crate) fn read(&self, key: &str) -> Option<Bytes> {
        self.state.objects.lock().unwrap().get(&format!("prod/{key}")).cloned()
    }

    pub(crate) fn forget(&self, key: &str) {
        self.state.objects.lock().unwrap().remove(&format!("prod/{key}"));
    }

    /// How many uploads in parts were begun and neither finished nor given up.
    pub(crate) fn open_uploads(&self) -> usize {
        self.state.uploads.lock().unwrap().len()
    }
}

type Reply = http::Response<UnsyncBoxBody<Bytes, std::io::Error>>;

async fn answer(service: S3Service, state: Arc<State>, request: http::Request<Incoming>) -> std::io::Result<Reply> {
    let kind = match (request.method().as_str(), request.uri().query().unwrap_or_default()) {
        ("GET", query) if query.contains("list-type=2") => Kind::List,
        ("GET", _) => Kind::Get,
        ("HEAD", _) => Kind::Head,
        ("PUT", _) => Kind::Put,
        ("POST", _) => Kind::Post,
        _ => Kind::Delete,
    };
    *state.counts.lock().unwrap().entry(kind).or_default() += 1;
    match planned(&state, kind, &request.uri().path().replace("%3D", "=")) {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reply(status, code)) => {
            let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planned</Message></Error>");
            let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
            Ok(http::Response::builder().status(status).header("content-type", "application/xml").body(body).unwrap())
        }
        fault => {
            let reply = service.call(request.map(Body::from)).await.map_err(std::io::Error::other)?;
            match fault {
                Some(Fault::LoseReply) => Err(std::io::Error::other("planned")),
                Some(fault) => Ok(spoil(reply, fault).await),
                None => Ok(reply.map(|body| BodyExt::map_err(body, std::io::Error::other).boxed_unsync())),
            }
        }
    }
}

fn planned(state: &State, kind: Kind, path: &str) -> Option<Fault> {
    let mut faults = state.faults.lock().unwrap();
    let due = |planned: &&mut Planned| planned.times > 0 && planned.kind == kind && path.contains(&planned.key);
    let planned = faults.iter_mut().find(due)?;
    planned.times -= 1;
    Some(planned.fault)
}

/// The reply with a body that breaks off, or never ends.
async fn spoil(reply: http::Response<Body>, fault: Fault) -> Reply {
    let (parts, body) = reply.into_parts();
    let whole = BodyExt::collect(body).await.unwrap().to_bytes();
    let some = if let Fault::CutBody = fault { whole.len() / 2 } else { 1.min(whole.len()) };
    let end = stream::once(async move {
        // Let what came before go out.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Fault::SlowBody = fault {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        Err(std::io::Error::other("planned"))
    });
    let frames = stream::iter([Ok(Frame::data(whole.slice(..some)))]).chain(end);
    http::Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

/// What the server does.
struct Api(Arc<State>);

fn tag(bytes: &Bytes) -> ETag {
    ETag::Strong(Digest::of(bytes).to_string()[..32].to_owned())
}

impl Api {
    /// A write under its conditions, in one step.
    fn write(
        &self,
        key: &str,
        bytes: Bytes,
        none: Option<&ETagCondition>,
        only: Option<&ETagCondition>,
    ) -> S3Result<ETag> {
        let etag = tag(&bytes);
        let mut objects = self.0.objects.lock().unwrap();
        if !self.0.ignores_conditions.load(Ordering::Relaxed) {
            let there = objects.get(key).map(tag);
            if none.is_some() && there.is_some() {
                return Err(s3_error!(PreconditionFailed));
            }
            match (only.and_then(ETagCondition::as_etag), there) {
                (Some(_), None) => return Err(s3_error!(NoSuchKey)),
                (Some(expected), Some(there)) if *expected != there => return Err(s3_error!(PreconditionFailed)),
                _ => {}
            }
        }
        objects.insert(key.to_owned(), bytes);
        Ok(etag)
    }
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let chunks: Vec<Bytes> = body.try_collect().await.map_err(|_| s3_error!(IncompleteBody))?;
    Ok(chunks.concat().into())
}

#[async_trait::async_trait]
impl S3 for Api {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let found = self.0.objects.lock().unwrap().get(&input.key).cloned();
        let bytes = found.ok_or_else(|| s3_error!(NoSuchKey))?;
        let etag = tag(&bytes);
        if input.if_none_match.is_some_and(|condition| condition.as_etag() == Some(&etag)) {
            return Err(s3_error!(NotModified));
        }
        let total = bytes.len();
        let mut output = GetObjectOutput { e_tag: Some(etag), ..Default::default() };
        let part = match input.range {
            Some(range) => {
                let range = range.check(total as u64).map_err(|_| s3_error!(InvalidRange))?;
                output.content_range = Some(format!("bytes {}-{}/{total}", range.start, range.end - 1));
                bytes.slice(range.start as usize..range.end as usize)
            }
            None => bytes,
        };
        output.content_length = Some(part.len() as i64);
        output.body = Some(StreamingBlob::from(Body::from(part)));
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let found = self.0.objects.lock().unwrap().get(&request.input.key).cloned();
        let bytes = found.ok_or_else(|| s3_error!(NoSuchKey))?;
        let (length, etag) = (bytes.len() as i64, tag(&bytes));
        let output = HeadObjectOutput { content_length: Some(length), e_tag: Some(etag), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = collect(input.body).await?;
        let etag = self.write(&input.key, bytes, input.if_none_match.as_ref(), input.if_match.as_ref())?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag), ..Default::default() }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.0.objects.lock().unwrap().remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let mut entries: Vec<(String, bool)> = Vec::new();
        for key in self.0.objects.lock().unwrap().keys().filter(|key| key.starts_with(&prefix)) {
            let entry = match key[prefix.len()..].split_once('/') {
                Some((folder, _)) if input.delimiter.is_some() => (format!("{prefix}{folder}/"), true),
                _ => (key.clone(), false),
            };
            if entries.last() != Some(&entry) {
                entries.push(entry);
            }
        }
        let from: usize = input.continuation_token.map_or(0, |token| token.parse().unwrap());
        let to = (from + self.0.page.load(Ordering::Relaxed)).min(entries.len());
        let more = to < entries.len();
        let page = &entries[from..to];
        let folder = |name: &String| CommonPrefix { prefix: Some(name.clone()) };
        let object = |name: &String| Object { key: Some(name.clone()), ..Default::default() };
        Ok(S3Response::new(ListObjectsV2Output {
            common_prefixes: Some(page.iter().filter(|entry| entry.1).map(|entry| folder(&entry.0)).collect()),
            contents: Some(page.iter().filter(|entry| !entry.1).map(|entry| object(&entry.0)).collect()),
            is_truncated: Some(more),
            next_continuation_token: more.then(|| to.to_string()),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut uploads = self.0.uploads.lock().unwrap();
        let id = format!("{}-{}", request.input.key, uploads.len());
        uploads.insert(id.clone(), BTreeMap::new());
        Ok(S3Response::new(CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = collect(input.body).await?;
        let etag = tag(&bytes);
        let mut uploads = self.0.uploads.lock().unwrap();
        let parts = uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        parts.insert(input.part_number, bytes);
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(etag), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let parts = self.0.uploads.lock().unwrap().get(&input.upload_id).cloned();
        let parts: Vec<Bytes> = parts.ok_or_else(|| s3_error!(NoSuchUpload))?.into_values().collect();
        let etag = self.write(&input.key, parts.concat().into(), input.if_none_match.as_ref(), None)?;
        self.0.uploads.lock().unwrap().remove(&input.upload_id);
        let output = CompleteMultipartUploadOutput { e_tag: Some(etag), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.0.uploads.lock().unwrap().remove(&request.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
