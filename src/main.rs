//! The `hemoflow` program: parse, run, tell.

use std::process::ExitCode;

use clap::Parser;
use hemoflow::arguments::Arguments;
use hemoflow::command;
use hemoflow::console::{self, Console};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    console::log_to_standard_error(arguments.verbose, arguments.quiet);
    let mut console = Console::standard(arguments.json);
    match command::dispatch(arguments, &mut console) {
        Ok(exit) => exit.into(),
        Err(error) => {
            console::complain(&error);
            ExitCode::FAILURE
        }
    }
}
