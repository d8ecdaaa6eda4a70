//! The orders a second of all forms as bars, in SVG that needs nothing else.
use super::report::{Line, Report};
use std::fmt::Write;

/// Pixels.
const WIDTH: f64 = 720.0;
const BAR: f64 = 22.0;
const LEFT: f64 = 170.0;
const TOP: f64 = 40.0;

/// One bar for each form on each combination of parts, the longest as wide as the picture.
pub(super) fn svg(report: &Report) -> String {
    let summary = report.summary();
    let rate = |line: &Line| line.median.orders_per_s;
    let most = summary.lines.iter().map(rate).fold(1.0, f64::max);
    let height = TOP + BAR * summary.lines.len() as f64 + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<text x=\"8\" y=\"22\" font-size=\"15\">Orders \
         a second, placed to closed</text>\n"
    );
    for (nth, line) in summary.lines.iter().enumerate() {
        let y = TOP + BAR * nth as f64;
        let wide = (WIDTH - LEFT - 150.0) * rate(line) / most;
        let (parts, form) = (line.parts, line.form);
        let ratio = line.of_raw.map_or(String::new(), |of| format!(" ({of:.2} of raw)"));
        let colour = match form {
            super::Form::Ours => "#2a6f97",
            super::Form::Bundled => "#61a5c2",
            super::Form::Filled => "#89c2d9",
            super::Form::Raw => "#adb5bd",
            super::Form::Naive => "#d8a48f",
        };
        let _ = write!(
            svg,
            "<text x=\"8\" y=\"{text:.0}\">{parts:?}, {form:?}</text>\n<rect x=\"{LEFT}\" y=\"{y:.0}\" \
             width=\"{wide:.1}\" height=\"{high:.0}\" fill=\"{colour}\"/>\n<text x=\"{right:.1}\" \
             y=\"{text:.0}\">{rate:.0}{ratio}</text>\n",
            text = y + 14.0,
            high = BAR - 4.0,
            right = LEFT + wide + 6.0,
            rate = rate(line),
        );
    }
    svg.push_str("</svg>\n");
    svg
}
