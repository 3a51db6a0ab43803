//! Watches the configuration: after each edit it is given to `leeboard check`, whose words are shown.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::configuration::FILES;

/// The files as they were last seen, and what `check` said of them.
#[derive(Debug)]
pub(crate) struct Watch {
    leeboard: PathBuf,
    files: Vec<PathBuf>,
    texts: Vec<Option<Vec<u8>>>,
    complaint: Option<String>,
}

impl Watch {
    /// Watches the files in this folder with the program in that one.
    pub(crate) fn new(config: &Path, binaries: &Path) -> Watch {
        let folder = shown(config);
        Watch {
            leeboard: binaries.join("leeboard"),
            files: FILES.iter().map(|file| folder.join(file)).collect(),
            texts: Vec::new(),
            complaint: None,
        }
    }

    /// What is wrong with the files now, and whether that is news.
    pub(crate) async fn look(&mut self) -> Result<(Option<&str>, bool), String> {
        let texts: Vec<Option<Vec<u8>>> = self.files.iter().map(|file| std::fs::read(file).ok()).collect();
        let mut news = false;
        if texts != self.texts {
            let complaint = self.check().await?;
            news = complaint != self.complaint;
            (self.texts, self.complaint) = (texts, complaint);
        }
        Ok((self.complaint.as_deref(), news))
    }

    async fn check(&self) -> Result<Option<String>, String> {
        let output = Command::new(&self.leeboard)
            .args(["check", "--color", "never"])
            .args(&self.files)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| format!("leeboard check: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        match output.status.code() {
            Some(0 | 1) => Ok(Some(said).filter(|said| !said.is_empty())),
            _ => Ok(Some(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())),
        }
    }
}

/// A path as one would type it here.
pub(crate) fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below.filter(|below| !below.as_os_str().is_empty()).unwrap_or_else(|| path.to_owned())
}
