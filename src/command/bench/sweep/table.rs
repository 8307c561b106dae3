//! The figures as lines for people.

use super::case::Place;
use super::{Figures, Row};

/// All lines.
pub(super) fn lines(figures: &Figures) -> Vec<String> {
    let setting = &figures.setting;
    let threads = figures.threads.map_or_else(String::new, |threads| format!(", kernels on {threads} threads"));
    let mut lines = vec![
        format!("revision {}, {}{threads}, timed by {}", setting.revision, setting.device_line(), figures.timing),
        format!("{}\n", setting.note),
        format!(
            "{:<25} {:>5} {:>5} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8} {:>10}",
            "kernel", "size", "batch", "p10 ms", "median ms", "p90 ms", "CPU ms", "MB", "GB/s", "of copy", "plain Rust"
        ),
    ];
    lines.extend(figures.kernels.iter().map(line));
    if figures.kernels.iter().any(|row| row.place == Place::Threads) {
        lines.push("+ by the host's own loops on all threads".to_owned());
    }
    if figures.kernels.iter().any(|row| row.place == Place::Host) {
        lines.push("* on one thread of the host, beside a copy on one thread".to_owned());
    }
    if !figures.skipped.is_empty() {
        lines.push(String::new());
    }
    lines.extend(figures.skipped.iter().map(|skipped| {
        format!("left out: {}, {} of {2} x {2}: {3}", skipped.kernel, skipped.batch, skipped.size, skipped.reason)
    }));
    lines
}

#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "bytes to show as megabytes")]
fn line(row: &Row) -> String {
    let mark = match row.place {
        Place::Device => "",
        Place::Threads => "+",
        Place::Host => "*",
    };
    let reference = row.reference.as_ref().map_or_else(|| "-".to_owned(), |defined| format!("{:.1} x", defined.ratio));
    format!(
        "{:<25} {:>5} {:>5} {:>10.4} {:>10.4} {:>10.4} {:>10.4} {:>10.3} {:>8.2} {:>6.1} % {:>10}",
        format!("{}{mark}", row.kernel),
        row.size,
        row.batch,
        row.taken.milliseconds.p10,
        row.taken.milliseconds.median,
        row.taken.milliseconds.p90,
        row.taken.cpu_milliseconds,
        row.bytes as f64 / 1e6,
        row.gigabytes_per_second,
        row.share_of_copy * 100.0,
        reference,
    )
}
