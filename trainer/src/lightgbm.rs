//! LightGBM's shared library, loaded at run time: nothing of it is built or linked here.

pub mod booster;
mod ffi;
pub mod find;
pub mod params;
pub mod rounds;

pub use booster::{Booster, Dataset, Matrix};

use std::path::{Path, PathBuf};

/// What manifests call the engine of its models.
pub const NAME: &str = "lightgbm";

/// The loaded library. Cheap to copy; it stays loaded until the process ends.
#[derive(Clone, Debug)]
pub struct Library {
    api: ffi::Api,
    path: PathBuf,
    version: String,
}

/// Why LightGBM did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LightgbmError {
    /// It is not on this machine. The caller's to mend.
    #[error(
        "LightGBM's library {0} was not found: `pip install lightgbm` in a .venv here, `make setup`, or name the file \
         with --lightgbm or HEADGATE_LIGHTGBM"
    )]
    NotFound(&'static str),
    /// A file is no such library, or can't be loaded (libgomp1 is missing, say).
    #[error("can't load {path}: {why}")]
    Load {
        /// The file.
        path: String,
        /// The loader's words.
        why: String,
    },
    /// It refused; mostly the caller's fault: a wrong parameter, say.
    #[error("lightgbm: {0}")]
    Refused(String),
    /// Too much for its 32-bit counts.
    #[error("{what} is {came}: LightGBM takes {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How many.
        came: usize,
        /// At most.
        limit: usize,
    },
}

impl Library {
    /// Finds and loads it. `named` is what the user named; see [`find`] for where else it is looked for.
    pub fn open(named: Option<&Path>) -> Result<Self, LightgbmError> {
        let path = find::find(named)?;
        let api = ffi::Api::load(&path)?;
        let version = find::version(&path);
        Ok(Self { api, path, version })
    }

    /// Where it was found; a bare file name is the system loader's.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version; where nothing beside it tells, the beginning of the file's digest, and `unknown` where the system's
    /// loader found it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Every parameter that it knows, and its other names, as JSON.
    fn parameter_names(&self) -> Result<String, LightgbmError> {
        self.api.parameter_names()
    }
}
