//! Steps on the terminal: a line each, with a tick and its time once done.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

/// Prints steps to standard output as `cluster::Progress` tells them.
pub struct Steps {
    begun: Instant,
    current: Option<(String, Instant)>,
    terminal: bool,
}

impl Steps {
    /// Nothing has begun.
    pub fn new() -> Self {
        Self { begun: Instant::now(), current: None, terminal: std::io::stdout().is_terminal() }
    }

    /// Time since the first step could begin.
    pub fn elapsed(&self) -> String {
        seconds(self.begun.elapsed())
    }
}

impl cluster::Progress for Steps {
    fn step(&mut self, what: &str) {
        self.done();
        if self.terminal {
            print!(" • {what} ...");
            let _ = std::io::stdout().flush();
        }
        self.current = Some((what.to_owned(), Instant::now()));
    }

    fn done(&mut self) {
        if let Some((what, begun)) = self.current.take() {
            let back = if self.terminal { "\r" } else { "" };
            println!("{back} ✓ {what} ({})   ", seconds(begun.elapsed()));
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some((what, _)) = self.current.take() {
            let back = if self.terminal { "\r" } else { "" };
            println!("{back} ✗ {what}   ");
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
