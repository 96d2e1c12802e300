//! From a URI to a [`Table`]: CSV (plain or gzip) and Parquet, from a path, a glob, a store's URL, or bytes in memory.
//!
//! A CSV file is read twice, once to see what each column is over its whole length, once to fill the columns: memory is
//! then the table's own, whatever the texts were.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use bytes::Bytes;
use headgate_contract::Digest;
use sha2::Digest as _;

use crate::table::Table;

mod cell;
mod csv;
pub mod date;
mod parquet;
mod source;

pub use source::{Source, resolve};

/// The most columns a table has.
pub const COLUMNS_MAX: usize = 20_000;
/// The most rows a table has.
pub const ROWS_MAX: usize = 1 << 31;

/// One file to read.
#[derive(Debug)]
pub struct Input {
    /// What it is called in messages and in a version's lineage.
    pub uri: String,
    /// Where its bytes are.
    pub body: Body,
}

/// Where a file's bytes are.
#[derive(Debug)]
pub enum Body {
    /// A file on this machine.
    Path(PathBuf),
    /// In memory.
    Bytes(Bytes),
}

/// A table, what it was read from, and what was noticed.
#[derive(Debug)]
pub struct Data {
    /// The rows of all files, in order.
    pub table: Table,
    /// The files.
    pub uris: Vec<String>,
    /// The digest of each file's bytes.
    pub digests: Vec<Digest>,
    /// What was left out, in words.
    pub notes: Vec<String>,
}

/// Why data can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file can't be opened or read: the caller's fault where it is not there, else a retry may help.
    #[error("can't read {uri}: {source}")]
    Read {
        /// The file.
        uri: String,
        /// The system's words.
        source: io::Error,
    },
    /// A file ends before its end. The caller's fault: it was not copied whole.
    #[error("{uri} is cut short: {what}")]
    CutShort {
        /// The file.
        uri: String,
        /// What ended.
        what: String,
    },
    /// A file is broken, or of a kind that is not read. The caller's fault.
    #[error("{uri}: {what}")]
    Broken {
        /// The file.
        uri: String,
        /// What is wrong, and where.
        what: String,
    },
    /// Nothing is there. The caller's fault.
    #[error("no data: {0}")]
    Nothing(String),
    /// Files that don't fit together. The caller's fault.
    #[error("{uri} does not fit the files before it: {what}")]
    Differs {
        /// The file.
        uri: String,
        /// What is wrong.
        what: String,
    },
    /// A store's words.
    #[error("can't read data: {what}")]
    Store {
        /// The URI.
        uri: String,
        /// What the store said.
        what: String,
    },
}

/// Reads the files into one table. Blocks.
pub fn read(inputs: &[Input]) -> Result<Data, DataError> {
    let (mut csv, mut parquet) = (false, false);
    for input in inputs {
        match format(input)? {
            Format::Parquet => parquet = true,
            Format::Csv => csv = true,
        }
    }
    let data = match (csv, parquet) {
        (true, false) => csv::read(inputs)?,
        (false, true) => parquet::read(inputs)?,
        (true, true) => {
            return Err(DataError::Nothing("CSV and Parquet files can't be mixed in one --data".to_owned()));
        }
        (false, false) => return Err(DataError::Nothing("no file was named".to_owned())),
    };
    if data.table.rows == 0 {
        return Err(DataError::Nothing(format!("{} has no rows", data.uris.join(", "))));
    }
    Ok(data)
}

enum Format {
    Csv,
    Parquet,
}

fn format(input: &Input) -> Result<Format, DataError> {
    let mut head = [0; 4];
    let mut reader = input.open()?;
    let mut filled = 0;
    while filled < head.len() {
        match reader.read(&mut head[filled..]).map_err(|source| input.failed(source))? {
            0 => break,
            read => filled += read,
        }
    }
    match &head[..filled] {
        [] => Err(DataError::Nothing(format!("{} is empty", input.uri))),
        b"PAR1" => Ok(Format::Parquet),
        [b'P', b'K', 3, 4] => Err(input.broken("a zip archive: CSV, plain or gzip, or Parquet expected")),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(input.broken("compressed with zstd: CSV, plain or gzip, or Parquet expected")),
        _ => Ok(Format::Csv),
    }
}

// === impl Input ===

impl Input {
    fn open(&self) -> Result<Box<dyn Read>, DataError> {
        match &self.body {
            Body::Bytes(bytes) => Ok(Box::new(io::Cursor::new(bytes.clone()))),
            Body::Path(path) => Ok(Box::new(File::open(path).map_err(|source| self.failed(source))?)),
        }
    }

    fn failed(&self, source: io::Error) -> DataError {
        DataError::Read { uri: self.uri.clone(), source }
    }

    fn broken(&self, what: impl Into<String>) -> DataError {
        DataError::Broken { uri: self.uri.clone(), what: what.into() }
    }
}

/// Digests what passes through.
struct Hashing<R> {
    inner: R,
    hasher: sha2::Sha256,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: sha2::Sha256::new() }
    }

    /// Reads to the end; the digest of everything.
    fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digest::from_bytes(self.hasher.finalize().into()))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
