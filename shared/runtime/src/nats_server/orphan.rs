//! A server whose parent was killed: found by its pid file, to go on with or to be stopped in order, so that its store
//! can be opened.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

const STOP_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);

pub(super) fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = as_pid(pid).ok_or(io::ErrorKind::InvalidInput)?;
    kill_process(pid, signal).map_err(io::Error::from)
}

pub(super) async fn stop(pid_file: &Path) {
    let Some(pid) = find(pid_file) else { return };
    info!(pid, "stopping the nats-server that an earlier run left behind");
    if signal(pid, Signal::TERM).is_err() {
        return;
    }
    let deadline = Instant::now() + STOP_WITHIN;
    while is_alive(pid) {
        if Instant::now() >= deadline {
            warn!(pid, "it does not stop and is killed");
            // Failing means that it has ended after all.
            let _ = signal(pid, Signal::KILL);
            return;
        }
        sleep(POLL).await;
    }
}

/// The number in the file may by now belong to anything: only a process that was started with this very file counts.
pub(super) fn find(pid_file: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    (is_alive(pid) && command_line(pid)?.contains(pid_file.to_str()?)).then_some(pid)
}

fn command_line(pid: u32) -> Option<String> {
    if let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) {
        return Some(String::from_utf8_lossy(&line).replace('\0', " "));
    }
    let output = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
    Some(String::from_utf8_lossy(&output.ok()?.stdout).into_owned())
}

pub(super) fn is_alive(pid: u32) -> bool {
    as_pid(pid).is_some_and(|pid| test_kill_process(pid).is_ok()) && !is_zombie(pid)
}

/// Ended, and only waits for its parent to look: in tests the parent is this very process.
fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
