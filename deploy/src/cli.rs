//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use headgate_contract::{ModelName, Version};

use crate::output::Style;

/// Headgate serves models from a bucket: trainers publish numbered versions, backends prove them and swap them in, a
/// gateway moves the traffic.
#[derive(Debug, Parser)]
#[command(name = "headgate", version, max_term_width = 110)]
pub(crate) struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The store: s3://bucket/prefix or file:///dir. Without it, the one of `headgate up` in this directory
    #[arg(long, global = true, env = "HEADGATE_STORE", value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole system on this machine: file store, sample model, two backends, a gateway
    Up(Up),
    /// Train models from a data set and publish them
    Train(headgate_trainer::TrainArgs),
    /// Publish a model file that was made elsewhere
    Publish(headgate_trainer::PublishArgs),
    /// List models, or the versions of one
    Versions(Versions),
    /// Show what is served, where, and why
    Status(Status),
    /// Let a version serve
    Promote(Promote),
    /// Take the last change of what a model serves back
    Rollback(Rollback),
    /// Give a version a name, as in `canary`
    Label(Label),
    /// Change how a model is released: strict, sticky, fallback, keep
    Configure(Configure),
    /// Stop all promotions; rollbacks stay possible
    Freeze(Freeze),
    /// Allow promotions again
    Unfreeze,
    /// Show or restore earlier catalogs
    #[command(subcommand)]
    Catalog(Catalog),
    /// Fetch a version, check its digests and prove it, as a backend would
    Verify(Verify),
    /// Run a gateway
    Gateway(headgate_gateway::Cli),
    /// Run a backend
    Backend(headgate_backend::Cli),
}

/// `headgate up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// How many backends
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) backends: u16,
    /// Where the gateway answers
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Where the gateway's admin port answers
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub(crate) admin: SocketAddr,
    /// Where store, caches and logs are kept
    #[arg(long, default_value = ".headgate", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Don't train the sample model
    #[arg(long)]
    pub(crate) no_sample: bool,
    /// Run versions that bring Python code with this interpreter: whoever may write to the store then runs code here
    #[arg(long, value_name = "PYTHON")]
    pub(crate) process_python: Option<String>,
}

/// `headgate versions`.
#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// The model; without it, all models are listed
    pub(crate) model: Option<ModelName>,
}

/// Where a running gateway is.
#[derive(Clone, Debug, Args)]
pub(crate) struct Admin {
    /// The gateway's admin address. Without it, the one of `headgate up` in this directory
    #[arg(long, value_name = "ADDRESS", env = "HEADGATE_ADMIN")]
    pub(crate) admin: Option<String>,
    /// The token of the admin port
    #[arg(long, value_name = "TOKEN", env = "HEADGATE_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) admin_token: Option<String>,
}

/// `headgate status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this model
    pub(crate) model: Option<ModelName>,
    /// Where the gateway is
    #[command(flatten)]
    pub(crate) admin: Admin,
    /// Show it again every second, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

/// `headgate promote`.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The model
    pub(crate) model: ModelName,
    /// The version
    pub(crate) version: Version,
    /// Give it only this part of the traffic, in percent; the version served now keeps the rest
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) weight: Option<u32>,
    /// Only if this holds on the metrics in the manifests, as in "auc >= stable - 0.005"
    #[arg(long = "if", value_name = "CONDITION")]
    pub(crate) condition: Option<String>,
    /// Promote even where the gate refuses
    #[arg(long)]
    pub(crate) force: bool,
    /// The reason, kept in the history
    #[arg(long, default_value = "")]
    pub(crate) why: String,
    /// Where the gateway is: told at once, it need not wait for the next poll
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `headgate rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The model
    pub(crate) model: ModelName,
    /// The reason, kept in the history
    #[arg(long, default_value = "")]
    pub(crate) why: String,
    /// Where the gateway is: told at once, it need not wait for the next poll
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `headgate label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The model
    pub(crate) model: ModelName,
    /// The label
    pub(crate) label: String,
    /// The version; without it the label is removed
    pub(crate) version: Option<Version>,
    /// Where the gateway is
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `headgate configure`. What is not named stays as it is.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("setting").required(true).multiple(true))]
pub(crate) struct Configure {
    /// The model; one without a release gets one that serves nothing
    pub(crate) model: ModelName,
    /// Refuse features that the version does not know
    #[arg(long, group = "setting", value_name = "true|false")]
    pub(crate) strict: Option<bool>,
    /// The request header whose hash picks the version; `none` lets each request draw
    #[arg(long, group = "setting", value_name = "HEADER")]
    pub(crate) sticky: Option<String>,
    /// The model that answers for unknown scopes of this one; `none` takes it away
    #[arg(long, group = "setting", value_name = "MODEL")]
    pub(crate) fallback: Option<String>,
    /// How many earlier good versions stay resident
    #[arg(long, group = "setting", value_name = "N")]
    pub(crate) keep: Option<u32>,
    /// Where the gateway is
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `headgate freeze`.
#[derive(Debug, Args)]
pub(crate) struct Freeze {
    /// The reason, shown to whoever tries to promote
    #[arg(long)]
    pub(crate) why: String,
}

/// `headgate catalog`.
#[derive(Debug, Subcommand)]
pub(crate) enum Catalog {
    /// List the catalog's generations, newest first
    Log {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Make an earlier generation today's
    Restore {
        /// The generation
        generation: u64,
        /// The reason, kept in the catalog
        #[arg(long, default_value = "")]
        why: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        /// Where the gateway is
        #[command(flatten)]
        admin: Admin,
    },
}

/// `headgate verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The model
    pub(crate) model: ModelName,
    /// The version
    pub(crate) version: Version,
}

impl Global {
    /// How to print.
    pub(crate) fn style(&self) -> Style {
        if self.json { Style::Json } else { Style::Text }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_two_arguments_have_one_name() {
        super::Arguments::command().debug_assert();
    }
}
