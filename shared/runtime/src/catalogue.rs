//! The catalogue as a service uses it: the built-in one and the operator's folder of additions.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::catalogue::{Catalogue, Mistakes};

use crate::config::toml_files;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{path} cannot be read; CATALOGUE_DIR names a folder of TOML files")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Wrong(#[from] Mistakes),
}

/// Every `*.toml` of the folder is added, in the order of their names.
pub fn load(folder: Option<&Path>) -> Result<Arc<Catalogue>, LoadError> {
    let files = folder.map(read_folder).transpose()?.unwrap_or_default();
    Ok(Arc::new(Catalogue::load(&files)?))
}

fn read_folder(folder: &Path) -> Result<Vec<(String, String)>, LoadError> {
    toml_files(folder).map_err(|source| LoadError::Unreadable { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let told = load(Some(Path::new("/nowhere"))).err().unwrap().to_string();
        assert!(told.starts_with("/nowhere cannot be read"), "{told}");
    }

    #[test]
    fn what_is_wrong_in_an_added_file_is_told_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine.toml"), "[[event]]\nnam = 1").unwrap();
        let told = load(Some(folder.path())).err().unwrap().to_string();
        assert!(told.contains("mine.toml"), "{told}");
    }
}
