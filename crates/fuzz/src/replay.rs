//! What CI runs: every kept input, then mutations of them for a bounded time, the same in every run.
//!
//! `FUZZ_SEED` starts another run, `FUZZ_MILLIS` says how long one target is mutated. An input that fails is written to
//! `target/fuzz-failures/<target>`; moved to `crates/fuzz/corpus/<target>` it is replayed for ever.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::corpus;
use crate::memory;
use crate::mutate::{Numbers, mutate};
use crate::target::Target;

/// "kaji".
const SEED: u64 = 0x6b61_6a69;
/// All targets together take some ten seconds of two processors.
const MILLIS: u64 = 1000;

thread_local! {
    static PRESENT: RefCell<(&'static str, Vec<u8>)> = const { RefCell::new(("", Vec::new())) };
}

/// Replays and mutates the kept inputs of a target; panics at the first that fails.
pub fn replay(target: &'static Target) {
    let kept = corpus::read(target.name).unwrap_or_else(|error| panic!("the corpus of {}: {error}", target.name));
    assert!(!kept.is_empty(), "{} has inputs to begin with", target.name);
    for (name, input) in &kept {
        check(target, input, &format!("corpus/{}/{name}", target.name));
    }
    let seed = number("FUZZ_SEED", SEED);
    let end = Instant::now() + Duration::from_millis(number("FUZZ_MILLIS", MILLIS));
    let mut round = 0;
    while Instant::now() < end {
        let mut numbers = Numbers::of(seed, round);
        let (Some((name, one)), Some((_, other))) = (numbers.pick(&kept).cloned(), numbers.pick(&kept)) else { return };
        let input = mutate(&mut numbers, &one, other, target.words, target.longest);
        check(target, &input, &format!("FUZZ_SEED={seed}, round {round}, near {name}"));
        round += 1;
    }
    println!("{}: {} kept inputs, {round} mutations", target.name, kept.len());
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn check(target: &'static Target, input: &[u8], what: &str) {
    PRESENT.with_borrow_mut(|present| *present = (target.name, input.to_vec()));
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| check_one(target, input))) {
        eprintln!("{} failed: {what}", target.name);
        say_where();
        resume_unwind(cause);
    }
}

/// Runs a target on one input, and holds it to its memory.
pub fn check_one(target: &'static Target, input: &[u8]) {
    let allowed = target.memory.of(input.len());
    let measure = || memory::peak_of(say_where, || (target.check)(input));
    let mut peak = measure();
    if peak > allowed {
        // Tables that the first who asks makes for all are not the input's.
        peak = measure();
    }
    assert!(
        peak <= allowed,
        "{} took {peak} bytes for an input of {}, {allowed} are allowed",
        target.name,
        input.len()
    );
}

fn say_where() {
    PRESENT.with_borrow(|(name, input)| match corpus::keep_failure(name, input) {
        // libFuzzer keeps its inputs itself.
        _ if name.is_empty() => eprintln!("the input takes more memory than any may"),
        Ok(path) => eprintln!("the input is {}; move it to {}", path.display(), corpus::folder(name).display()),
        Err(error) => eprintln!("the input cannot be kept: {error}\n{}", input.escape_ascii()),
    });
}
