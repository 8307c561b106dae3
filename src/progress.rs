//! How far a long piece of work is: one line on a terminal, drawn over itself.

use std::io::{self, IsTerminal as _, Stderr, Write};
use std::time::{Duration, Instant};

/// How often the line is drawn.
const PAUSE: Duration = Duration::from_millis(100);
/// Cells of the bar.
const CELLS: usize = 30;

/// A line on standard error if that is a terminal, otherwise nothing.
pub struct Bar {
    out: Option<Stderr>,
    stage: Option<(String, Instant)>,
    drawn: Option<Instant>,
    text: String,
}

impl Default for Bar {
    fn default() -> Self {
        let out = Some(io::stderr()).filter(|out| out.is_terminal());
        Self { out, stage: None, drawn: None, text: String::new() }
    }
}

impl Bar {
    /// Of a stage, `done` of `all` is done.
    pub fn step(&mut self, stage: &str, done: usize, all: usize) {
        let now = Instant::now();
        let since = match &self.stage {
            Some((name, since)) if name == stage => *since,
            _ => {
                self.stage = Some((stage.to_owned(), now));
                now
            }
        };
        if self.drawn.is_some_and(|drawn| now - drawn < PAUSE) && done < all {
            return;
        }
        self.drawn = Some(now);
        self.text = line(stage, done, all, now - since);
        self.draw();
    }

    /// Lets somebody else write lines above.
    pub fn above(&mut self, write: impl FnOnce()) {
        if let Some(out) = &mut self.out {
            // Nothing is left to say it to.
            write!(out, "\r\x1b[K").ok();
        }
        write();
        self.draw();
    }

    /// Wipes the line.
    pub fn end(&mut self) {
        self.text.clear();
        if let Some(out) = &mut self.out {
            write!(out, "\r\x1b[K").and_then(|()| out.flush()).ok();
        }
    }

    fn draw(&mut self) {
        if let Some(out) = self.out.as_mut().filter(|_| !self.text.is_empty()) {
            write!(out, "\r\x1b[K{}", self.text).and_then(|()| out.flush()).ok();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}

/// The line: name, bar, share, and the time that is left if it goes on as it went.
fn line(stage: &str, done: usize, all: usize, since: Duration) -> String {
    let (all, done) = (all.max(1), done.min(all));
    let full = CELLS * done / all;
    let bar = format!("{}{}", "#".repeat(full), ".".repeat(CELLS - full));
    let left = match u32::try_from(done) {
        Ok(steps @ 1..) => {
            let left = (since / steps).saturating_mul(u32::try_from(all - done).unwrap_or(u32::MAX)).as_secs();
            format!(", {}:{:02} left", left / 60, left % 60)
        }
        _ => String::new(),
    };
    format!("{stage} [{bar}] {done}/{all}{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is_and_how_long_it_takes() {
        let minute = Duration::from_secs(60);
        assert_eq!(line("head", 0, 10, minute), format!("head [{}] 0/10", ".".repeat(30)));
        assert_eq!(line("head", 5, 10, minute), format!("head [{}{}] 5/10, 1:00 left", "#".repeat(15), ".".repeat(15)));
        assert_eq!(line("head", 10, 10, minute), format!("head [{}] 10/10, 0:00 left", "#".repeat(30)));
        assert_eq!(line("head", 0, 0, minute), format!("head [{}] 0/1", ".".repeat(30)));
        assert!(line("head", 1, 10, Duration::from_secs(70)).ends_with("10:30 left"));
    }
}
