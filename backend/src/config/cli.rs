//! Flags.

use std::path::PathBuf;

use headgate_contract::config::{ConfigError, Sources};

use super::Config;

/// Flags of the model server. Every key of the configuration can be given as `--set section.key=value`, as
/// `HEADGATE__SECTION__KEY` in the environment, or in the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Cli {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The store: s3://bucket/prefix or file:///dir
    #[arg(long, env = "HEADGATE_STORE", value_name = "URL")]
    pub store: Option<String>,
    /// Where to listen
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where fetched versions are kept; an absolute path
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// The stable name that gateways know this backend by; by default its host and port
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// The model that answers /invocations, as SageMaker's and MLflow's callers know it
    #[arg(long, value_name = "MODEL")]
    pub default_model: Option<String>,
    /// What is logged: info, headgate_backend=debug, ...
    #[arg(long, env = "HEADGATE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Any key of the configuration
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,
}

impl Cli {
    /// The configuration that these flags, the environment and the file make.
    pub fn read(&self) -> Result<Config, ConfigError> {
        Config::read(&self.sources(std::env::vars().collect())?)
    }

    fn sources(&self, environment: Vec<(String, String)>) -> Result<Sources, ConfigError> {
        let file = match &self.config {
            None => None,
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|e| ConfigError(format!("{name}: {e}")))?;
                Some((name, text))
            }
        };
        let mut flags = Vec::new();
        let cache = self.cache.as_ref().map(|dir| dir.display().to_string());
        for (key, value) in [
            ("store", &self.store),
            ("listen", &self.listen),
            ("cache.dir", &cache),
            ("instance", &self.instance),
            ("default_model", &self.default_model),
            ("log.filter", &self.log),
        ] {
            flags.extend(value.as_ref().map(|v| (key.to_owned(), v.clone())));
        }
        for set in &self.set {
            let (key, value) =
                set.split_once('=').ok_or_else(|| ConfigError(format!("--set {set}: KEY=VALUE expected")))?;
            flags.push((key.to_owned(), value.to_owned()));
        }
        Ok(Sources { file, environment, flags })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn flags_come_last() {
        let cli = Cli {
            store: Some("file:///flag".into()),
            cache: Some("/flag/cache".into()),
            instance: Some("7".into()),
            default_model: Some("bank".into()),
            set: vec!["limits.rows_max=7".into(), "log.format=json".into()],
            ..Cli::default()
        };
        let environment = vec![("HEADGATE__STORE".to_owned(), "file:///environment".to_owned())];
        let config = Config::read(&cli.sources(environment).unwrap()).unwrap();
        assert_eq!(config.store.to_string(), "file:///flag");
        assert_eq!((config.cache.dir.to_str(), config.instance.as_deref()), (Some("/flag/cache"), Some("7")));
        assert_eq!((config.limits.rows_max, config.log.json), (7, true));
        assert_eq!(config.default_model, Some("bank".parse().unwrap()));
        let cli = Cli { set: vec!["x".into()], ..Cli::default() };
        assert!(cli.sources(vec![]).unwrap_err().to_string().contains("KEY=VALUE"));
        let cli = Cli { config: Some("/nowhere/at/all.toml".into()), ..Cli::default() };
        assert!(cli.sources(vec![]).unwrap_err().to_string().contains("/nowhere/at/all.toml"));
    }
}
