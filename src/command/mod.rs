//! The commands, one a file.

mod bench;
mod config;
mod demo;
mod doctor;
mod evaluate;
mod explain;
mod export;
mod graph;
mod inference;
mod model;
mod phantom;
mod run;
mod selected;
mod serve;
mod table;
mod train;

use std::process::ExitCode;

use crate::arguments::{Arguments, Command};
use crate::console::Console;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Done,
    /// A check did not hold, or a result could not be written; it was said which.
    Failed,
    /// Some inputs were rejected; each was named with its reason.
    SomeRejected,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::SomeRejected => Self::from(3),
        }
    }
}

/// Does what was asked.
///
/// # Errors
///
/// Returns an error that names what failed.
pub fn dispatch(arguments: Arguments, console: &mut Console) -> anyhow::Result<Exit> {
    let device = arguments.device;
    match arguments.command {
        Command::Demo(demo) => demo::demo(&demo, device, console),
        Command::Run(run) => run::run(&run, arguments.config.as_deref(), device, console),
        Command::Serve => serve::serve(arguments.config.as_deref(), device, console),
        Command::Phantom(phantom) => phantom::phantom(&phantom, console),
        Command::Train(train) => train::train(&train, device, console),
        Command::Evaluate(evaluate) => evaluate::evaluate(&evaluate, device, console),
        Command::Explain(explain) => explain::explain(&explain, arguments.config.as_deref(), device, console),
        Command::Export(export) => export::export(&export, console),
        Command::Graphs(graphs) => graph::graphs(&graphs, device, console),
        Command::Model(model) => model::model(&model, device, console),
        Command::Config(asked) => config::config(&asked, arguments.config.as_deref(), console),
        Command::Doctor(asked) => doctor::doctor(&asked, arguments.config.as_deref(), device, console),
        Command::Bench(bench) => bench::bench(&bench, device, console),
    }
}
