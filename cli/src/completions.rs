//! Shell completions, made from the command line's own description.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// For example: throughline completions bash > /etc/bash_completion.d/throughline
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut command = crate::arguments::CommandLine::command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "throughline", &mut script);
    crate::table::write_out(&script)
}
