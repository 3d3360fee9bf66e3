//! The `wharf` program.
#![forbid(unsafe_code)]

use mimalloc::MiMalloc;
use std::process::ExitCode;
use std::sync::Arc;

/// A turn makes many small allocations, some freed on another thread.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match actix_web::rt::System::new().block_on(wharf::cli::run(Arc::new(wharf::base::hooks::NoHooks))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wharf: {error}");
            ExitCode::FAILURE
        }
    }
}
