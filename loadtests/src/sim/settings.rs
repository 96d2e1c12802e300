//! The gateways' rules by the names that they have in the gateway's configuration.

use super::call::ATTEMPTS_MAX;
use super::plan::Rules;

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no such rule.
    #[error("'{name}' is no rule: one of {} expected", known())]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Its value makes no sense.
    #[error("'{name}' is '{value}': {expected} expected")]
    Value {
        /// The rule.
        name: String,
        /// What was given.
        value: String,
        /// What would make sense.
        expected: String,
    },
}

struct Rule {
    name: &'static str,
    whole: bool,
    low: f64,
    high: f64,
    set: fn(&mut Rules, f64),
}

const DAY_MS: f64 = 86_400_000.0;

const fn whole(name: &'static str, low: f64, high: f64, set: fn(&mut Rules, f64)) -> Rule {
    Rule { name, whole: true, low, high, set }
}

const fn part(name: &'static str, set: fn(&mut Rules, f64)) -> Rule {
    Rule { name, whole: false, low: 0.0, high: 1.0, set }
}

const fn number(name: &'static str, high: f64, set: fn(&mut Rules, f64)) -> Rule {
    Rule { name, whole: false, low: 0.0, high, set }
}

const RULES: [Rule; 28] = [
    whole("fleet.slow_start_ms", 0.0, DAY_MS, |rules, value| rules.life.slow_start_ms = value as u64),
    whole("fleet.misses_max", 1.0, 1e6, |rules, value| rules.life.misses_max = value as u32),
    part("fleet.panic_below", |rules, value| rules.life.panic_below = value),
    whole("fleet.probe_ms", 1.0, DAY_MS, |rules, value| rules.probe_ms = value as u64),
    whole("fleet.probe_timeout_ms", 0.0, DAY_MS, |rules, value| rules.probe_timeout_ms = value as u64),
    whole("fleet.eject_failures", 0.0, 1e6, |rules, value| rules.outlier.failures = value as u32),
    whole("fleet.eject_ms", 0.0, DAY_MS, |rules, value| rules.outlier.base_ms = value as u64),
    whole("fleet.eject_max_ms", 0.0, DAY_MS, |rules, value| rules.outlier.max_ms = value as u64),
    part("fleet.eject_share_max", |rules, value| rules.outlier.share_max = value),
    whole("fleet.eject_rate_window_ms", 0.0, DAY_MS, |rules, value| rules.outlier.rate_window_ms = value as u64),
    whole("fleet.eject_rate_calls_min", 0.0, 1e9, |rules, value| rules.outlier.rate_calls_min = value as u32),
    number("fleet.eject_rate_deviations", 100.0, |rules, value| rules.outlier.rate_deviations = value),
    part("fleet.hot_quantile", |rules, value| rules.choose.hot_quantile = value),
    whole("fleet.latency_decay_ms", 1.0, DAY_MS, |rules, value| rules.load.decay_ms = value as u64),
    whole("fleet.failure_penalty_ms", 0.0, DAY_MS, |rules, value| rules.load.penalty_ms = value as u64),
    whole("fleet.limit_start", 0.0, 1e9, |rules, value| rules.limit.start = value as u32),
    whole("fleet.limit_min", 1.0, 1e9, |rules, value| rules.limit.min = value as u32),
    whole("fleet.limit_max", 1.0, 1e9, |rules, value| rules.limit.max = value as u32),
    whole("fleet.limit_wait_ms", 1.0, DAY_MS, |rules, value| rules.limit.wait_ms = value as u64),
    number("fleet.limit_tolerance", 1e6, |rules, value| rules.limit.tolerance = value),
    part("fleet.free_share", |rules, value| rules.share.free = value),
    whole("retry.attempts_max", 1.0, ATTEMPTS_MAX as f64, |rules, value| rules.attempts_max = value as u32),
    part("retry.ratio", |rules, value| rules.budget.ratio = value),
    part("retry.hedge_ratio", |rules, value| rules.budget.hedge_ratio = value),
    part("retry.hedge_quantile", |rules, value| rules.hedge_quantile = value),
    whole("retry.min_per_s", 0.0, 1e6, |rules, value| rules.budget.min_per_s = value as u32),
    whole("retry.burst", 0.0, 1e9, |rules, value| rules.budget.burst = value as u32),
    whole("retry.reserve", 0.0, 1e9, |rules, value| rules.budget.reserve = value as u32),
];

/// Sets a rule as `name=value` says.
pub fn set(rules: &mut Rules, text: &str) -> Result<(), SettingError> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let (name, value) = (name.trim(), value.trim());
    let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
        return Err(SettingError::Unknown { name: name.to_owned() });
    };
    let fits = |number: &f64| (rule.low..=rule.high).contains(number) && (!rule.whole || number.fract() == 0.0);
    match value.parse::<f64>().ok().filter(fits) {
        Some(number) => {
            (rule.set)(rules, number);
            Ok(())
        }
        None => {
            let what = if rule.whole { "a whole number" } else { "a number" };
            let expected = format!("{what} from {} to {}", rule.low, rule.high);
            Err(SettingError::Value { name: name.to_owned(), value: value.to_owned(), expected })
        }
    }
}

fn known() -> String {
    RULES.map(|rule| rule.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_set_by_name_and_nonsense_is_refused_in_words() {
        let mut rules = Rules::default();
        assert_eq!(set(&mut rules, "fleet.limit_start=0"), Ok(()));
        assert_eq!(set(&mut rules, "retry.hedge_quantile = 0.9"), Ok(()));
        assert_eq!((rules.limit.start, rules.hedge_quantile), (0, 0.9));
        let said = |text: &str| set(&mut Rules::default(), text).map_err(|error| error.to_string());
        assert!(
            said("fleet.limit=3")
                .is_err_and(|words| words.contains("'fleet.limit' is no rule: one of fleet.slow_start_ms"))
        );
        for (text, words) in [
            ("fleet.limit_min=0", "'fleet.limit_min' is '0': a whole number from 1 to"),
            ("fleet.limit_min=1.5", "a whole number"),
            ("retry.ratio=2", "'retry.ratio' is '2': a number from 0 to 1 expected"),
            ("retry.ratio", "'retry.ratio' is ''"),
            ("retry.ratio=nan", "'retry.ratio' is 'nan'"),
        ] {
            assert!(said(text).is_err_and(|error| error.contains(words)), "{text}");
        }
    }
}
