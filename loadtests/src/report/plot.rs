//! Latency over time as SVG, written by hand: median, 99th percentile and longest of each slice on a logarithmic axis,
//! phases after the first shaded, events as dashed lines, failures in red.

use super::page::escape;
use super::{LoadReport, SliceReport};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;
const LINES: [Line; 3] = [
    Line { name: "longest", colour: "#c9b08a", value: |slice| slice.max_us },
    Line { name: "99 %", colour: "#b5482a", value: |slice| slice.p99_us },
    Line { name: "median", colour: "#2a6db5", value: |slice| slice.p50_us },
];

/// One of the lines.
struct Line {
    name: &'static str,
    colour: &'static str,
    value: fn(&SliceReport) -> u64,
}

/// Where things are on the plot.
struct Scale {
    length_s: f64,
    low: f64,
    high: f64,
}

/// The plot.
pub(super) fn svg(load: &LoadReport) -> String {
    let scale = Scale::of(load);
    let mut parts = vec![format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" \
         font-size=\"11\">"
    )];
    parts.extend(shades(load, &scale));
    parts.extend(axes(&scale));
    parts.extend(marks(load, &scale));
    parts.extend(LINES.iter().map(|line| path(load, &scale, line)));
    parts.extend(failures(load, &scale));
    parts.extend(legend());
    parts.push("</svg>".to_owned());
    parts.join("\n")
}

impl Scale {
    fn of(load: &LoadReport) -> Self {
        let seen = || load.timeline.iter().filter(|slice| slice.succeeded > 0);
        let low = seen().map(|slice| slice.p50_us).min().unwrap_or(1).max(1) as f64;
        let high = seen().map(|slice| slice.max_us).max().unwrap_or(10) as f64;
        let low = low.log10().floor();
        Self { length_s: load.length_s.max(load.slice_s), low, high: high.log10().ceil().max(low + 1.0) }
    }

    fn x(&self, at_s: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (at_s / self.length_s).clamp(0.0, 1.0)
    }

    fn y(&self, us: f64) -> f64 {
        let part = (us.max(1.0).log10() - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part.clamp(0.0, 1.0)
    }
}

fn shades(load: &LoadReport, scale: &Scale) -> Vec<String> {
    let shaded = load.windows.iter().filter(|window| window.phase > 0);
    let shade = |window: &super::WindowReport| {
        let (x, to) = (scale.x(window.from_s), scale.x(window.to_s));
        let (width, height) = (to - x, HEIGHT - TOP - BOTTOM);
        let colour = if window.phase == 1 { "#eef3e6" } else { "#f1f1f1" };
        let name = load.phases.get(window.phase).map_or(String::new(), |phase| escape(&phase.name));
        format!(
            "<rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\">\
             <title>{name}</title></rect>"
        )
    };
    shaded.map(shade).collect()
}

fn axes(scale: &Scale) -> Vec<String> {
    let mut parts = Vec::new();
    for decade in scale.low as i32..=scale.high as i32 {
        let y = scale.y(10f64.powi(decade));
        let label = match decade {
            ..3 => format!("{} us", 10f64.powi(decade)),
            3..6 => format!("{} ms", 10f64.powi(decade - 3)),
            6.. => format!("{} s", 10f64.powi(decade - 6)),
        };
        parts.push(format!("<path d=\"M{LEFT} {y:.1}H{}\" stroke=\"#ddd\"/>", WIDTH - RIGHT));
        parts.push(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 8.0, y + 4.0));
    }
    for tenth in 0..=10 {
        let at_s = scale.length_s * f64::from(tenth) / 10.0;
        let (x, y) = (scale.x(at_s), HEIGHT - BOTTOM + 16.0);
        parts.push(format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{at_s:.1} s</text>"));
    }
    parts
}

fn marks(load: &LoadReport, scale: &Scale) -> Vec<String> {
    let mark = |mark: &super::MarkReport| {
        let (x, bottom, what) = (scale.x(mark.at_s), HEIGHT - BOTTOM, escape(&mark.what));
        format!(
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#888\" stroke-width=\"0.6\" stroke-dasharray=\"3 3\">\
             <title>{what} at {:.3} s</title></path>",
            mark.at_s
        )
    };
    load.marks.iter().map(mark).collect()
}

/// A line through the slices in which requests succeeded; gaps where none did.
fn path(load: &LoadReport, scale: &Scale, line: &Line) -> String {
    let mut path = String::new();
    let mut pen = 'M';
    for (at, slice) in load.timeline.iter().enumerate() {
        if slice.succeeded == 0 {
            pen = 'M';
            continue;
        }
        let x = scale.x((at as f64 + 0.5) * load.slice_s);
        path += &format!("{pen}{x:.1} {:.1}", scale.y((line.value)(slice) as f64));
        pen = 'L';
    }
    format!("<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.2\"/>", line.colour)
}

fn failures(load: &LoadReport, scale: &Scale) -> Vec<String> {
    let failed = load.timeline.iter().enumerate().filter(|(_, slice)| slice.failed > 0);
    let dot = |(at, slice): (usize, &SliceReport)| {
        let (x, y) = (scale.x((at as f64 + 0.5) * load.slice_s), TOP + 6.0);
        format!("<circle cx=\"{x:.1}\" cy=\"{y}\" r=\"4\" fill=\"red\"><title>{} failed</title></circle>", slice.failed)
    };
    failed.map(dot).collect()
}

fn legend() -> Vec<String> {
    let entry = |(at, Line { name, colour, .. }): (usize, &Line)| {
        let x = LEFT + at as f64 * 90.0;
        format!("<text x=\"{x}\" y=\"18\" fill=\"{colour}\" font-weight=\"bold\">{name}</text>")
    };
    let mut parts: Vec<String> = LINES.iter().enumerate().map(entry).collect();
    parts.push(format!("<text x=\"{}\" y=\"18\" fill=\"red\">failures</text>", LEFT + LINES.len() as f64 * 90.0));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{MarkReport, Quantiles, WindowReport};

    fn load(timeline: Vec<SliceReport>) -> LoadReport {
        LoadReport {
            length_s: timeline.len() as f64,
            requests: 0,
            failed: 0,
            connections: 1,
            lag: Quantiles::default(),
            phases: Vec::new(),
            slice_s: 1.0,
            timeline,
            windows: vec![WindowReport { phase: 1, from_s: 1.0, to_s: 2.0 }],
            marks: vec![MarkReport { at_s: 1.0, what: "promote <2>".to_owned() }],
            failures: Vec::new(),
        }
    }

    #[test]
    fn what_happened_is_drawn() {
        let slice = |succeeded, failed| SliceReport { succeeded, failed, p50_us: 100, p99_us: 900, max_us: 5000 };
        let svg = svg(&load(vec![slice(5, 0), slice(5, 0), slice(0, 3), slice(5, 0)]));
        assert!(svg.contains("promote &lt;2&gt; at 1.000 s") && svg.contains("<title>3 failed</title>"));
        // The slice without a reply is a gap in each of the three lines: two pieces each.
        let lines: Vec<&str> = svg.lines().filter(|line| line.contains("fill=\"none\"")).collect();
        assert_eq!(lines.iter().map(|line| line.matches(['M']).count()).collect::<Vec<_>>(), [2, 2, 2]);
        assert!(svg.contains("100 us") && svg.contains("10 ms") && !svg.contains("NaN"));
    }

    #[test]
    fn an_empty_load_is_drawn_too() {
        let svg = svg(&load(Vec::new()));
        assert!(svg.ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
