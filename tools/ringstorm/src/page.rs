//! The report as one page, or one plot as a picture: nothing loaded from anywhere.
//!
//! Writes text only.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::harness::back;
use crate::harness::tally::COLUMN;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 46.0;
/// Colours that stay apart for colour-blind eyes, by group.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// What is drawn of a group.
pub(crate) struct Curve<'a> {
    /// Its name.
    pub(crate) label: &'a str,
    /// Files that ended well, by [`COLUMN`].
    pub(crate) timeline: &'a [u32],
    /// Microseconds from a file's request to its end.
    pub(crate) file_us: &'a Histogram<u64>,
    /// Phones back over time.
    pub(crate) back: back::Curve,
}

/// The page of a run whose report for people is `text`.
pub(crate) fn page(curves: &[Curve<'_>], is_good: bool, text: &str) -> String {
    let mut out = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>ringstorm</title><style>\
         body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;\
         color:#1b1f24;background:#fff}pre{background:#f3f5f7;padding:1em;overflow:auto}\
         h2{font-size:1.1em;margin:2em 0 .3em}svg{width:100%;height:auto}\
         text{font:12px system-ui,sans-serif;fill:currentColor}\
         @media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#15181c}\
         pre{background:#20242a}}</style><h1>ringstorm</h1>",
    );
    let verdict = if is_good { "Every file arrived whole." } else { "Something failed." };
    let _ = write!(out, "<p>{verdict}</p><pre>{}</pre>", escape(text));
    legend(curves, &mut out);
    let _ = write!(out, "<h2>Phones back over time</h2>");
    begin(&mut out);
    returns(curves, &mut out);
    out.push_str("</svg>");
    let _ = write!(out, "<h2>Files completed over time (each second)</h2>");
    completions(curves, &mut out);
    let _ = write!(out, "<h2>File time: share of files at most this long</h2>");
    distribution(curves, &mut out);
    out
}

/// Phones back over time as a picture.
pub(crate) fn chart(curves: &[Curve<'_>]) -> String {
    let line = 18.0;
    let (width, plot) = (WIDTH + 2.0 * MARGIN, HEIGHT + MARGIN);
    let height = plot + line * (curves.len() + 1) as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"system-ui,sans-serif\" \
         font-size=\"12\">\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
    );
    returns(curves, &mut out);
    for (number, group) in curves.iter().enumerate() {
        let (y, colour) = (plot + line * (number + 1) as f64, colour(number));
        let label = escape(group.label);
        let _ = write!(
            out,
            "<rect x=\"{MARGIN}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{y}\">{label}</text>",
            y - 10.0,
            MARGIN + 16.0
        );
    }
    out.push_str("</svg>\n");
    out
}

fn returns(curves: &[Curve<'_>], out: &mut String) {
    let series: Vec<_> = curves.iter().map(|group| group.back.series()).collect();
    let ends = series.iter().flat_map(|points| points.last()).map(|point| point.0);
    let end = ends.fold(0.0, f64::max).max(1e-3);
    let most = curves.iter().map(|group| group.back.phones()).max().unwrap_or(0).max(1) as f64;
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let up = format!("{:.0}", most * share);
        axes(out, share, &format!("{:.2} s", end * share), &up);
    }
    for (number, points) in series.iter().enumerate() {
        let across = |at: f64| at / end;
        let start = points.first().map(|point| (across(point.0), 0.0));
        let points = points.iter().map(|point| (across(point.0), point.1 as f64 / most));
        polyline(out, start.into_iter().chain(points), number);
    }
}

fn legend(curves: &[Curve<'_>], out: &mut String) {
    out.push_str("<p>");
    for (number, group) in curves.iter().enumerate() {
        let colour = colour(number);
        let label = escape(group.label);
        let _ = write!(out, "<span style=\"color:{colour}\">&#9632;</span> {label}<br>");
    }
    out.push_str("</p>");
}

fn completions(curves: &[Curve<'_>], out: &mut String) {
    let columns = curves.iter().map(|group| group.timeline.len()).max().unwrap_or(0);
    let most = curves.iter().flat_map(|group| group.timeline.iter()).max().copied();
    let (columns, most) = (columns.max(1) as f64, f64::from(most.unwrap_or(0).max(1)));
    let seconds = columns * COLUMN.as_secs_f64();
    begin(out);
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let per_second = most * share / COLUMN.as_secs_f64();
        axes(out, share, &format!("{:.1} s", seconds * share), &format!("{per_second:.0}"));
    }
    for (number, group) in curves.iter().enumerate() {
        let points = group
            .timeline
            .iter()
            .enumerate()
            .map(|(column, count)| ((column as f64 + 0.5) / columns, f64::from(*count) / most));
        polyline(out, points, number);
    }
    out.push_str("</svg>");
}

/// Times on a logarithmic scale, since a resend is a thousand times as long as a round trip.
fn distribution(curves: &[Curve<'_>], out: &mut String) {
    let filled = || curves.iter().filter(|group| !group.file_us.is_empty());
    let least = filled().map(|group| group.file_us.min()).min().unwrap_or(1).max(1) as f64;
    let most = filled().map(|group| group.file_us.max()).max().unwrap_or(1) as f64;
    let (low, high) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    begin(out);
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let time_us = 10_f64.powf(low + (high - low) * share);
        axes(out, share, &time(time_us), &format!("{:.0} %", share * 100.0));
    }
    for (number, group) in curves.iter().enumerate() {
        let histogram = group.file_us;
        let total = histogram.len().max(1) as f64;
        let mut sum = 0;
        let points = histogram.iter_recorded().map(|step| {
            sum += step.count_at_value();
            let value = step.value_iterated_to().max(1) as f64;
            ((value.log10() - low) / (high - low), sum as f64 / total)
        });
        polyline(out, points, number);
    }
    out.push_str("</svg>");
}

fn begin(out: &mut String) {
    let (width, height) = (WIDTH + 2.0 * MARGIN, HEIGHT + MARGIN);
    let _ = write!(out, "<svg viewBox=\"0 0 {width} {height}\" role=\"img\">");
}

/// One tick of both axes, at the same share of each.
fn axes(out: &mut String, share: f64, across: &str, up: &str) {
    let (x, y) = (MARGIN + share * WIDTH, 10.0 + (1.0 - share) * HEIGHT);
    let (left, right, below) = (MARGIN, MARGIN + WIDTH, HEIGHT + 28.0);
    let _ = write!(
        out,
        "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#8884\"/>\
         <text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{across}</text>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{up}</text>",
        left - 6.0,
        y + 4.0
    );
}

fn polyline(out: &mut String, points: impl Iterator<Item = (f64, f64)>, number: usize) {
    let colour = colour(number);
    let _ = write!(out, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"");
    for (across, up) in points {
        let (x, y) = (MARGIN + across * WIDTH, 10.0 + (1.0 - up) * HEIGHT);
        let _ = write!(out, "{x:.1},{y:.1} ");
    }
    out.push_str("\"/>");
}

fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

fn time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} us"),
        us if us < 1e6 => format!("{:.3} ms", us / 1e3).replace(".000", ""),
        us => format!("{:.2} s", us / 1e6).replace(".00", ""),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_chart_is_a_picture_of_its_own_and_starts_where_the_first_phone_is_back() {
        let empty = crate::harness::tally::histogram();
        let mut back = back::Back::default();
        for second in 1..=4 {
            back.came(Duration::from_secs(second), Duration::from_secs(second));
        }
        let back = back.curve(Duration::ZERO);
        let chart = chart(&[Curve { label: "a & b", timeline: &[], file_us: &empty, back }]);
        assert!(chart.starts_with("<svg xmlns") && chart.ends_with("</svg>\n"));
        assert!(chart.contains("a &amp; b") && chart.contains(">4.00 s<"));
        assert!(chart.contains("points=\"261.0,230.0 261.0,175.0 "), "{chart}");
    }

    #[test]
    fn a_page_of_an_empty_run_is_whole_and_loads_nothing() {
        let empty = crate::harness::tally::histogram();
        let back = back::Back::default().curve(Duration::ZERO);
        let curve = Curve { label: "<script>", timeline: &[], file_us: &empty, back };
        let page = page(&[curve], true, "<script>");
        assert!(page.ends_with("</svg>"));
        assert!(!page.contains("<script>") && !page.contains("http"));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }
}
