//! A table of series, a line each.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use operators::completeness::Status;
use operators::report::Report;

/// The columns of [`row`].
pub(super) const HEADER: &str =
    "study                         slices  probability  volume mL  pseudo mL  version  status";

/// One series.
pub(super) fn row(report: &Report) -> String {
    format!(
        "{:<28}  {:>6}  {:>11.3}  {:>9.2}  {:>9.2}  {:>7}  {}",
        short(&report.study_uid),
        report.slices.len(),
        report.probability,
        report.volume_ml.segmentation,
        report.volume_ml.pseudo_mask,
        report.version,
        report.status.word(),
    )
}

/// A UID that fits its column: its end tells it apart.
pub(super) fn short(uid: &str) -> String {
    const WIDTH: usize = 28;
    let letters: Vec<char> = uid.chars().collect();
    if letters.len() <= WIDTH {
        uid.to_owned()
    } else {
        format!("…{}", letters[letters.len() + 1 - WIDTH..].iter().collect::<String>())
    }
}

/// The series as they stand now. On a terminal the table is drawn anew in its place; elsewhere a line is printed when a
/// series' status changes.
pub(super) struct LiveTable {
    rows: BTreeMap<String, (Status, String)>,
    terminal: bool,
    drawn: usize,
    last: Option<Instant>,
}

impl LiveTable {
    /// A table on standard error.
    pub(super) fn on_standard_error() -> Self {
        Self { rows: BTreeMap::new(), terminal: io::stderr().is_terminal(), drawn: 0, last: None }
    }

    /// A series has a new result.
    pub(super) fn update(&mut self, report: &Report) {
        const PAUSE: Duration = Duration::from_millis(100);
        let line = row(report);
        let before = self.rows.insert(report.series_uid.clone(), (report.status, line.clone()));
        if !self.terminal {
            if before.is_none_or(|(status, _)| status != report.status) {
                self.say(&line);
            }
        } else if self.last.is_none_or(|last| last.elapsed() > PAUSE) {
            self.draw();
        }
    }

    /// Draws the last state.
    pub(super) fn finish(&mut self) {
        if self.terminal {
            self.draw();
        }
    }

    fn draw(&mut self) {
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        let rows: String = self.rows.values().map(|(_, line)| format!("{line}\x1b[K\n")).collect();
        self.say(format!("{up}{HEADER}\x1b[K\n{rows}").trim_end());
        self.drawn = self.rows.len() + 1;
        self.last = Some(Instant::now());
    }

    fn say(&self, text: &str) {
        // A table that nobody can see any more stops nothing.
        writeln!(io::stderr(), "{text}").ok();
    }
}
