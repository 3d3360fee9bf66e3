//! The `wharf` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match actix_web::rt::System::new().block_on(wharf::cli::run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wharf: {error}");
            ExitCode::FAILURE
        }
    }
}
