//! Requests, counted by model, version and status. Finding a series by its labels takes ten times as long as counting in
//! it, so that each thread keeps those that it counted in lately.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use headgate_contract::Version;
use metrics::{Counter, Histogram, SharedString, counter, histogram};
use tokio::time::Instant;

use super::{IDLE, LATENCY};
use crate::fleet::Label;

/// Series that a thread keeps at most.
const KEPT_MAX: usize = 64;
/// A series is found anew after so long: one that nobody touched for [`IDLE`] is dropped, and what a thread counted in it
/// from then on would be lost.
const FRESH: Duration = Duration::from_secs(IDLE.as_secs() / 6);

/// What a request is counted by.
#[derive(Debug, PartialEq)]
struct Labels {
    model: Named,
    version: Option<Version>,
    code: u16,
}

/// A model, as far as it is named.
#[derive(Debug)]
enum Named {
    None,
    Other,
    Name(Arc<str>),
}

/// What a request is counted in.
struct Series {
    of: Labels,
    /// When it was found.
    since: Instant,
    requests: Counter,
    /// The same for all labels.
    latency: Histogram,
}

/// One request is done, `now`, after so long.
pub(crate) fn request(label: Option<&Label>, version: Option<Version>, code: u16, took: Duration, now: Instant) {
    thread_local! {
        static HERE: RefCell<[Option<Series>; KEPT_MAX]> = const { RefCell::new([const { None }; KEPT_MAX]) };
    }
    let labels = Labels::of(label, version, code);
    HERE.with_borrow_mut(|kept| {
        let place = &mut kept[labels.place()];
        if !place.as_ref().is_some_and(|kept| kept.of == labels && now.saturating_duration_since(kept.since) < FRESH) {
            *place = None;
        }
        let series = place.get_or_insert_with(|| Series::find(labels, now));
        series.requests.increment(1);
        series.latency.record(took.as_secs_f64());
    });
}

impl Labels {
    fn of(label: Option<&Label>, version: Option<Version>, code: u16) -> Self {
        let Some(label) = label else { return Self { model: Named::None, version: None, code } };
        label.requests.fetch_add(1, Relaxed);
        if label.named.load(Relaxed) {
            Self { model: Named::Name(Arc::clone(&label.name)), version, code }
        } else {
            // A version is as many labels as it has models: only those named have it.
            Self { model: Named::Other, version: None, code }
        }
    }

    /// Where a thread keeps the series.
    fn place(&self) -> usize {
        let model = match &self.model {
            Named::None => 1,
            Named::Other => 2,
            Named::Name(name) => Arc::as_ptr(name).cast::<u8>().addr() >> 4,
        };
        let version = self.version.map_or(0, Version::get) as usize;
        (model ^ (model >> 6) ^ version ^ usize::from(self.code)) % KEPT_MAX
    }
}

impl Series {
    fn find(of: Labels, since: Instant) -> Self {
        let model: SharedString = match &of.model {
            Named::None => "".into(),
            Named::Other => "other".into(),
            Named::Name(name) => Arc::clone(name).into(),
        };
        let version = of.version.map(|version| version.to_string()).unwrap_or_default();
        let code = of.code.to_string();
        let requests =
            counter!("headgate_gateway_requests_total", "model" => model, "version" => version, "code" => code);
        Self { of, since, requests, latency: histogram!(LATENCY) }
    }
}

impl PartialEq for Named {
    /// The same name at another place is another one: its series is found anew, and is the same.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Named::None, Named::None) | (Named::Other, Named::Other) => true,
            (Named::Name(one), Named::Name(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use super::*;
    use crate::metrics::recorder;

    fn label(name: &str, named: bool) -> Label {
        Label { requests: AtomicU64::new(0), named: AtomicBool::new(named), name: name.into() }
    }

    #[test]
    fn what_is_kept_counts_where_it_is_found() {
        let handle = recorder();
        let (now, took) = (Instant::now(), Duration::from_millis(3));
        let (named, same, other) = (label("kept", true), label("kept", true), label("unheard", false));
        let version = Version::new(7);
        let later = now + 2 * FRESH;
        for at in [now, now, later, later] {
            // More series than are kept, so that some take the places of others.
            (300..500).for_each(|code| request(Some(&named), version, code, took, at));
            request(Some(&same), version, 300, took, at);
            request(Some(&other), version, 300, took, at);
        }
        named.named.store(false, Relaxed);
        request(Some(&named), version, 300, took, later);
        let text = handle.render();
        let count = |model: &str, version: &str, code: u16| {
            let series =
                format!("headgate_gateway_requests_total{{model=\"{model}\",version=\"{version}\",code=\"{code}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
        };
        assert_eq!(count("kept", "7", 300), Some(8));
        (301..500).for_each(|code| assert_eq!(count("kept", "7", code), Some(4), "{code}"));
        assert_eq!(count("other", "", 300), Some(5));
        assert_eq!(named.requests.load(Relaxed), 4 * 200 + 1);
        assert!(!text.contains("unheard"), "a name that is not to be told");
    }
}
