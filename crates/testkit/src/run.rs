//! Programs that were run, and programs that run.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Output};

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// The command line, for messages.
    pub line: String,
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it wrote.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Run {
    pub(crate) fn new(line: String, output: Output) -> Self {
        Self {
            line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The output of a program that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout
    }

    /// The error output of a program that must have failed.
    #[track_caller]
    pub fn fails(self) -> String {
        assert_ne!(self.code, 0, "{self}");
        self.stderr
    }

    /// Like [`Run::ok`]; the output must hold `part`.
    #[track_caller]
    pub fn says(self, part: &str) -> String {
        let shown = self.to_string();
        let stdout = self.ok();
        assert!(stdout.contains(part), "{part:?} is missing in\n{shown}");
        stdout
    }

    /// Like [`Run::fails`]; the error output must hold `part`.
    #[track_caller]
    pub fn fails_with(self, part: &str) -> String {
        let shown = self.to_string();
        let stderr = self.fails();
        assert!(stderr.contains(part), "{part:?} is missing in\n{shown}");
        stderr
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "$ {line}\n{stdout}--- stderr\n{stderr}--- exit code {code}")
    }
}

/// A program that runs until it is dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Background {
    pub(crate) fn new(mut child: Child) -> Self {
        let stdout = child.stdout.take().expect("its standard output is a pipe");
        Self { child, lines: BufReader::new(stdout) }
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its next line; `None` once it has ended.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).expect("its output is text");
        (count > 0).then(|| line.trim_end().to_owned())
    }

    /// Reads lines until one holds `part`, and answers it.
    #[track_caller]
    pub fn line_with(&mut self, part: &str) -> String {
        let mut seen = Vec::new();
        while let Some(line) = self.line() {
            if line.contains(part) {
                return line;
            }
            seen.push(line);
        }
        panic!("it ended without a line with {part:?}: {seen:#?}");
    }

    /// Its standard input.
    pub fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().expect("its standard input is a pipe")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
