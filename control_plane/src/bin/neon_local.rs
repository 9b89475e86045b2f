//! The `neon_local` command.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match control_plane::cli::run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("command failed: {}", control_plane::cli::describe(&error));
            ExitCode::FAILURE
        }
    }
}
