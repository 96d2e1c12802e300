//! The grammar of paths: any text is a route or is refused, and a name that it gives reads back.
#![no_main]

use headgate_contract::route::{Route, parse};
use headgate_contract::ModelName;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    for method in ["GET", "POST"] {
        if let Ok(Route::Predict(_, target) | Route::ModelMetadata(target)) = parse(method, path) {
            let name = target.model.as_str().parse::<ModelName>();
            assert_eq!(name.as_ref(), Ok(&target.model));
            assert!(!target.model.as_str().split('/').any(|segment| segment.starts_with('.')));
        }
    }
});
