//! `HX_PROFILE=cpu`: where a command spends the processor's time, as a flame graph.
//!
//! What must hold: a command does the same with and without it, and its own outcome is what counts, whatever becomes of the profile.
//!
//! What it deliberately does not do: measure waiting. A sync that waits for the network shows little.

use console::{Exit, Failure};
use std::io::Write;

use super::Context;
use crate::settings::Profile;

/// Samples a second; a prime, so that it does not beat with anything that runs by the clock.
const SAMPLES_PER_S: i32 = 499;

/// Runs the work, profiled if the settings say so.
pub(super) fn profiled(
    context: &Context,
    work: impl FnOnce() -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    if context.settings.profile.value == Profile::Off {
        return work();
    }
    let guard = pprof::ProfilerGuardBuilder::default()
        .frequency(SAMPLES_PER_S)
        // Unwinding through these from within a signal handler can hang.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build();
    let guard = match guard {
        Ok(guard) => guard,
        Err(error) => {
            context
                .ui
                .warn(format!("the profiler could not start: {error}"));
            return work();
        }
    };
    let outcome = work();
    match write(context, &guard) {
        Ok(path) => context.ui.status(format!("wrote a flame graph to {path}")),
        Err(why) => context
            .ui
            .warn(format!("no flame graph was written: {why}")),
    }
    outcome
}

fn write(context: &Context, guard: &pprof::ProfilerGuard<'_>) -> Result<String, String> {
    context
        .paths
        .create()
        .map_err(|failure| failure.to_string())?;
    let time = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let path = context
        .paths
        .run_dir()
        .join(format!("cpu-{time}-{}.svg", std::process::id()));
    let report = guard.report().build().map_err(|error| error.to_string())?;
    let mut graph = Vec::new();
    if report.data.is_empty() {
        // The library's drawing of nothing is an error.
        graph = EMPTY.to_vec();
    } else {
        report
            .flamegraph(&mut graph)
            .map_err(|error| error.to_string())?;
    }
    let written = store::file::AtomicFile::create(&path).and_then(|mut file| {
        file.write_all(&graph)?;
        file.commit()
    });
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.display().to_string())
}

/// What is written when the command was over before the first sample.
const EMPTY: &[u8] = br#"<svg xmlns="http://www.w3.org/2000/svg" width="640" height="40"><text x="10" y="25">The command used too little of the processor to show.</text></svg>
"#;
