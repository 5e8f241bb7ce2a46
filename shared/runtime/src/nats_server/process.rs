//! The server's process: a child of ours, or one that an earlier run of ours left behind and this one goes on with.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::sleep;

use super::orphan;

/// How soon the end of a process that is not our child is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) enum Process {
    Child(Box<Child>),
    Adopted(u32),
}

impl Process {
    /// `None` for a process that is not our child, whose status nobody tells us.
    pub(super) async fn wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => child.wait().await.map(Some),
            Self::Adopted(pid) => {
                while orphan::is_alive(*pid) {
                    sleep(LOOK_EVERY).await;
                }
                Ok(None)
            }
        }
    }

    /// Whether it is over, by itself or by somebody's hand.
    pub(super) fn has_ended(&mut self) -> bool {
        match self {
            Self::Child(child) => matches!(child.try_wait(), Ok(Some(_))),
            Self::Adopted(pid) => !orphan::is_alive(*pid),
        }
    }

    pub(super) async fn kill(&mut self) {
        // It has ended either way.
        match self {
            Self::Child(child) => drop(child.kill().await),
            Self::Adopted(pid) => {
                let _ = orphan::signal(*pid, Signal::KILL);
                let _ = self.wait().await;
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A child is killed by its own handle.
        if let Self::Adopted(pid) = self
            && orphan::is_alive(*pid)
        {
            let _ = orphan::signal(*pid, Signal::KILL);
        }
    }
}
