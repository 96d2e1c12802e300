//! Configuration: flag over environment over one TOML file over default.
//!
//! Variables are `HEADGATE__SECTION__KEY`; those with a single underscore are ignored, as Kubernetes injects
//! `HEADGATE_PORT` and the like. An unknown key is an error that names the nearest known one.

use figment::error::Kind as FigmentKind;
use figment::providers::{Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;

const PREFIX: &str = "HEADGATE__";

/// Where values come from, weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file's name and text.
    pub file: Option<(String, String)>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Flags, as `section.key` and a TOML value or plain text.
    pub flags: Vec<(String, String)>,
}

/// Why a configuration is refused. The operator's fault; a retry does not help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Reads a `T` from its default, overlaid by `sources`.
pub fn read<T: Serialize + DeserializeOwned + Default>(sources: &Sources) -> Result<T, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some((name, text)) = &sources.file {
        // Parsed here first: the parser's own words name line and column.
        text.parse::<toml::Table>().map_err(|e| ConfigError(format!("{name}: {e}")))?;
        figment = figment.merge(Named { name: name.clone(), provider: Toml::string(text) });
    }
    let mut singles = singles(sources);
    loop {
        let overlaid = singles.iter().fold(figment.clone(), |figment, single| figment.merge(single));
        let error = match overlaid.extract() {
            Ok(read) => return Ok(read),
            Err(error) => error,
        };
        // What looks like a number may be meant as text: a token of digits, say. The type that is expected tells.
        let misread = singles.iter_mut().find(|single| {
            let text_expected =
                matches!(&error.kind, FigmentKind::InvalidType(_, expected) if expected.contains("string"));
            !single.as_text && text_expected && error.path.join(".") == single.path
        });
        match misread {
            Some(single) => single.as_text = true,
            None => return Err(refuse(error)),
        }
    }
}

/// Environment, then flags.
fn singles(sources: &Sources) -> Vec<Single> {
    let variables = sources.environment.iter().filter_map(|(key, value)| {
        let path = key.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", ".");
        Some(Single { source: key.clone(), path, value: value.clone(), as_text: false })
    });
    let flags = sources.flags.iter().map(|(path, value)| {
        // Keys of a section have no flag of their own name, or one that means the same.
        let source = if path.contains('.') { format!("--set {path}") } else { format!("--{path}") };
        Single { source, path: path.clone(), value: value.clone(), as_text: false }
    });
    variables.chain(flags).collect()
}

fn refuse(error: figment::Error) -> ConfigError {
    ConfigError(error.into_iter().map(explain).collect::<Vec<_>>().join("\n"))
}

/// A provider of one value.
struct Single {
    source: String,
    path: String,
    value: String,
    /// Whether the value is text even where it could be read as something else.
    as_text: bool,
}

impl Provider for &Single {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        // Typed like TOML where it is TOML (numbers, booleans, arrays), text otherwise.
        let value: Value = match format!("v = {}", self.value).parse::<toml::Table>() {
            Ok(table) if table.len() == 1 && !self.as_text => Value::serialize(table.get("v"))?,
            _ => Value::from(self.value.clone()),
        };
        let nested = figment::util::nest(&self.path, value);
        let dict = nested.into_dict().unwrap_or_default();
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// A provider under the name that the operator knows it by.
struct Named<P> {
    name: String,
    provider: P,
}

impl<P: Provider> Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.provider.data()
    }
}

fn explain(error: figment::Error) -> String {
    let source = error.metadata.as_ref().map_or_else(|| "configuration".to_owned(), |m| m.name.to_string());
    let mut path = error.path.clone();
    match &error.kind {
        FigmentKind::UnknownField(field, known) => {
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            let nearest =
                known.iter().max_by(|a, b| strsim::jaro_winkler(field, a).total_cmp(&strsim::jaro_winkler(field, b)));
            let nearest = nearest.map_or_else(String::new, |n| format!("; the nearest known one is '{n}'"));
            format!("{source}: unknown key '{}'{nearest}", path.join("."))
        }
        FigmentKind::InvalidType(_, expected) if expected.contains("sequence") => {
            format!("{source}: '{}': {}, as in [\"a\", \"b\"]", path.join("."), error.kind)
        }
        kind => format!("{source}: '{}': {kind}", path.join(".")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        listen: String,
        retry: Retry,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Retry {
        attempts_max: u32,
        budget: f64,
        on: Vec<String>,
    }

    impl Default for Config {
        fn default() -> Self {
            Self { listen: "127.0.0.1:8080".into(), retry: Retry { attempts_max: 3, budget: 0.2, on: vec![] } }
        }
    }

    fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
        let owned = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Sources {
            file: Some(("gateway.toml".into(), file.into())),
            environment: owned(environment),
            flags: owned(flags),
        }
    }

    #[test]
    fn flag_over_environment_over_file_over_default() {
        let text = "[retry]\nattempts_max = 4\nbudget = 0.5";
        let environment =
            [("HEADGATE__RETRY__ATTEMPTS_MAX", "5"), ("HEADGATE_PORT", "x"), ("HEADGATE__RETRY__ON", "[\"a\"]")];
        let config: Config = read(&sources(text, &environment, &[("listen", "0.0.0.0:1")])).unwrap();
        assert_eq!(config.listen, "0.0.0.0:1");
        assert_eq!(config.retry, Retry { attempts_max: 5, budget: 0.5, on: vec!["a".into()] });
        let config: Config = read(&sources("", &environment[..1], &[("retry.attempts_max", "6")])).unwrap();
        assert_eq!((config.retry.attempts_max, config.retry.budget), (6, 0.2));
    }

    #[test]
    fn an_unknown_key_names_its_place_and_the_nearest_known_one() {
        let error = read::<Config>(&sources("[retry]\natempts_max = 4", &[], &[])).unwrap_err().to_string();
        assert_eq!(error, "gateway.toml: unknown key 'retry.atempts_max'; the nearest known one is 'attempts_max'");
        let error = read::<Config>(&sources("", &[("HEADGATE__LISTN", "x")], &[])).unwrap_err().to_string();
        assert!(error.contains("HEADGATE__LISTN") && error.contains("'listen'"), "{error}");
    }

    #[test]
    fn text_that_looks_like_a_number_stays_text() {
        let config: Config = read(&sources("", &[("HEADGATE__LISTEN", "0123456789012345")], &[])).unwrap();
        assert_eq!(config.listen, "0123456789012345");
        let config: Config = read(&sources("", &[], &[("listen", "true"), ("retry.attempts_max", "7")])).unwrap();
        assert_eq!((config.listen.as_str(), config.retry.attempts_max), ("true", 7));
    }

    #[test]
    fn a_wrong_type_and_broken_toml_name_their_place() {
        let error = read::<Config>(&sources("[retry]\nbudget = \"x\"", &[], &[])).unwrap_err().to_string();
        assert!(error.contains("gateway.toml") && error.contains("retry.budget"), "{error}");
        let error = read::<Config>(&sources("", &[], &[("retry.on", "a")])).unwrap_err().to_string();
        assert!(error.starts_with("--set retry.on: ") && error.ends_with("as in [\"a\", \"b\"]"), "{error}");
        let error = read::<Config>(&sources("[retry\n", &[], &[])).unwrap_err().to_string();
        assert!(error.contains("gateway.toml") && error.contains("line 1"), "{error}");
    }
}
