//! Builds the catalogue from its files and checks what one entry cannot know of another:
//! unique names, declared channels, streams for categories.

use std::collections::{HashMap, HashSet};

use super::Catalogue;
use super::channel_rule::ChannelRule;
use super::command_entry::command_type;
use super::command_type::CommandType;
use super::entry::{channel_rule, event_type};
use super::event_type::{EventType, MOST_WIRE_NAMES};
use super::file::{self, File, FrameEntry, TurnOnEntry, mistake};
use super::frame::Frame;
use super::mistake::{Mistake, Mistakes};
use super::protecting::{TurnedOn, turn_on, turned_on_commands};
use super::schema::{NamedTypes, Schema};

/// Categories that no stream stores; their events are ephemeral.
const EPHEMERAL_CATEGORIES: [&str; 2] = ["presence", "typing"];

/// Names that Socket.IO keeps for itself; a client refuses or misreads an event called so.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Names of session frames that an event has too: a client listens once for whatever failed, said at once or stored.
const SHARED_WITH_FRAMES: [&str; 1] = ["error"];

pub fn is_ephemeral_category(category: &str) -> bool {
    EPHEMERAL_CATEGORIES.contains(&category)
}

pub(super) fn load(
    builtin: &[(&str, &str)],
    extra: &[(String, String)],
) -> Result<Catalogue, Mistakes> {
    let mut mistakes = Vec::new();
    let builtin_count = builtin.len();
    let builtin = builtin.iter().copied();
    let extra = extra.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let mut files: Vec<File> =
        builtin.chain(extra).map(|(name, text)| file::parse(name, text, &mut mistakes)).collect();
    let mut loader = Loader { mistakes, ..Loader::default() };
    // Entries refer to types and channels of any file, so these come first.
    files.iter().for_each(|file| loader.add_types(file));
    files.iter().for_each(|file| loader.add_channels(file));
    let (own, operators) = files.split_at(builtin_count);
    own.iter().for_each(|file| loader.add_frames(file));
    operators.iter().for_each(|file| loader.refuse_the_platforms_own(file));
    let turned_on: Vec<_> = files
        .iter_mut()
        .map(|file| (file.name.clone(), std::mem::take(&mut file.turned_on)))
        .collect();
    files.iter_mut().for_each(|file| loader.add_commands(file));
    files.into_iter().for_each(|file| loader.add_events(file));
    turned_on.iter().for_each(|(file, entries)| loader.turn_on(file, entries));
    loader.finish()
}

#[derive(Default)]
struct Loader {
    types: NamedTypes,
    channels: Vec<ChannelRule>,
    by_channel: HashMap<String, usize>,
    shapes: HashSet<String>,
    frames: Vec<Frame>,
    frame_names: HashSet<String>,
    events: Vec<EventType>,
    by_type: HashMap<String, usize>,
    by_wire_name: HashMap<String, usize>,
    by_subject: HashMap<String, usize>,
    commands: Vec<CommandType>,
    by_command: HashMap<String, usize>,
    turned_on: TurnedOn,
    mistakes: Vec<Mistake>,
}

impl Loader {
    fn report(&mut self, file: &str, entry: &str, problem: impl Into<String>) {
        self.mistakes.push(mistake(file, Some(entry.to_owned()), problem.into()));
    }

    fn add_types(&mut self, file: &File) {
        for (name, schema) in &file.types {
            if self.types.contains_key(name) {
                self.report(&file.name, name, "this type is declared already; files may only add");
            } else {
                self.types.insert(name.clone(), schema.clone());
            }
        }
    }

    fn add_channels(&mut self, file: &File) {
        for entry in &file.channels {
            let label = format!("channel {}", entry.name);
            match channel_rule(entry) {
                Ok(rule) if self.shapes.contains(&rule.shape()) => {
                    self.report(&file.name, &label, "is declared already; files may only add");
                }
                Ok(rule) => {
                    self.shapes.insert(rule.shape());
                    let key = if rule.is_pattern() {
                        format!("{}:", rule.kind())
                    } else {
                        rule.name.clone()
                    };
                    self.by_channel.insert(key, self.channels.len());
                    self.channels.push(rule);
                }
                Err(problem) => self.report(&file.name, &label, problem),
            }
        }
    }

    fn add_frames(&mut self, file: &File) {
        for entry in &file.frames {
            let label = format!("frame {}", entry.name);
            match self.frame(entry) {
                Ok(frame) => {
                    self.frame_names.insert(frame.name.clone());
                    self.frames.push(frame);
                }
                Err(problem) => self.report(&file.name, &label, problem),
            }
        }
    }

    fn refuse_the_platforms_own(&mut self, file: &File) {
        for entry in &file.frames {
            let label = format!("frame {}", entry.name);
            self.report(&file.name, &label, "session frames are the platform's own");
        }
        for entry in &file.commands {
            let label = format!("command {}", entry.name);
            self.report(&file.name, &label, "commands are the platform's own: code decides them");
        }
    }

    fn add_commands(&mut self, file: &mut File) {
        let category = file.category.clone().unwrap_or_default();
        for entry in std::mem::take(&mut file.commands) {
            let label = format!("command {category}.{}", entry.name);
            let problems = match command_type(&category, entry, &self.types) {
                Ok(command) => self.admit_command(command),
                Err(problems) => problems,
            };
            for problem in problems {
                self.report(&file.name, &label, problem);
            }
        }
    }

    /// Takes a command that is right by itself, unless one of its names is another's.
    fn admit_command(&mut self, command: CommandType) -> Vec<String> {
        let names = || command.wires.iter().chain([&command.name]);
        let taken = |name: &&String| {
            self.by_command.contains_key(*name) || RESERVED.contains(&name.as_str())
        };
        let problems: Vec<_> =
            names().filter(taken).map(|name| format!("the name {name} is taken")).collect();
        if problems.is_empty() {
            self.by_command.extend(names().map(|name| (name.clone(), self.commands.len())));
            self.commands.push(command);
        }
        problems
    }

    fn frame(&self, entry: &FrameEntry) -> Result<Frame, String> {
        if self.frame_names.contains(&entry.name) {
            return Err("is declared already; files may only add".to_owned());
        }
        let schema = Schema::of_frame(&entry.schema, &self.types)?;
        schema
            .validate(&entry.example)
            .map_err(|v| format!("example{}: {}", v.pointer, v.reason))?;
        Ok(Frame {
            name: entry.name.clone(),
            summary: entry.summary.clone(),
            wires: entry.wires.clone(),
            example: entry.example.clone(),
            schema,
        })
    }

    fn add_events(&mut self, file: File) {
        let Some(category) = file.category.filter(|_| !file.events.is_empty()) else {
            if !file.events.is_empty() {
                self.mistakes.push(mistake(&file.name, None, "category: is missing".to_owned()));
            }
            return;
        };
        for entry in file.events {
            let label = format!("event {category}.{}", entry.name);
            let problems = match event_type(&category, entry, &self.types) {
                Ok(event) => self.admit(event),
                Err(problems) => problems,
            };
            for problem in problems {
                self.report(&file.name, &label, problem);
            }
        }
    }

    /// Takes an event that is right by itself, unless it clashes with what is there.
    fn admit(&mut self, event: EventType) -> Vec<String> {
        let mut problems = self.clashes(&event);
        problems.extend(self.channel_problems(&event));
        if problems.is_empty() {
            let at = self.events.len();
            self.by_type.insert(event.name.clone(), at);
            self.by_wire_name.extend(event.wire.all().map(|name| (name.to_owned(), at)));
            self.by_subject.insert(subject_key(event.category.as_str(), event.token.as_str()), at);
            self.events.push(event);
        }
        problems
    }

    fn clashes(&self, event: &EventType) -> Vec<String> {
        if self.by_type.contains_key(&event.name) {
            return vec!["is declared already; files may only add".to_owned()];
        }
        let mut problems = Vec::new();
        if self.by_subject.contains_key(&subject_key(event.category.as_str(), event.token.as_str()))
        {
            problems.push(format!("another event has the subject name {}", event.token));
        }
        if event.wire.all().count() > MOST_WIRE_NAMES {
            problems.push(format!("wire_for: more than {MOST_WIRE_NAMES} wire names of one event"));
        }
        let mut own = HashSet::new();
        for name in event.wire.all() {
            if let Some(&at) = self.by_wire_name.get(name) {
                problems.push(format!("the wire name {name} is {}'s", self.events[at].name));
            }
            let reserved = RESERVED.contains(&name) || name.starts_with("throughline:");
            let is_shared =
                SHARED_WITH_FRAMES.contains(&name) && !self.by_wire_name.contains_key(name);
            let is_frame = self.frame_names.contains(name) && !is_shared;
            if reserved || is_frame {
                problems.push(format!("the wire name {name} is reserved"));
            }
            if !own.insert(name) {
                problems.push(format!("the wire name {name} is given twice"));
            }
        }
        problems
    }

    fn channel_problems(&self, event: &EventType) -> Vec<String> {
        let undeclared = event
            .channels
            .iter()
            .filter(|template| !self.shapes.contains(&template.shape()))
            .map(|template| format!("channels: {} is no declared channel", template.text()));
        let used = |kind: &str| {
            event.channels.iter().any(|template| template.shape() == format!("{kind}:{{}}"))
        };
        let unused = event
            .wire
            .by_kind()
            .filter(|(kind, _)| !used(kind))
            .map(|(kind, _)| format!("wire_for: the event goes to no channel {kind}:{{…}}"));
        undeclared.chain(unused).collect()
    }

    fn turn_on(&mut self, file: &str, entries: &[TurnOnEntry]) {
        for entry in entries {
            let label = format!("protection of {}", entry.tenant);
            let (by_type, events) = (&self.by_type, &self.events);
            let event = |name: &str| by_type.get(name).map(|&at| &events[at]);
            for problem in turn_on(entry, event, &mut self.turned_on) {
                self.report(file, &label, problem);
            }
        }
    }

    fn finish(self) -> Result<Catalogue, Mistakes> {
        if !self.mistakes.is_empty() {
            return Err(Mistakes(self.mistakes));
        }
        Ok(Catalogue {
            events: self.events,
            by_type: self.by_type,
            by_wire_name: self.by_wire_name,
            by_subject: self.by_subject,
            by_command: self.by_command,
            channels: self.channels,
            by_channel: self.by_channel,
            frames: self.frames,
            turned_on_commands: turned_on_commands(&self.commands, &self.turned_on),
            turned_on: self.turned_on,
            commands: self.commands,
        })
    }
}

pub(super) fn subject_key(category: &str, name: &str) -> String {
    format!("{category}.{name}")
}
