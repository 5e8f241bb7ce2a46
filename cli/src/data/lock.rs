//! One `up` per data folder: an advisory lock that the kernel releases with the process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};

use crate::data::DataFolder;
use crate::failure::Failure;

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock lives with the open file")] File);

impl Lock {
    pub(crate) fn take(folder: &DataFolder) -> Result<Self, Failure> {
        let path = folder.path().join("lock");
        let told = |error| Failure::failed(path.display().to_string(), error);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(told)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(folder, &mut file)),
            Err(TryLockError::Error(error)) => return Err(told(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(told)?;
        Ok(Self(file))
    }
}

fn held(folder: &DataFolder, file: &mut File) -> Failure {
    let mut holder = String::new();
    let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
    let holder = if known { format!("process {}", holder.trim()) } else { "a process".to_owned() };
    Failure::Failed(format!(
        "{} is in use: {holder} runs `throughline up` on it. Stop that one, or name another folder with --data",
        folder.path().display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(folder.path()).unwrap();
        let first = Lock::take(&folder).unwrap();
        let Err(Failure::Failed(reason)) = Lock::take(&folder) else { panic!("both hold it") };
        assert!(reason.contains(&format!("process {}", std::process::id())), "{reason}");
        drop(first);
        Lock::take(&folder).unwrap();
    }
}
