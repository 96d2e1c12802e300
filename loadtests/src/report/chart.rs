//! Lines over a common axis as SVG, written by hand: several ways to do the same, side by side.

use serde::Serialize;

use super::page::escape;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// Colours that people who see few of them can tell apart (P. Tol's bright scheme, black first).
const COLOURS: [&str; 7] = ["#222222", "#ee6677", "#ccbb44", "#228833", "#66ccee", "#4477aa", "#aa3377"];

/// A plot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What is across, with its unit.
    pub across: String,
    /// What is up, with its unit.
    pub up: String,
    /// Whether what is up is drawn by its logarithm.
    pub logarithmic: bool,
    /// A stretch that is shaded.
    pub shaded: Option<(f64, f64)>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its points, from left to right; one that is no number is a gap.
    pub points: Vec<(f64, f64)>,
}

/// Where things are.
struct Scale {
    logarithmic: bool,
    across: (f64, f64),
    up: (f64, f64),
}

/// The chart with its title.
pub(super) fn figure(chart: &Chart) -> String {
    format!("\n<figure><figcaption>{}</figcaption>\n{}</figure>", escape(&chart.title), svg(chart))
}

fn svg(chart: &Chart) -> String {
    let scale = Scale::of(chart);
    let mut parts = vec![format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" \
         font-size=\"12\">"
    )];
    if let Some((from, to)) = chart.shaded {
        let (x, to) = (scale.x(from), scale.x(to));
        let (width, height) = (to - x, HEIGHT - TOP - BOTTOM);
        parts.push(format!(
            "<rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\" fill=\"#f1f1ee\"/>"
        ));
    }
    parts.extend(axes(chart, &scale));
    let paths = chart.lines.iter().enumerate();
    parts.extend(paths.map(|(at, line)| path(line, COLOURS[at % COLOURS.len()], &scale)));
    parts.extend(names(chart, &scale));
    parts.push("</svg>".to_owned());
    parts.join("\n")
}

impl Scale {
    fn of(chart: &Chart) -> Self {
        let points =
            || chart.lines.iter().flat_map(|line| &line.points).filter(|(x, y)| x.is_finite() && y.is_finite());
        let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::NEG_INFINITY, f64::max);
        let sound = |low: f64, high: f64| match low.is_finite() && high > low {
            true => (low, high),
            false if low.is_finite() => (low, low + 1.0),
            false => (0.0, 1.0),
        };
        let up = match chart.logarithmic {
            true => {
                let positive = points().map(|point| point.1).filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min);
                let (low, high) = sound(positive.log10(), most(|point| point.1).log10());
                // Whole steps of 1, 2, 5.
                (step_below(low), step_above(high))
            }
            false => (0.0, sound(0.0, most(|point| point.1)).1 * 1.05),
        };
        Self { logarithmic: chart.logarithmic, across: sound(least(|p| p.0), most(|p| p.0)), up }
    }

    fn x(&self, at: f64) -> f64 {
        let (low, high) = self.across;
        LEFT + (WIDTH - LEFT - RIGHT) * ((at - low) / (high - low)).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let (low, high) = self.up;
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ((value - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// Values that get a line across.
    fn steps(&self) -> Vec<f64> {
        let (low, high) = self.up;
        if self.logarithmic {
            let decades = low.floor() as i32..=high.ceil() as i32;
            let all = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|of| of * 10f64.powi(decade)));
            let within = all.filter(|value| (low - 1e-9..=high + 1e-9).contains(&value.log10()));
            let all: Vec<f64> = within.collect();
            // Only whole decades where there are many.
            return if all.len() > 10 {
                all.into_iter().filter(|v| v.log10().fract().abs() < 1e-9).collect()
            } else {
                all
            };
        }
        even(low, high)
    }
}

/// About six even steps.
fn even(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 6.0;
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * decade).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..first + 12).map(|n| n as f64 * step).take_while(|value| *value <= high * (1.0 + 1e-9)).collect()
}

fn step_below(log: f64) -> f64 {
    let decade = log.floor();
    [5f64, 2.0, 1.0].map(|of| decade + of.log10()).into_iter().find(|step| *step <= log + 1e-9).unwrap_or(decade)
}

fn step_above(log: f64) -> f64 {
    let decade = log.floor();
    [1f64, 2.0, 5.0, 10.0].map(|of| decade + of.log10()).into_iter().find(|step| *step >= log - 1e-9).unwrap_or(log)
}

fn axes(chart: &Chart, scale: &Scale) -> Vec<String> {
    let mut parts = Vec::new();
    for value in scale.steps() {
        let (y, to) = (scale.y(value), WIDTH - RIGHT);
        parts.push(format!("<path d=\"M{LEFT} {y:.1}H{to}\" stroke=\"#ddd\"/>"));
        let (x, y) = (LEFT - 8.0, y + 4.0);
        parts.push(format!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\" fill=\"#555\">{}</text>", number(value)));
    }
    for at in even(scale.across.0, scale.across.1) {
        let (x, y) = (scale.x(at), HEIGHT - BOTTOM + 16.0);
        parts.push(format!("<path d=\"M{x:.1} {}v4\" stroke=\"#999\"/>", HEIGHT - BOTTOM));
        parts.push(format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#555\">{}</text>", number(at)));
    }
    let (middle, below) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0);
    parts.push(format!("<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", escape(&chart.across)));
    let (x, y) = (14.0, (TOP + HEIGHT - BOTTOM) / 2.0);
    let turned = format!("transform=\"rotate(-90 {x} {y})\" text-anchor=\"middle\"");
    parts.push(format!("<text x=\"{x}\" y=\"{y}\" {turned}>{}</text>", escape(&chart.up)));
    parts
}

fn path(line: &Line, colour: &str, scale: &Scale) -> String {
    let (mut path, mut pen) = (String::new(), 'M');
    for (x, y) in &line.points {
        if !y.is_finite() {
            pen = 'M';
            continue;
        }
        path += &format!("{pen}{:.1} {:.1}", scale.x(*x), scale.y(*y));
        pen = 'L';
    }
    let name = escape(&line.name);
    format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"><title>{name}</title></path>")
}

/// The lines' names at their ends, moved apart where they meet.
fn names(chart: &Chart, scale: &Scale) -> Vec<String> {
    let end = |line: &Line| line.points.iter().rev().find(|(_, y)| y.is_finite()).map_or(0.0, |(_, y)| *y);
    let mut places: Vec<(usize, f64)> =
        chart.lines.iter().enumerate().map(|(at, line)| (at, scale.y(end(line)) + 4.0)).collect();
    places.sort_by(|a, b| a.1.total_cmp(&b.1));
    const APART: f64 = 15.0;
    let lowest = HEIGHT - BOTTOM + 4.0;
    for at in 1..places.len() {
        places[at].1 = places[at].1.max(places[at - 1].1 + APART);
    }
    // What was pushed below the plot goes up again, and pushes others.
    let mut below = lowest + APART;
    for place in places.iter_mut().rev() {
        place.1 = place.1.min(below - APART);
        below = place.1;
    }
    let name = |(at, y): &(usize, f64)| {
        let (line, colour) = (chart.lines.get(*at), COLOURS[at % COLOURS.len()]);
        let name = line.map_or(String::new(), |line| escape(&line.name));
        format!(
            "<text x=\"{:.1}\" y=\"{y:.1}\" fill=\"{colour}\" font-weight=\"bold\">{name}</text>",
            WIDTH - RIGHT + 8.0
        )
    };
    places.iter().map(name).collect()
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(logarithmic: bool, points: &[&[(f64, f64)]]) -> Chart {
        let line = |(at, points): (usize, &&[(f64, f64)])| Line { name: format!("<{at}>"), points: points.to_vec() };
        let lines = points.iter().enumerate().map(line).collect();
        let (title, across, up) = ("a & b".into(), "load".into(), "p99, ms".into());
        Chart { title, across, up, logarithmic, shaded: Some((0.5, 1.0)), lines }
    }

    #[test]
    fn lines_have_their_names_and_gaps() {
        let svg = figure(&chart(true, &[&[(0.5, 1.0), (1.0, f64::NAN), (1.5, 30.0)], &[(0.5, 2.0), (1.5, 30.0)]]));
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;0&gt;") && !svg.contains("NaN"), "{svg}");
        let pens: Vec<usize> =
            svg.lines().filter(|l| l.contains("fill=\"none\"")).map(|l| l.matches('M').count()).collect();
        assert_eq!(pens, [2, 1]);
        let at = |name: &str| svg.lines().find(|l| l.starts_with("<text") && l.contains(name)).map(str::to_owned);
        assert_ne!(at("&lt;0&gt;"), at("&lt;1&gt;"));
        assert!([">1<", ">2<", ">5<", ">10<", ">20<"].iter().all(|step| svg.contains(step)), "{svg}");
    }

    #[test]
    fn whatever_comes_is_drawn() {
        for logarithmic in [true, false] {
            for points in [&[][..], &[&[][..]], &[&[(0.0, 0.0)]], &[&[(1.0, f64::INFINITY), (2.0, -5.0)]]] {
                let svg = svg(&chart(logarithmic, points));
                assert!(svg.ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("inf"), "{points:?}: {svg}");
            }
        }
    }
}
