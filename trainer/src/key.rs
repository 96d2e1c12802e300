//! Build keys: the same data, code and parameters are the same version.

use headgate_contract::Digest;

use crate::args::TrainArgs;
use crate::lightgbm::Library;
use crate::lightgbm::params::Parameters;

/// Changed when the same inputs would give another model, for a reason that no version number below tells.
const FORMAT: &str = "headgate.train/1";

/// The code that trains, for keys and for a version's lineage.
pub(crate) fn code(library: &Library) -> String {
    format!("headgate-trainer {}, lightgbm {}", env!("CARGO_PKG_VERSION"), library.version())
}

/// The key of a training, or of one scope of it. A salt makes it another one.
pub(crate) fn train(
    args: &TrainArgs,
    parameters: &Parameters,
    data: &[Digest],
    library: &Library,
    scope: Option<&str>,
    salt: Option<&str>,
) -> Digest {
    let mut parts: Vec<String> = vec![FORMAT.to_owned(), code(library)];
    let mut named = |name: &str, values: Vec<String>| {
        parts.push(format!("{name} {}", values.len()));
        parts.extend(values);
    };
    let sorted = |values: &[String]| {
        let mut values = values.to_vec();
        values.sort();
        values
    };
    named("data", data.iter().map(Digest::to_string).collect());
    named("target", vec![args.target.clone()]);
    named("where", args.filter.iter().map(|text| text.trim().to_owned()).collect());
    named("parameters", parameters.given().iter().map(|(name, value)| format!("{name}={value}")).collect());
    named("seed", vec![args.seed.to_string()]);
    named("categorical", sorted(&args.categorical));
    named("numeric", sorted(&args.numeric));
    named("ignore", sorted(&args.ignore));
    named("objective", args.objective.iter().cloned().collect());
    named("positive", args.positive.iter().cloned().collect());
    named("categories_max", vec![args.categories_max.to_string()]);
    named("scope_by", args.scope_by.iter().cloned().collect());
    named("scope", scope.map(str::to_owned).into_iter().collect());
    named("salt", salt.map(str::to_owned).into_iter().collect());
    Digest::of_parts(parts.iter().map(String::as_bytes))
}

/// A salt that no other training has.
pub(crate) fn salt() -> String {
    format!("{:032x}", rand::random::<u128>())
}
