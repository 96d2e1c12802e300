//! A report as one page that needs nothing else.

use super::{Report, chart, plot};

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1060px;color:#222}\
pre{background:#f6f6f4;padding:1em;overflow-x:auto;font-size:12px}svg{width:100%;height:auto}\
figure{margin:1.5em 0}figcaption{font-weight:bold;margin-bottom:.3em}";

/// The page.
pub(super) fn html(report: &Report) -> String {
    let title = escape(&report.scenario);
    let plot = report.load.as_ref().map(plot::svg).unwrap_or_default();
    let charts = report.sim.iter().flat_map(|sim| &sim.charts).map(chart::figure).collect::<String>();
    let (at, text) = (report.ended_at.strftime("%Y-%m-%d %H:%M:%S UTC"), escape(&report.text()));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body><h1>{title}</h1><p>{at}</p>\n{plot}{charts}\n<pre>{text}</pre></body></html>\n"
    )
}

/// Text as it may stand in a page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_stay_words() {
        let mut report = Report::new("a <b> & \"c\"");
        report.set("url", "<script>");
        let page = html(&report);
        assert!(page.contains("a &lt;b&gt; &amp; &quot;c&quot;") && !page.contains("<script>"));
    }
}
