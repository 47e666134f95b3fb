//! Coverage-guided fuzzing of the target that `FUZZ_TARGET` names: libFuzzer, whose arguments this takes. `make fuzz`
//! builds it with the instrumentation that libFuzzer needs.

#![no_main]

use std::sync::OnceLock;

use fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = fuzz::find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is no target"));
    TARGET.get_or_init(|| target);
}, |input: &[u8]| {
    if let Some(target) = TARGET.get() {
        fuzz::replay::check_one(target, input);
    }
});
