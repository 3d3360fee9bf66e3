//! The `wharf` program with hooks that end the process, as SIGKILL would, at the n-th passage of a point. `WHARF_CRASH_AT` names both,
//! such as `applied:17`; without it nothing happens.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wharf::base::hooks::{Hooks, Point};

struct CrashAt {
    point: String,
    left: AtomicU64,
}

impl Hooks for CrashAt {
    fn reach(&self, point: Point, _: &str) {
        // Ends without unwinding, flushing or closing.
        if point.name() == self.point && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}

fn main() -> ExitCode {
    let at = std::env::var("WHARF_CRASH_AT").unwrap_or_default();
    let (point, count) = at.split_once(':').unwrap_or_default();
    let hooks = CrashAt { point: point.to_owned(), left: AtomicU64::new(count.parse().unwrap_or(u64::MAX)) };
    match actix_web::rt::System::new().block_on(wharf::cli::run(Arc::new(hooks))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wharf: {error}");
            ExitCode::FAILURE
        }
    }
}
