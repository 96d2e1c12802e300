//! The configuration as it is written: flat sections of plain values with their defaults.

mod meaning;
mod values;

use headgate_balance::{attempts, budget, choose, life, limit, load, nanos, outlier, patience, place, share, zone};
use serde::{Deserialize, Serialize};

pub(crate) use values::is_host_and_port;

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$field_doc])* $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

/// All sections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Written {
    server: ServerWritten,
    admin: AdminWritten,
    discovery: DiscoveryWritten,
    limits: LimitsWritten,
    fleet: FleetWritten,
    place: PlaceWritten,
    retry: RetryWritten,
    log: LogWritten,
}

section!(
    /// `[server]`
    ServerWritten {
        listen: String = "127.0.0.1:8080".to_owned(),
        /// 0: as many as the machine has cores.
        threads: usize = 0,
        busy_poll_us: u64 = 0,
        reply_poll_us: u64 = 100,
        lame_duck_ms: u64 = 1_000,
        drain_ms: u64 = 30_000,
        name: String = String::new(),
        zone: String = String::new(),
        default_model: String = String::new(),
    }
);
section!(
    /// `[admin]`
    AdminWritten {
        listen: String = "127.0.0.1:9090".to_owned(),
        token: String = String::new(),
    }
);
section!(
    /// `[discovery]`
    DiscoveryWritten {
        backends: Vec<String> = Vec::new(),
        foreign: Vec<String> = Vec::new(),
        register_token: String = String::new(),
    }
);
section!(
    /// `[limits]`
    LimitsWritten {
        buffer_bytes_max: u64 = 1 << 20,
        buffers_bytes_max: u64 = 1 << 30,
        body_bytes_max: u64 = 64 << 20,
        connections_max: usize = 20_000,
        in_flight_max: usize = 10_000,
        streams_max: u32 = 256,
        headers_max: usize = 100,
        head_bytes_max: usize = 64 << 10,
        head_timeout_ms: u64 = 10_000,
        body_timeout_ms: u64 = 10_000,
        keep_alive_ms: u64 = 75_000,
        request_max_ms: u64 = 600_000,
        deadline_ms: u64 = 1_000,
        deadline_max_ms: u64 = 60_000,
        stream_deadline_ms: u64 = 60_000,
    }
);
section!(
    /// `[fleet]`
    FleetWritten {
        probe_ms: u64 = 250,
        probe_timeout_ms: u64 = 750,
        misses_max: u32 = life::Rules::default().misses_max,
        connect_timeout_ms: u64 = 250,
        idle_ms: u64 = 30_000,
        pool_max: usize = 512,
        link_connections: usize = 16,
        slow_start_ms: u64 = life::Rules::default().slow_start_ms,
        drain_ms: u64 = 30_000,
        eject_failures: u32 = outlier::Rules::default().failures,
        eject_ms: u64 = outlier::Rules::default().base_ms,
        eject_max_ms: u64 = outlier::Rules::default().max_ms,
        eject_share_max: f64 = outlier::Rules::default().share_max,
        eject_rate_window_ms: u64 = outlier::Rules::default().rate_window_ms,
        eject_rate_calls_min: u32 = outlier::Rules::default().rate_calls_min,
        eject_rate_deviations: f64 = outlier::Rules::default().rate_deviations,
        panic_below: f64 = life::Rules::default().panic_below,
        admit_patience_ms: u64 = 10_000,
        balance: String = choose::Policy::default().as_str().to_owned(),
        hot_quantile: f64 = choose::Rules::default().hot_quantile,
        latency_decay_ms: u64 = load::Rules::default().decay_ms,
        failure_penalty_ms: u64 = load::Rules::default().penalty_ms,
        limit_start: u32 = limit::Rules::default().start,
        limit_min: u32 = limit::Rules::default().min,
        limit_max: u32 = limit::Rules::default().max,
        limit_wait_ms: u64 = limit::Rules::default().wait_ms,
        limit_tolerance: f64 = limit::Rules::default().tolerance,
        subset_size: usize = 128,
        /// Below 0: by name.
        subset_index: i64 = -1,
        zone_hot: f64 = 0.8,
        zone_backends_min: usize = zone::Rules::default().backends_min,
        free_share: f64 = share::Rules::default().free,
        tls: TlsWritten = TlsWritten::default(),
    }
);
section!(
    /// `[fleet.tls]`
    TlsWritten {
        ca: String = String::new(),
        server_name: String = String::new(),
        cert: String = String::new(),
        key: String = String::new(),
    }
);
section!(
    /// `[place]`
    PlaceWritten {
        replicas_min: u32 = place::Rules::default().min,
        replicas_max: u32 = place::Rules::default().max,
        replica_work: f64 = place::Rules::default().work,
        replica_slack: f64 = place::Rules::default().slack,
        work_decay_ms: u64 = place::Rules::default().decay / nanos(1),
    }
);
section!(
    /// `[retry]`
    RetryWritten {
        attempts_max: u32 = attempts::MAX,
        ratio: f64 = budget::Rules::default().ratio,
        hedge_ratio: f64 = budget::Rules::default().hedge_ratio,
        hedge_quantile: f64 = patience::HEDGE_QUANTILE,
        min_per_s: u32 = budget::Rules::default().min_per_s,
        burst: u32 = budget::Rules::default().burst,
        reserve: u32 = budget::Rules::default().reserve,
    }
);
section!(
    /// `[log]`
    LogWritten {
        json: bool = false,
        filter: String = "info".to_owned(),
        access_every: u64 = 0,
    }
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::config::Sources;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    fn documented() -> toml::Table {
        let page = include_str!("../../../docs/CONFIGURATION.md");
        let (_, block) = page.split_once("```toml gateway\n").unwrap();
        block.split_once("```").unwrap().0.parse().unwrap()
    }

    #[test]
    fn the_page_names_every_key_with_its_default() {
        let documented = serde_json::to_value(documented()).unwrap();
        assert_eq!(documented, serde_json::to_value(Written::default()).unwrap());
    }

    /// All keys, as they are written with dots.
    fn keys() -> Vec<String> {
        fn below(at: &str, table: &toml::Table, keys: &mut Vec<String>) {
            for (name, value) in table {
                let key = format!("{at}{name}");
                match value.as_table() {
                    Some(table) => below(&format!("{key}."), table, keys),
                    None => keys.push(key),
                }
            }
        }
        let mut keys = Vec::new();
        below("", &documented(), &mut keys);
        keys
    }

    fn value() -> impl Strategy<Value = String> {
        let number =
            prop_oneof![any::<i64>(), prop::sample::select(vec![0, 1, -1, i64::MAX, i64::MIN]), 0..100_000_i64];
        let part = prop_oneof![any::<f64>(), -1.0..2.0_f64, prop::sample::select(vec![f64::NAN, f64::INFINITY, 1e308])];
        let words = prop_oneof![any::<String>(), "[a-z0-9=:./@ -]{0,40}"];
        prop_oneof![
            number.prop_map(|value| value.to_string()),
            part.prop_map(|value| toml::Value::from(value).to_string()),
            words.clone().prop_map(|value| toml::Value::from(value).to_string()),
            prop::collection::vec(words, 0..4).prop_map(|value| toml::Value::from(value).to_string()),
            any::<bool>().prop_map(|value| value.to_string()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn any_value_of_any_key_is_taken_or_refused_by_name(key in prop::sample::select(keys()), value in value()) {
            let section = key.split('.').next().unwrap();
            let text = format!("{key} = {value}\n");
            if let Err(error) = Config::load(&Sources { file: Some(("file.toml".into(), text)), ..Sources::default() }) {
                prop_assert!(error.to_string().contains(section), "{key} = {value}: {error}");
            }
        }
    }
}
