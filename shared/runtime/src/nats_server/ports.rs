//! The file in which a server says on which ports it listens, written once it takes connections.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

pub(super) struct Ports {
    pub(super) client: SocketAddr,
    pub(super) monitor: Option<SocketAddr>,
}

#[derive(Deserialize)]
struct File {
    nats: Vec<String>,
    #[serde(default)]
    monitoring: Vec<String>,
}

/// `None` while it is not (wholly) there.
pub(super) fn read(folder: &Path, pid: u32) -> Option<Ports> {
    // The file is named after the program, whatever that is called.
    let ending = format!("_{pid}.ports");
    let mut entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let entry = entries.find(|entry| entry.file_name().to_string_lossy().ends_with(&ending))?;
    let text = fs::read_to_string(entry.path()).ok()?;
    let file: File = serde_json::from_str(&text).ok()?;
    let client = file.nats.first().and_then(|url| address(url))?;
    Some(Ports { client, monitor: file.monitoring.first().and_then(|url| address(url)) })
}

fn address(url: &str) -> Option<SocketAddr> {
    url.split_once("://")?.1.parse().ok()
}
