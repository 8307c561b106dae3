//! Plots as SVG: points and lines in a frame with ticks, and nothing that is read from elsewhere.

use std::fmt::Write as _;

/// Width and height of the frame, and the room to its left, above, to its right and below.
const FRAME: [f64; 2] = [300.0, 240.0];
const ROOM: [f64; 4] = [52.0, 12.0, 14.0, 44.0];
/// Colors of series, apart for every kind of sight.
const COLORS: [&str; 5] = ["#0b62d6", "#c4460f", "#197a4b", "#8a3ffc", "#6e7781"];

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Points,
    Line,
    /// A line with its points.
    Both,
    /// A faint line beside the data.
    Guide,
}

/// Points in the units of the axes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) style: Style,
    pub(super) points: Vec<[f64; 2]>,
}

/// A plot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// What the axes are, with their units.
    pub(super) axes: [&'static str; 2],
    /// Least and greatest value of each axis; `None` for those of the data.
    pub(super) ranges: [Option<[f64; 2]>; 2],
    pub(super) series: Vec<Series>,
}

impl Plot {
    /// The plot as a figure; a sentence where there is nothing to draw.
    pub(super) fn figure(&self) -> String {
        let points =
            || self.series.iter().filter(|series| series.style != Style::Guide).flat_map(|series| &series.points);
        if points().next().is_none() {
            return format!("<p>{}: nothing to draw.</p>\n", escaped(self.title));
        }
        let range = |axis: usize| self.ranges[axis].unwrap_or_else(|| nice(points().map(|point| point[axis])));
        let [x, y] = [range(0), range(1)];
        let place = |[a, b]: [f64; 2]| {
            let part = |value: f64, [low, high]: [f64; 2]| ((value - low) / (high - low).max(1e-12)).clamp(-0.02, 1.02);
            [ROOM[0] + FRAME[0] * part(a, x), ROOM[1] + FRAME[1] * (1.0 - part(b, y))]
        };
        let [width, height] = [ROOM[0] + FRAME[0] + ROOM[2], ROOM[1] + FRAME[1] + ROOM[3]];
        let mut svg = format!(
            "<figure><svg viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\" aria-label=\"{}\">\
             <rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#8b949e\"/>",
            escaped(self.title),
            ROOM[0],
            ROOM[1],
            FRAME[0],
            FRAME[1]
        );
        for step in 0..=4 {
            let part = f64::from(step) / 4.0;
            let [a, b] = [x, y].map(|[low, high]| low + part * (high - low));
            let ([left, _], [_, top]) = (place([a, y[0]]), place([x[0], b]));
            let (below, beside) = (ROOM[1] + FRAME[1] + 15.0, ROOM[0] - 5.0);
            svg += &format!(
                "<text x=\"{left:.1}\" y=\"{below:.1}\" text-anchor=\"middle\">{}</text>\
                 <text x=\"{beside:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                tick(a, x),
                top + 4.0,
                tick(b, y)
            );
        }
        let (middle, center) = (ROOM[0] + FRAME[0] / 2.0, ROOM[1] + FRAME[1] / 2.0);
        svg += &format!(
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text x=\"13\" y=\"{center:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 13 {center:.1})\">{}</text>",
            height - 8.0,
            escaped(self.axes[0]),
            escaped(self.axes[1])
        );
        let mut color = COLORS.into_iter().cycle();
        let mut named = Vec::new();
        for series in &self.series {
            let own = if series.style == Style::Guide { "#afb8c1" } else { color.next().unwrap_or("black") };
            svg += &drawn(series, own, &place);
            if !series.name.is_empty() {
                named.push(format!("<span style=\"color:{own}\">&#9632;</span> {}", escaped(&series.name)));
            }
        }
        format!("{svg}</svg><figcaption>{} {}</figcaption></figure>\n", escaped(self.title), named.join(" "))
    }
}

fn drawn(series: &Series, color: &str, place: &dyn Fn([f64; 2]) -> [f64; 2]) -> String {
    let places: Vec<[f64; 2]> = series.points.iter().map(|point| place(*point)).collect();
    let mut svg = String::new();
    if series.style != Style::Points {
        let points: String = places.iter().fold(String::new(), |mut text, [x, y]| {
            // Writing to a string does not fail.
            write!(text, "{x:.1},{y:.1} ").ok();
            text
        });
        let dash = if series.style == Style::Guide { " stroke-dasharray=\"4\"" } else { "" };
        svg += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"{dash}/>",
            points.trim_end()
        );
    }
    if matches!(series.style, Style::Points | Style::Both) {
        for [x, y] in places {
            svg += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\" fill-opacity=\"0.7\"/>");
        }
    }
    svg
}

/// A range that holds the values, with some room.
fn nice(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return [0.0, 1.0];
    }
    let room = (high - low).max(1e-6) * 0.05;
    [low - room, high + room]
}

/// A number beside an axis, as exact as its range asks.
fn tick(value: f64, [low, high]: [f64; 2]) -> String {
    match high - low {
        wide if wide >= 40.0 => format!("{value:.0}"),
        wide if wide >= 4.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Text in a page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_where_the_axes_say_and_names_are_escaped() {
        let series = Series { name: "a<b".to_owned(), style: Style::Both, points: vec![[0.0, 0.0], [1.0, 1.0]] };
        let ranges = [Some([0.0, 1.0]); 2];
        let figure = Plot { title: "t", axes: ["x", "y"], ranges, series: vec![series] }.figure();
        assert!(figure.contains("points=\"52.0,252.0 352.0,12.0\"") && figure.contains("cx=\"352.0\" cy=\"12.0\""));
        assert!(figure.contains("a&lt;b") && !figure.contains("a<b"), "{figure}");
    }

    #[test]
    fn nothing_and_one_value_are_no_trouble() {
        let plot = |points: Vec<[f64; 2]>| Plot {
            title: "t",
            axes: ["x", "y"],
            ranges: [None, None],
            series: vec![Series { name: String::new(), style: Style::Points, points }],
        };
        assert!(plot(vec![]).figure().contains("nothing to draw"));
        assert!(!plot(vec![[3.0, 3.0]]).figure().contains("NaN"));
    }
}
