//! The figures as lines for people.

use super::{Figures, Row};

/// All lines.
pub(super) fn lines(figures: &Figures) -> Vec<String> {
    let setting = &figures.setting;
    let mut lines =
        vec![format!("revision {}, {}", setting.revision, setting.device_line()), format!("{}\n", setting.note)];
    lines.extend(figures.models.iter().map(|model| {
        format!(
            "{}: {:?} of width {}, input {3} x {3}, U-Net of width {4} on patches of {5}, by {6}",
            model.model, model.arch, model.width, model.size, model.unet_width, model.unet_patch, model.engine
        )
    }));
    lines.push(format!(
        "\n{:<12} {:<10} {:>5} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8} {:>12} {:>7}",
        "model",
        "network",
        "batch",
        "p10 ms",
        "median ms",
        "p90 ms",
        "CPU ms",
        "slices/s",
        "launches",
        "own kernels",
        "burn"
    ));
    lines.extend(figures.networks.iter().map(line));
    if figures.networks.iter().any(|row| row.launches.all.is_none()) {
        lines.push("launches: those on the runtime; what a processor does by itself is none".to_owned());
    }
    if !figures.skipped.is_empty() {
        lines.push(String::new());
    }
    lines.extend(figures.skipped.iter().map(|skipped| {
        format!("left out: {}, {}, {} slices: {}", skipped.model, skipped.network.name(), skipped.batch, skipped.reason)
    }));
    lines
}

fn line(row: &Row) -> String {
    format!(
        "{:<12} {:<10} {:>5} {:>10.3} {:>10.3} {:>10.3} {:>10.3} {:>10.1} {:>8} {:>12} {:>7}",
        row.model,
        row.network.name(),
        row.batch,
        row.taken.milliseconds.p10,
        row.taken.milliseconds.median,
        row.taken.milliseconds.p90,
        row.taken.cpu_milliseconds,
        row.slices_per_second,
        row.launches.all.unwrap_or(row.launches.own),
        row.kernels.as_ref().map_or_else(|| "-".to_owned(), |own| format!("{:.1} %", own.share_of_time * 100.0)),
        row.burn.as_ref().map_or_else(|| "-".to_owned(), |burn| format!("{:.2} x", burn.ratio)),
    )
}
