//! What the gateway's judgement must do, in virtual time: seeded, so that it does so always.

use std::process::Command;

use headgate_balance::{SECOND, choose};
use headgate_loadtests::sim::plan::{Demand, Fault, Plan, Policy, What};
use headgate_loadtests::sim::simulate;
use headgate_loadtests::sim::tally::Told;

fn told(plan: &Plan) -> Told {
    simulate(plan, |_| {}).0
}

/// Four backends, eight seconds, of which the first two are not counted.
fn plan(load: f64) -> Plan {
    let (demand, length, warm_up) = (Demand::Open(load), 8 * SECOND, 2 * SECOND);
    Plan { backends: 4, demand, length, warm_up, ..Plan::default() }
}

fn with(what: What, plan: &Plan) -> Plan {
    let fault = Fault { backend: 0, from: SECOND, to: plan.length, what };
    Plan { faults: vec![fault], ..plan.clone() }
}

#[test]
fn the_same_seed_gives_the_same_to_the_last_call_and_another_does_not() {
    let plan = Plan { gateways: 3, ..with(What::Fails(0.3), &Plan { length: 3 * SECOND, ..plan(0.7) }) };
    for policy in Policy::ALL {
        let mut plan = plan.clone();
        plan.rules.policy = policy;
        let once = told(&plan);
        assert_eq!(once, told(&plan), "{policy:?}");
        assert!(once.calls > 5_000 && once != told(&Plan { seed: 2, ..plan }), "{policy:?}: {once:?}");
    }
}

#[test]
fn one_of_four_that_is_four_times_slower_hardly_shows() {
    // A hundred gateways that see little each find out less well.
    for (gateways, load, bound) in [(1, 0.3, 1.5), (1, 0.5, 1.5), (10, 0.5, 1.5), (100, 0.3, 1.5), (100, 0.5, 1.7)] {
        let plan = Plan { gateways, ..plan(load) };
        let (well, slow) = (told(&plan), told(&with(What::Slow(4.0), &plan)));
        let ratio = slow.latency.p99_us as f64 / well.latency.p99_us as f64;
        assert!(ratio <= bound, "{gateways} gateways at {load}: {ratio}");
        assert_eq!((slow.refused(), slow.late, slow.failed), (0, 0, 0), "{gateways} gateways at {load}");
    }
}

#[test]
fn one_that_fails_fast_gets_less_than_its_share_after_ten_failures_and_no_call_fails() {
    for gateways in [1, 10, 100] {
        for ejects in [true, false] {
            let mut plan = Plan { gateways, ..with(What::Fails(1.0), &plan(0.5)) };
            if !ejects {
                (plan.rules.outlier.failures, plan.rules.outlier.rate_window_ms) = (0, 0);
            }
            let told = told(&plan);
            let share = told.first_share_after_failures;
            let bound = if gateways == 1 || ejects { 0.7 } else { 1.0 };
            assert!(share.is_some_and(|share| share < bound), "{gateways} gateways, {ejects}: {share:?} of its share");
            // A hundred budgets are each too small for the calls that each must lose to find out.
            assert!(told.failed == 0 || (gateways == 100 && !ejects), "{gateways} gateways, {ejects}: {}", told.failed);
            assert_eq!(told.ejections > 0, ejects);
        }
    }
}

#[test]
fn goodput_stays_flat_up_to_five_times_what_there_is() {
    for (gateways, work_us) in [(1, 2_000), (1, 20_000), (100, 2_000), (100, 10_000)] {
        let at = |load: f64| {
            let mut plan = Plan { gateways, cores: 2, length: 16 * SECOND, warm_up: 8 * SECOND, ..plan(load) };
            plan.work.mean = work_us * 1_000;
            told(&plan).goodput
        };
        let (peak, over) = (at(1.0).max(at(1.5)), at(5.0));
        assert!(over >= 0.9 * peak, "{gateways} gateways, calls of {work_us} us: {over} a second of {peak}");
    }
}

#[test]
fn callers_that_are_served_in_time_are_never_refused() {
    for (clients, cores, work_us) in [(64, 1, 500), (64, 2, 1_000), (300, 2, 500), (4, 1, 50_000)] {
        let demand = Demand::Closed(clients);
        let mut plan = Plan { demand, backends: 2, cores, ..plan(1.0) };
        plan.work.mean = work_us * 1_000;
        // A machine that stands still now and then.
        plan.faults = (1..8)
            .map(|at| Fault {
                backend: at % 2,
                from: at as u64 * SECOND,
                to: at as u64 * SECOND + SECOND / 2,
                what: What::Hangs,
            })
            .collect();
        let told = told(&plan);
        assert!(told.calls > 100 && told.refused() == 0, "{clients} callers: {told:?}");
    }
}

#[test]
fn a_backend_that_hangs_or_dies_costs_no_call() {
    for what in [What::Hangs, What::Restarts] {
        let plan = Plan { backends: 8, ..plan(0.5) };
        let fault = Fault { backend: 0, from: 3 * SECOND, to: 5 * SECOND, what };
        let told = told(&Plan { faults: vec![fault], ..plan });
        assert_eq!((told.refused(), told.late, told.failed), (0, 0, 0), "{what:?}: {told:?}");
        assert!(told.given_up + told.retries > 0, "{what:?}: {told:?}");
    }
}

#[test]
fn the_gateways_choice_of_two_is_no_worse_than_any_but_that_of_sixteen() {
    let p99 = |policy: Policy| {
        let mut plan = Plan { backends: 8, cores: 2, gateways: 4, ..plan(0.9) };
        plan.rules.policy = policy;
        told(&plan).latency.p99_us as f64
    };
    let own = p99(Policy::Own(choose::Policy::default()));
    let of_sixteen = p99(Policy::Own(choose::Policy::HotCold));
    assert!(of_sixteen <= own && own <= of_sixteen * 1.3, "{own} and {of_sixteen}");
    for other in Policy::ALL.into_iter().filter(|other| *other != Policy::Own(choose::Policy::HotCold)) {
        assert!(own <= p99(other) * 1.1, "{other:?}");
    }
}

#[test]
fn ten_thousand_backends_and_a_hundred_gateways_are_simulated() {
    let mut plan = Plan { backends: 10_000, gateways: 2, length: SECOND / 50, warm_up: 0, ..plan(0.2) };
    let told = told(&plan);
    assert!(told.calls > 100_000 && told.calls == told.latency.count, "{told:?}");
    plan = Plan { backends: 2, gateways: 100, length: SECOND, ..plan };
    assert!(simulate(&plan, |_| {}).0.calls > 1_000);
}

#[test]
fn its_command_reports_draws_and_refuses_nonsense() {
    let dir = tempfile::tempdir().unwrap();
    let (json, html) = (dir.path().join("r.json"), dir.path().join("r.html"));
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_loadtests")).arg("sim").args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let files = ["--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()];
    let short = ["slow", "--seconds", "2", "--load", "0.3", "--policy", "peak_ewma,prequal"];
    let (code, text, _) = run(&[&short[..], &files[..]].concat());
    assert!(code == Some(0) && text.contains("one is slow") && text.contains("at most    1.500  ok"), "{text}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["sim"]["rows"].as_array().unwrap().len(), 6);
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.matches("<svg").count() >= 1 && page.contains("prequal") && !page.contains("NaN"));
    for (arguments, words) in [
        (&["--policy", "magic"][..], "policy 'magic' is unknown: one of round_robin, random"),
        (&["--backends", "0"], "'--backends' is 0: 2 to 10000 expected"),
        (&["--backends", "10001"], "'--backends' is 10001: 2 to 10000 expected"),
        (&["--gateways", "0"], "'--gateways' is 0: 1 to 100 expected"),
        (&["--load", "0.5,-1"], "'--load' is -1: 0.01 to 100 expected"),
        (&["--load", "nan"], "'--load' is NaN"),
        (&["--seconds", "0"], "'--seconds' is 0"),
        (&["--set", "fleet.limits=3"], "'fleet.limits' is no rule"),
        (&["--set", "retry.ratio=7"], "'retry.ratio' is '7': a number from 0 to 1 expected"),
    ] {
        let (code, _, said) = run(arguments);
        assert!(code == Some(1) && said.contains(words), "{arguments:?}: {code:?} {said}");
    }
    for arguments in [&["everything"][..], &["--seed", "x"], &["--backends", "many"]] {
        assert_eq!(run(arguments).0, Some(2), "{arguments:?}");
    }
}
