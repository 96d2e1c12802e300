//! `loadtests run`: a load on any server.

use std::time::Duration;

use bytes::Bytes;
use headgate_loadtests::driver::{self, Load, Plan};
use headgate_loadtests::report::{LoadReport, Report};
use http::{HeaderName, HeaderValue};

use crate::cli::Run;

/// Why it did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The body's file can't be read.
    #[error("body {path}: {error}")]
    Body {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The body is no JSON.
    #[error("--body-json is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A header makes no sense.
    #[error("header '{0}': \"name: value\" expected")]
    Header(String),
    /// The load could not be driven.
    #[error(transparent)]
    Driver(#[from] driver::DriverError),
}

/// Runs it; failed requests violate.
pub(crate) async fn run(options: &Run) -> Result<Report, RunError> {
    let load = match options.rate {
        Some(rate_per_s) => Load::Open { law: options.arrivals, rate_per_s, seed: options.seed },
        None => Load::Closed,
    };
    let plan = Plan {
        target: options.url.parse().map_err(driver::DriverError::from)?,
        from: None,
        bodies: body(options)?.into_iter().collect(),
        headers: options.headers.iter().map(|text| header(text)).collect::<Result<_, _>>()?,
        load,
        duration: Duration::from_secs_f64(options.duration.min(86_400.0)),
        connections: options.connections as usize,
        timeout: Duration::from_millis(options.timeout_ms),
        expect: None,
        scores: None,
        phases: vec!["all".to_owned()],
        bare: options.bare,
        keep: false,
        spin: false,
    };
    let driven = driver::start(plan)?.finish().await?;
    let mut report = Report::new("run");
    report.set("url", &options.url);
    report
        .set("load", options.rate.map_or("closed loop".to_owned(), |rate| format!("{rate}/s {:?}", options.arrivals)));
    let load = LoadReport::from(&driven);
    report.figure("replies a second", load.requests.saturating_sub(load.failed) as f64 / load.length_s, "1/s");
    report.must("failed requests", load.failed as f64, 0.0, "");
    report.load = Some(load);
    Ok(report)
}

fn body(options: &Run) -> Result<Option<Bytes>, RunError> {
    if let Some(path) = &options.body {
        let bytes = std::fs::read(path).map_err(|error| RunError::Body { path: path.clone(), error })?;
        return Ok(Some(bytes.into()));
    }
    if let Some(json) = &options.body_json {
        serde_json::from_str::<serde::de::IgnoredAny>(json)?;
        return Ok(Some(json.clone().into()));
    }
    Ok(None)
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), RunError> {
    let refused = || RunError::Header(text.to_owned());
    let (name, value) = text.split_once(':').ok_or_else(refused)?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| refused())?;
    Ok((name, HeaderValue::try_from(value.trim()).map_err(|_| refused())?))
}
