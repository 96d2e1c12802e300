//! How a foreign backend is listed: `triton=HOST:PORT,grpc=HOST:PORT,zone=NAME,model=NAME,...`.

use std::fmt;
use std::str::FromStr;

use headgate_contract::ModelName;
use headgate_contract::fleet::is_zone;

use super::Door;
use crate::config::is_host_and_port;

/// Models that one can be listed with.
const MODELS_MAX: usize = 1_000;

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// NVIDIA's Triton Inference Server.
    Triton,
    /// Seldon's MLServer.
    MlServer,
    /// KServe's Python server.
    KServe,
}

/// A foreign backend as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Which server it is.
    pub server: Server,
    /// `host:port` of its HTTP port.
    pub address: String,
    /// `host:port` of its gRPC port.
    pub grpc: Option<String>,
    /// The models that it is asked for; empty: all that it lists.
    pub models: Vec<ModelName>,
    /// The zone that it runs in; empty: none is known.
    pub zone: String,
}

impl Server {
    const ALL: [Server; 3] = [Server::Triton, Server::MlServer, Server::KServe];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Server::Triton => "triton",
            Server::MlServer => "mlserver",
            Server::KServe => "kserve",
        }
    }

    /// Whether it answers `POST /v2/repository/index`.
    pub(super) const fn has_index(self) -> bool {
        !matches!(self, Server::KServe)
    }
}

impl Spec {
    /// Whether the server takes calls at this door, as it is listed.
    pub(super) fn takes(&self, door: Door) -> bool {
        let server = self.server;
        match door {
            Door::Json | Door::Metadata | Door::Ready => true,
            Door::Binary => server != Server::MlServer,
            Door::Instances | Door::Status => server == Server::KServe,
            Door::Message | Door::MetadataMessage | Door::ReadyMessage => self.grpc.is_some(),
            Door::Statistics => self.grpc.is_some() && server == Server::Triton,
            Door::Other => false,
        }
    }
}

/// As it is written; two that are written alike are the same backend.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.server.as_str(), self.address)?;
        if let Some(grpc) = &self.grpc {
            write!(f, ",grpc={grpc}")?;
        }
        if !self.zone.is_empty() {
            write!(f, ",zone={}", self.zone)?;
        }
        self.models.iter().try_for_each(|model| write!(f, ",model={model}"))
    }
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().and_then(|part| part.split_once('='));
        let named = |name: &str| Server::ALL.into_iter().find(|server| server.as_str() == name);
        let Some((server, address)) = first.and_then(|(name, address)| Some((named(name)?, address))) else {
            let names = Server::ALL.map(|server| format!("{}=HOST:PORT", server.as_str())).join(", ");
            return Err(format!("'{text}' does not begin with one of {names}"));
        };
        let mut spec = Self { server, address: at(address)?, grpc: None, models: Vec::new(), zone: String::new() };
        for part in parts {
            match part.split_once('=') {
                Some(("grpc", address)) if spec.grpc.is_none() => spec.grpc = Some(at(address)?),
                Some(("zone", zone)) if spec.zone.is_empty() && is_zone(zone) => spec.zone = zone.to_owned(),
                Some(("model", name)) if spec.models.len() < MODELS_MAX => {
                    spec.models.push(name.parse().map_err(|error| format!("'{text}': {error}"))?);
                }
                _ => {
                    return Err(format!(
                        "'{text}': '{part}' is none of grpc=HOST:PORT, zone=NAME (each once), model=NAME"
                    ));
                }
            }
        }
        spec.models.sort_unstable();
        spec.models.dedup();
        Ok(spec)
    }
}

fn at(address: &str) -> Result<String, String> {
    if is_host_and_port(address) { Ok(address.to_owned()) } else { Err(format!("'{address}' is no host:port")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let spec: Spec = "triton=gpu-1:8000, grpc=gpu-1:8001,model=b,model=a/JFK,model=b,zone=z1".parse().unwrap();
        assert_eq!(spec.to_string(), "triton=gpu-1:8000,grpc=gpu-1:8001,zone=z1,model=a/JFK,model=b");
        assert_eq!(spec.to_string().parse(), Ok(spec));
        assert_eq!("mlserver=h:1".parse::<Spec>().unwrap().server, Server::MlServer);
        for bad in ["", "h:1", "triton", "triton=h", "torch=h:1", "kserve=h:1,grpc=h", "kserve=h:1,x=1"] {
            assert!(bad.parse::<Spec>().is_err(), "{bad:?}");
        }
        for bad in ["kserve=h:1,model=a b", "kserve=h:1,model", "kserve=h:1,grpc=h:2,grpc=h:3", "kserve=h:1,"] {
            assert!(bad.parse::<Spec>().is_err(), "{bad:?}");
        }
    }
}
