//! The command line of Offhook.

use std::process::ExitCode;

fn main() -> ExitCode {
    offhook::cli::main()
}
