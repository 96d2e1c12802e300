//! Loading a peer's shared library.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int};
use std::path::Path;

use crate::contender::Failed;

/// A shared library, never unloaded: its threads and its functions live as long as the process.
pub(crate) struct Library(&'static libloading::Library);

impl Library {
    /// Loads a library.
    pub(crate) fn open(path: &Path) -> Result<Self, Failed> {
        // Safety: its initialisers are as safe as the library; the bench's own environment installed or compiled it.
        let library = unsafe { libloading::Library::new(path) }.map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Self(Box::leak(Box::new(library))))
    }

    /// Looks a function up.
    ///
    /// # Safety
    /// `F` is the type that the library's header declares for `name`: an `extern "C"` function pointer.
    pub(crate) unsafe fn function<F: Copy>(&self, name: &str) -> Result<F, Failed> {
        // Safety: the caller vouches for the type; the library is never unloaded, so that the copy stays valid.
        Ok(*unsafe { self.0.get::<F>(name.as_bytes()) }.map_err(|why| format!("{name}: {why}"))?)
    }
}

/// What the C interfaces of LightGBM, XGBoost and treelite share: a status, and a function that puts it in words.
pub(crate) struct Errors {
    name: &'static str,
    last: unsafe extern "C" fn() -> *const c_char,
}

impl Errors {
    /// From the name of the function that gives the last error's words.
    pub(crate) fn of(library: &Library, name: &'static str) -> Result<Self, Failed> {
        // Safety: all three headers declare `const char* name(void)`.
        Ok(Self { name, last: unsafe { library.function(name) }? })
    }

    /// An error where the status is not 0.
    pub(crate) fn check(&self, status: c_int) -> Result<(), Failed> {
        if status == 0 {
            return Ok(());
        }
        // Safety: the function returns a string that lives until this thread's next error.
        let words = unsafe { std::ffi::CStr::from_ptr((self.last)()) }.to_string_lossy().trim().to_owned();
        Err(format!("{}: {words}", self.name).into())
    }
}

/// A path as C takes it.
pub(crate) fn c_path(path: &Path) -> Result<CString, Failed> {
    Ok(CString::new(path.to_string_lossy().into_owned())?)
}
