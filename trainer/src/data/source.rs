//! From what `--data` says to files.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use headgate_registry::{Store, StoreOptions, StoreUrl};

use super::{Body, DataError, Input};

/// The most files that one `--data` stands for.
const FILES_MAX: usize = 10_000;
/// The largest object that is read from a store, in bytes.
const OBJECT_BYTES_MAX: u64 = 16 << 30;

/// Where data is.
#[derive(Clone, Debug)]
pub enum Source {
    /// A path, a glob, a folder, or a store's URL (`s3://bucket/prefix/*.parquet`, `file:///dir/x.csv`).
    Uri(String),
    /// A file in memory.
    Bytes {
        /// What it is called in messages and in a version's lineage.
        name: String,
        /// Its content: CSV, plain or gzip, or Parquet.
        bytes: Bytes,
    },
}

/// Finds the files that sources stand for, sorted by name within each; objects of a store are read into memory.
pub async fn resolve(sources: &[Source], options: &StoreOptions) -> Result<Vec<Input>, DataError> {
    let mut inputs = Vec::new();
    for source in sources {
        match source {
            Source::Bytes { name, bytes } => {
                inputs.push(Input { uri: name.clone(), body: Body::Bytes(bytes.clone()) });
            }
            Source::Uri(uri) => match uri.strip_prefix("file://") {
                None if uri.contains("://") => inputs.extend(from_store(uri, options).await?),
                path => {
                    let path = path.unwrap_or(uri).to_owned();
                    let found = tokio::task::spawn_blocking(move || from_path(&path)).await;
                    inputs.extend(found.map_err(|error| nothing(uri, error))??);
                }
            },
        }
        if inputs.len() > FILES_MAX {
            return Err(DataError::Nothing(format!("more than {FILES_MAX} files")));
        }
    }
    Ok(inputs)
}

fn nothing(uri: &str, why: impl std::fmt::Display) -> DataError {
    DataError::Nothing(format!("{uri}: {why}"))
}

fn wild(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a file of a folder is read; all of a glob's are.
fn is_data(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq"].iter().any(|end| name.ends_with(end))
}

fn from_path(uri: &str) -> Result<Vec<Input>, DataError> {
    let path = Path::new(uri);
    let failed = |source| DataError::Read { uri: uri.to_owned(), source };
    let mut paths: Vec<PathBuf> = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        entries.into_iter().map(|e| e.path()).filter(|p| is_data(&p.to_string_lossy()) && p.is_file()).collect()
    } else if wild(uri) && !path.exists() {
        let found = glob::glob(uri).map_err(|error| nothing(uri, error))?;
        let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| nothing(uri, error))?;
        found.into_iter().filter(|p| p.is_file()).collect()
    } else {
        vec![path.to_owned()]
    };
    if paths.is_empty() {
        return Err(nothing(uri, "no file (.csv, .csv.gz, .tsv, .parquet) is there"));
    }
    paths.sort();
    Ok(paths.into_iter().map(|p| Input { uri: p.display().to_string(), body: Body::Path(p) }).collect())
}

async fn from_store(uri: &str, options: &StoreOptions) -> Result<Vec<Input>, DataError> {
    let failed = |what: &dyn std::fmt::Display| DataError::Store { uri: uri.to_owned(), what: what.to_string() };
    let (folder, file) =
        split(uri).ok_or_else(|| nothing(uri, "a bucket and a key expected, as in s3://bucket/key"))?;
    let url: StoreUrl = folder.parse().map_err(|error| failed(&error))?;
    let store = Store::open(&url, options).await.map_err(|error| failed(&error))?;
    let keys = if file.is_empty() || wild(file) {
        let pattern = glob::Pattern::new(file).map_err(|error| nothing(uri, error))?;
        let listed = store.list("").await.map_err(|error| failed(&error))?.keys;
        let fits = |key: &String| if file.is_empty() { is_data(key) } else { pattern.matches(key) };
        listed.into_iter().filter(fits).collect()
    } else {
        vec![file.to_owned()]
    };
    if keys.is_empty() || keys.len() > FILES_MAX {
        return Err(nothing(uri, format!("{} objects fit, 1 to {FILES_MAX} expected", keys.len())));
    }
    let mut inputs = Vec::with_capacity(keys.len());
    for key in keys {
        let object = store.get(&key, OBJECT_BYTES_MAX).await.map_err(|error| failed(&error))?;
        inputs.push(Input { uri: format!("{folder}/{key}"), body: Body::Bytes(object.bytes) });
    }
    Ok(inputs)
}

/// Splits a URL into a folder and what is named in it; a wildcard is only taken in the last part.
fn split(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let at = rest.rfind('/')?;
    let (folder, file) = uri.split_at(scheme.len() + 3 + at);
    (!wild(folder)).then_some((folder, &file[1..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_split_at_their_last_slash() {
        assert_eq!(split("s3://b/a/x*.csv"), Some(("s3://b/a", "x*.csv")));
        assert_eq!(split("s3://bucket/x.csv"), Some(("s3://bucket", "x.csv")));
        assert_eq!(split("s3://bucket/a/"), Some(("s3://bucket/a", "")));
        assert_eq!(split("s3://bucket"), None);
        assert_eq!(split("s3://bucket/a*/x.csv"), None);
    }

    #[test]
    fn paths_globs_and_folders_name_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "c.txt", "d.parquet"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let names = |uri: String| -> Vec<String> {
            from_path(&uri).unwrap().into_iter().map(|i| i.uri.rsplit('/').next().unwrap().to_owned()).collect()
        };
        let dir = dir.path().display();
        assert_eq!(names(format!("{dir}/*.csv")), ["a.csv", "b.csv"]);
        assert_eq!(names(format!("{dir}")), ["a.csv", "b.csv", "d.parquet"]);
        assert_eq!(names(format!("{dir}/c.txt")), ["c.txt"]);
        assert!(from_path(&format!("{dir}/*.json")).unwrap_err().to_string().contains("no file"));
    }
}
