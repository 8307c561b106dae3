//! What the program says: results on standard output, progress and complaints on standard error.

use std::io::{self, Write};

use serde::Serialize;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Where results go: text for people, or JSON for programs.
pub struct Console {
    out: Box<dyn Write>,
    json: bool,
}

impl Console {
    /// Results on standard output.
    #[must_use]
    pub fn standard(json: bool) -> Self {
        Self { out: Box::new(io::stdout()), json }
    }

    /// Whether results are told as JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Tells a line of text, unless results are told as JSON.
    ///
    /// # Errors
    ///
    /// Returns the system's error if standard output is closed.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.out, "{}", text.as_ref().trim_end()) }
    }

    /// Tells a result as JSON, if results are told so.
    ///
    /// # Errors
    ///
    /// Returns the system's error if standard output is closed.
    pub fn json(&mut self, result: &impl Serialize) -> io::Result<()> {
        if self.json { writeln!(self.out, "{}", serde_json::to_string_pretty(result)?) } else { Ok(()) }
    }
}

/// Progress goes to standard error as plain lines: `-q` leaves warnings, `-v` adds detail. What libraries have to say is left
/// out: a refused input is told by us, once.
pub fn log_to_standard_error(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let ours = ["hemoflow", "graphs", "operators", "kernels"].map(|name| (name, level));
    let format = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let format = format.with_target(false).without_time().with_ansi(false);
    // It fails only when a subscriber is there already, as in tests.
    tracing_subscriber::registry().with(format).with(Targets::new().with_targets(ours)).try_init().ok();
}

/// Lets a panic say where it happened and what it says by itself. What was formatted into it may be a value of a data set,
/// and is not told.
pub fn keep_values_out_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("what it says is not told");
        let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
        // There is nowhere left to say that standard error is closed.
        writeln!(io::stderr(), "hemoflow: a panic{place}: {said}").ok();
    }));
}

/// Says on one line why the program failed.
pub fn complain(error: &anyhow::Error) {
    // There is nowhere left to say that standard error is closed.
    writeln!(io::stderr(), "hemoflow: {error:#}").ok();
}
