//! Flags that limit how much is read of files and folders.

use clap::Args;

use super::values;
use crate::config::search::FileLimits;

/// How much is read. What is beyond is left out, and complained of.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct FileArgs {
    /// The most files that are read.
    #[arg(long, env = "LEEBOARD_MAX_CONFIG_FILES", value_name = "N", default_value_t = FileLimits::default().files)]
    max_config_files: usize,
    /// The most bytes of one file.
    #[arg(long, env = "LEEBOARD_MAX_CONFIG_FILE_BYTES", value_name = "BYTES", default_value = "64MiB", value_parser = values::bytes)]
    max_config_file_bytes: usize,
    /// The most bytes of all files together.
    #[arg(long, env = "LEEBOARD_MAX_CONFIG_BYTES", value_name = "BYTES", default_value = "256MiB", value_parser = values::bytes)]
    max_config_bytes: usize,
    /// How deep folders are searched, at most 256.
    #[arg(long, env = "LEEBOARD_MAX_CONFIG_DEPTH", value_name = "N", default_value_t = FileLimits::default().depth, value_parser = clap::value_parser!(u16).range(1..=256))]
    max_config_depth: u16,
}

impl FileArgs {
    /// What they say together.
    pub(crate) fn most(self) -> FileLimits {
        FileLimits {
            files: self.max_config_files,
            file_bytes: self.max_config_file_bytes,
            bytes: self.max_config_bytes,
            depth: self.max_config_depth,
            ..FileLimits::default()
        }
    }
}
