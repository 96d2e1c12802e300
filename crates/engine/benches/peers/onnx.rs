//! ONNX Runtime's C API: a session of one thread, a call a batch.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::rc::Rc;

use crate::contender::{Contender, Failed, Rows};
use crate::library::{Library, c_path};
use crate::plan::{Model, Plan};

type Handle = *mut c_void;
type Status = *mut c_void;

#[repr(C)]
struct ApiBase {
    api: unsafe extern "C" fn(u32) -> *const *const c_void,
    version: unsafe extern "C" fn() -> *const c_char,
}

/// The API is a table of functions that only ever grows at its end: a function's place is its name. These are the places
/// in onnxruntime_c_api.h.
#[derive(Clone, Copy)]
enum Place {
    GetErrorMessage = 2,
    CreateEnv = 3,
    CreateSession = 7,
    Run = 9,
    CreateSessionOptions = 10,
    SetIntraOpNumThreads = 24,
    CreateTensorWithDataAsOrtValue = 49,
    CreateCpuMemoryInfo = 69,
}

type GetErrorMessage = unsafe extern "C" fn(Status) -> *const c_char;
type CreateEnv = unsafe extern "C" fn(c_int, *const c_char, *mut Handle) -> Status;
type CreateSession = unsafe extern "C" fn(Handle, *const c_char, Handle, *mut Handle) -> Status;
type CreateOptions = unsafe extern "C" fn(*mut Handle) -> Status;
type SetThreads = unsafe extern "C" fn(Handle, c_int) -> Status;
type CreateTensor = unsafe extern "C" fn(Handle, *const c_void, usize, *const i64, usize, c_int, *mut Handle) -> Status;
type CreateMemoryInfo = unsafe extern "C" fn(c_int, c_int, *mut Handle) -> Status;
type Names = *const *const c_char;
type Run = unsafe extern "C" fn(Handle, Handle, Names, *const Handle, usize, Names, usize, *mut Handle) -> Status;

/// The version of the API that these functions are of; newer libraries offer it still.
const API_VERSION: u32 = 11;
const LOG_ERRORS: c_int = 3;
const ARENA_ALLOCATOR: c_int = 1;
const DEFAULT_MEMORY: c_int = 0;
const FLOAT: c_int = 1;

/// The table of functions.
#[derive(Clone, Copy)]
struct Api(*const *const c_void);

impl Api {
    fn of(library: &Library) -> Result<Self, Failed> {
        // Safety: onnxruntime_c_api.h: `const OrtApiBase* OrtGetApiBase(void)`.
        let base: unsafe extern "C" fn() -> *const ApiBase = unsafe { library.function("OrtGetApiBase") }?;
        // Safety: the base is a static of the library; `api` gives null for a version that it does not have.
        let api = unsafe { ((*base()).api)(API_VERSION) };
        if api.is_null() { Err("it does not offer the API's version 11".into()) } else { Ok(Self(api)) }
    }

    /// # Safety
    /// `F` is the type that the header declares for the function at this place.
    unsafe fn function<F: Copy>(self, place: Place) -> F {
        // Safety: every place is below the length that the table has had since version 1; a function pointer's bits are
        // read as the type that the caller vouches for.
        unsafe { self.0.add(place as usize).cast::<F>().read() }
    }

    fn check(self, status: Status) -> Result<(), Failed> {
        if status.is_null() {
            return Ok(());
        }
        // Safety: the type of the function; a status that is not null has words, which live as long as it (it is not
        // freed: the bench ends or leaves the engine out).
        let words = unsafe { CStr::from_ptr(self.function::<GetErrorMessage>(Place::GetErrorMessage)(status)) };
        Err(words.to_string_lossy().into_owned().into())
    }
}

struct Onnx {
    api: Api,
    run: Run,
    session: Handle,
    memory: Handle,
    rows: Rc<Rows>,
    batch_rows: usize,
    /// A tensor for each batch, over the rows' values.
    inputs: Vec<Handle>,
    /// A tensor over `out`.
    output: Handle,
    out: Vec<f32>,
}

/// Loads the plan's library and a model; neither is ever freed.
pub(crate) fn load(plan: &Plan, model: &Model, rows: &Rc<Rows>) -> Result<Box<dyn Contender>, Failed> {
    let path = c_path(model.onnx.as_deref().ok_or("not converted")?)?;
    let api = Api::of(&Library::open(plan.library("onnxruntime")?)?)?;
    let (mut env, mut options) = (std::ptr::null_mut(), std::ptr::null_mut());
    let (mut session, mut memory) = (std::ptr::null_mut(), std::ptr::null_mut());
    // Safety: each type is the one that the header declares for its place; texts end in a zero byte; handles are made
    // before they are used and never freed.
    unsafe {
        api.check(api.function::<CreateEnv>(Place::CreateEnv)(LOG_ERRORS, c"peers".as_ptr(), &raw mut env))?;
        api.check(api.function::<CreateOptions>(Place::CreateSessionOptions)(&raw mut options))?;
        api.check(api.function::<SetThreads>(Place::SetIntraOpNumThreads)(options, 1))?;
        let create = api.function::<CreateSession>(Place::CreateSession);
        api.check(create(env, path.as_ptr(), options, &raw mut session))?;
        let memory_info = api.function::<CreateMemoryInfo>(Place::CreateCpuMemoryInfo);
        api.check(memory_info(ARENA_ALLOCATOR, DEFAULT_MEMORY, &raw mut memory))?;
    }
    // Safety: the type that the header declares.
    let run = unsafe { api.function(Place::Run) };
    let (rows, out, output) = (rows.clone(), vec![0.0; rows.count], std::ptr::null_mut());
    Ok(Box::new(Onnx { api, run, session, memory, rows, batch_rows: 1, inputs: Vec::new(), output, out }))
}

impl Onnx {
    /// A tensor of `rows` rows over values that outlive it. It is never freed.
    fn tensor(&self, values: &[f32], rows: usize) -> Result<Handle, Failed> {
        let (shape, mut tensor) = ([rows as i64, (values.len() / rows) as i64], std::ptr::null_mut());
        // Safety: the type that the header declares; the shape is that of the values, whose length is given in bytes.
        let status = unsafe {
            let create = self.api.function::<CreateTensor>(Place::CreateTensorWithDataAsOrtValue);
            let (data, bytes) = (values.as_ptr().cast(), size_of_val(values));
            create(self.memory, data, bytes, shape.as_ptr(), shape.len(), FLOAT, &raw mut tensor)
        };
        self.api.check(status)?;
        Ok(tensor)
    }
}

impl Contender for Onnx {
    fn prepare(&mut self, rows: usize) -> Result<(), Failed> {
        self.batch_rows = rows;
        let batches = 0..self.rows.count / rows;
        self.inputs = batches.map(|b| self.tensor(self.rows.batch_f32(b, rows), rows)).collect::<Result<_, _>>()?;
        self.output = self.tensor(&self.out[..rows], rows)?;
        Ok(())
    }

    fn score(&mut self, batch: usize) -> Result<(), Failed> {
        let (input_name, output_name) = (c"rows".as_ptr(), c"margins".as_ptr());
        let no_options = std::ptr::null_mut();
        // Safety: one name and one live tensor on either side; the output's tensor has room for a margin a row.
        let status = unsafe {
            let (inputs, outputs) = (&raw const self.inputs[batch], &raw mut self.output);
            (self.run)(self.session, no_options, &raw const input_name, inputs, 1, &raw const output_name, 1, outputs)
        };
        self.api.check(status)
    }

    fn margins(&mut self, batch: usize) -> Result<Vec<f64>, Failed> {
        self.score(batch)?;
        Ok(self.out[..self.batch_rows].iter().map(|&m| m.into()).collect())
    }
}
