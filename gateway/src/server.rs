//! The gateway as a whole: pingora's frame around the edge, the admin port beside it, the fleet behind; and its end.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora_core::server::{Fds, ListenFds};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::config::Config;
use crate::discovery::{self, Discover, Endpoint, Fixed, Registry};
use crate::edge::Edge;
use crate::fleet::Fleet;
use crate::metrics;
use crate::workers::Workers;

/// The sockets that a gateway serves; its caller binds them.
#[derive(Debug)]
pub struct Listeners {
    /// Callers'.
    pub edge: TcpListener,
    /// Operators' and backends'.
    pub admin: TcpListener,
}

/// Why a gateway stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket can't be used. The machine's fault.
    #[error("listener can't be used: {0}")]
    Listener(#[from] std::io::Error),
    /// No threads to serve on. The machine's fault.
    #[error("no threads to serve on: {0}")]
    Threads(std::io::Error),
    /// The admin port broke.
    #[error("admin port broke: {0}")]
    Admin(String),
}

/// A gateway that is set up and serves nothing yet.
pub struct Gateway {
    edge: Edge,
    config: Arc<ArcSwap<Config>>,
    registry: Registry,
    fixed: watch::Sender<Vec<Endpoint>>,
    stop: CancellationToken,
    workers: Workers,
}

/// How a gateway went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every connection was done.
    Whole,
    /// The time for that had passed, and so many connections were cut.
    Cut(usize),
}

impl Gateway {
    /// Sets a gateway up, with its threads.
    pub fn new(config: Config) -> Result<Self, ServeError> {
        let workers = Workers::start(config.server.threads, config.server.stay).map_err(ServeError::Threads)?;
        let fixed = watch::Sender::new(config.discovery.endpoints());
        let config = Arc::new(ArcSwap::from_pointee(config));
        let stop = CancellationToken::new();
        let fleet = Fleet::new(Arc::clone(&config), workers.threads(), stop.clone());
        metrics::recorder();
        let edge = Edge::new(Arc::clone(&config), fleet, workers.threads());
        Ok(Self { edge, config, registry: Registry::default(), fixed, stop, workers })
    }

    /// A handle that swaps the configuration while the gateway serves; its listeners stay as they are.
    pub fn reload(&self) -> impl Fn(Config) + Send + Sync + 'static {
        let (config, fixed) = (Arc::clone(&self.config), self.fixed.clone());
        move |next: Config| {
            let backends = next.discovery.endpoints();
            config.store(Arc::new(next));
            fixed.send_if_modified(|list| std::mem::replace(list, backends.clone()) != backends);
            tracing::info!("configuration reloaded");
        }
    }

    /// Serves until `shutdown`, then goes down: lame duck, no more connections, those that are there to their end.
    pub async fn serve(
        self,
        listeners: Listeners,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<Drained, ServeError> {
        let config = self.config.load_full();
        let address = listeners.edge.local_addr()?;
        let (close, closing) = watch::channel(false);
        let frame = self.frame(address, listeners.edge, closing)?;
        let admin = admin::serve(listeners.admin, self.admin(), self.stop.clone())?;
        self.edge.fleet.start();
        let providers: [Box<dyn Discover>; 2] =
            [Box::new(Fixed::new(self.fixed.subscribe())), Box::new(self.registry.clone())];
        for provider in providers {
            tokio::spawn(discovery::follow(Arc::clone(&self.edge.fleet), provider, self.stop.clone()));
        }
        tokio::spawn(upkeep(Arc::clone(&self.edge.fleet), self.stop.clone()));
        tracing::info!(%address, "gateway serves");
        let admin_broke = tokio::select! {
            () = shutdown => None,
            ended = admin => Some(ServeError::Admin(ended.map_or_else(|e| e.to_string(), |()| "it ended".to_owned()))),
        };
        let drained = self.go_down(&config, &close).await;
        self.stop.cancel();
        self.edge.fleet.stopped().await;
        frame.abort();
        drop(self.workers);
        admin_broke.map_or(Ok(drained), Err)
    }

    /// pingora's listening service on a socket that is bound already.
    fn frame(
        &self,
        address: SocketAddr,
        listener: TcpListener,
        closing: watch::Receiver<bool>,
    ) -> Result<tokio::task::JoinHandle<()>, ServeError> {
        listener.set_nonblocking(true)?;
        // pingora takes the socket from this table instead of binding one, as it does in its own hand-over.
        let name = address.to_string();
        let mut table = Fds::new();
        table.add(name.clone(), listener.into_raw_fd());
        let sockets: ListenFds = Arc::new(table.into());
        let mut service = Service::new("edge".to_owned(), self.edge.clone());
        service.add_tcp(&name);
        Ok(tokio::spawn(async move { service.start_service(Some(sockets), closing, 1).await }))
    }

    fn admin(&self) -> Admin {
        Admin { edge: self.edge.clone(), registry: self.registry.clone() }
    }

    async fn go_down(&self, config: &Config, close: &watch::Sender<bool>) -> Drained {
        tracing::info!(lame_duck_ms = config.server.lame_duck.as_millis() as u64, "gateway goes down");
        self.edge.gate.begin_lame_duck();
        tokio::time::sleep(config.server.lame_duck).await;
        close.send_replace(true);
        match tokio::time::timeout(config.server.drain, self.edge.gate.empty()).await {
            Ok(()) => Drained::Whole,
            Err(_) => Drained::Cut(self.edge.gate.connections()),
        }
    }
}

/// What metrics need from time to time.
async fn upkeep(fleet: Arc<Fleet>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(metrics::RANK_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let fleet = Arc::clone(&fleet);
        // Many models make this long work.
        let _ = tokio::task::spawn_blocking(move || {
            fleet.name_busiest();
            metrics::recorder().run_upkeep();
        })
        .await;
    }
}
