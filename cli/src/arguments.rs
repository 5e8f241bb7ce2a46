//! The command line: which commands there are and what each takes.

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    bench, client, completions, data, erase, health, history, publish, quarantine, safety, service,
    simulate, streams, tail, team, token, up, view,
};

/// Throughline: webhooks become events, clients follow them and get exactly what they missed.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 64 wrong configuration.\n\
                  Without a command, `throughline up` is run.",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: up::Arguments,
}

impl CommandLine {
    /// What the program was started with.
    pub(crate) fn read() -> Self {
        Self::from_arg_matches(&Self::whole().get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Where a command has commands of its own, its options may stand behind those.
    fn whole() -> clap::Command {
        let anywhere = |command: clap::Command| command.mut_args(|argument| argument.global(true));
        Self::command().mut_subcommand("quarantine", anywhere)
    }

    pub(crate) fn chosen(self) -> Command {
        self.command.unwrap_or(Command::Up(self.up))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start nats-server and all services in one go, and print how to use them
    Up(up::Arguments),
    /// Make a token for a role
    Token(token::Arguments),
    /// Publish an event
    Publish(publish::Arguments),
    /// Follow channels live, resuming after every cut
    Tail(tail::Arguments),
    /// Read what a channel held
    History(history::Arguments),
    /// Read what a view is or was, or have it built anew
    View(view::Arguments),
    /// Send believable provider traffic through the real endpoints
    Simulate(simulate::Arguments),
    /// Look at what could not be understood, and try it again
    Quarantine(quarantine::Arguments),
    /// Make a person's data unreadable everywhere
    Erase(erase::Arguments),
    /// Judge the rules that screen messages for people in danger
    Safety(safety::Arguments),
    /// Check or apply the definitions of streams, buckets and consumers
    Streams(streams::Arguments),
    /// Manage the teams that publish on NATS
    Team(team::Arguments),
    /// Measure, against a floor taken in the same run
    Bench(bench::Arguments),
    /// Make the development secrets of a data folder, once
    Secrets(data::Location),
    /// Ask a service's health address; for container health checks
    Health(health::Arguments),
    /// Run one service from its environment
    Service(service::Arguments),
    /// Print docs/CONFIG.md: every environment variable
    Variables,
    /// Print a completion script for a shell
    Completions(completions::Arguments),
}

/// What every command that talks to a running platform takes.
pub(crate) type Target = client::Target;

/// What a command's own arguments are read as.
#[cfg(test)]
pub(crate) fn parsed<A: clap::Args>(words: &[&str]) -> Result<A, clap::Error> {
    let command = A::augment_args(clap::Command::new("throughline").no_binary_name(true));
    A::from_arg_matches(&command.try_get_matches_from(words)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::whole().debug_assert();
    }

    #[test]
    fn a_folder_is_named_before_or_behind_what_is_done_with_the_quarantine() {
        for given in [
            ["throughline", "quarantine", "--data", "/x", "list"],
            ["throughline", "quarantine", "list", "--data", "/x"],
        ] {
            let matches = CommandLine::whole().try_get_matches_from(given).unwrap();
            let line = CommandLine::from_arg_matches(&matches).unwrap();
            let Command::Quarantine(arguments) = line.chosen() else { panic!("{given:?}") };
            assert!(format!("{arguments:?}").contains("data: \"/x\""), "{arguments:?}");
        }
    }

    #[test]
    fn without_a_command_the_platform_is_started() {
        let line = CommandLine::parse_from(["throughline", "--demo"]);
        assert!(matches!(line.chosen(), Command::Up(_)));
    }
}
