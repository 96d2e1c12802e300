//! The commands, a file each.

use std::process::ExitCode;

use headgate_registry::{Store, StoreError, StoreOptions, StoreUrl};

use crate::cli::{Command, Global};
use crate::place::{self, PlaceError};
use crate::{client, up};

mod catalog;
mod release;
mod status;
pub(crate) mod train;
mod verify;
mod versions;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// Store or gateway are not named.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The store's URL can't be read.
    #[error(transparent)]
    Url(#[from] headgate_registry::store::UrlError),
    /// The variables of a backend hold what is no good.
    #[error(transparent)]
    Config(#[from] headgate_contract::config::ConfigError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalog was not changed.
    #[error(transparent)]
    Release(#[from] headgate_registry::release::ReleaseError),
    /// A version can't be told.
    #[error(transparent)]
    Version(#[from] headgate_registry::versions::VersionError),
    /// The catalog can't be read.
    #[error(transparent)]
    Watch(#[from] headgate_registry::watch::WatchError),
    /// A part of the system did not answer.
    #[error(transparent)]
    Client(#[from] client::ClientError),
    /// `up` ended.
    #[error(transparent)]
    Up(#[from] up::UpError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] headgate_trainer::TrainError),
    /// Publishing failed.
    #[error(transparent)]
    Publish(#[from] headgate_trainer::PublishError),
    /// A version does not do what its manifest says.
    #[error("{0}")]
    Unproven(String),
    /// The system refused something.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Runs a command that is no server.
pub(crate) async fn run(global: &Global, command: Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::Up(args) => return Ok(up::run(global, args).await?),
        Command::Train(args) => return train::train(global, args).await,
        Command::Publish(args) => return train::publish(global, args).await,
        Command::Versions(args) => versions::run(global, args).await?,
        Command::Status(args) => status::run(global, args).await?,
        Command::Promote(args) => release::promote(global, args).await?,
        Command::Rollback(args) => release::rollback(global, args).await?,
        Command::Label(args) => release::label(global, args).await?,
        Command::Configure(args) => release::configure(global, args).await?,
        Command::Freeze(args) => catalog::freeze(global, args).await?,
        Command::Unfreeze => catalog::unfreeze(global).await?,
        Command::Catalog(args) => return catalog::run(global, args).await,
        Command::Verify(args) => verify::run(global, args).await?,
        // Servers are entered by `main`, outside of this runtime.
        Command::Gateway(_) | Command::Backend(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the store that the caller named, or that of `headgate up` in this directory.
async fn open_store(global: &Global) -> Result<Store, CommandError> {
    let url: StoreUrl = place::store(global.store.as_deref())?.parse()?;
    Ok(Store::open(&url, &StoreOptions::from_env()).await?)
}
