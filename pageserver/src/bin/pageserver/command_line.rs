//! The command line, and the configuration file it points to.

use std::io::{ErrorKind, Write};

use anyhow::{Context, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Parser;
use pageserver::config::PageServerConf;
use toml_edit::{DocumentMut, Item};
use utils::failpoints;

/// What a new configuration file begins with.
const DEFAULT_CONFIG: &str = include_str!("default.toml");
/// The cargo features that change behaviour.
const FEATURES: &[&str] = if cfg!(feature = "testing") { &["testing"] } else { &[] };

/// Stores timelines and serves their pages.
#[derive(Debug, Parser)]
#[command(name = "pageserver", disable_version_flag = true)]
pub struct CommandLine {
    /// Working directory
    #[arg(short = 'D', long, default_value = ".neon")]
    pub workdir: Utf8PathBuf,

    /// Write pageserver.toml to the working directory and exit
    #[arg(long)]
    pub init: bool,

    /// TOML document whose top-level keys replace those of pageserver.toml; can be repeated
    #[arg(short = 'c', long = "config-override", value_name = "TOML")]
    pub overrides: Vec<String>,

    /// Print the features this program was built with and exit
    #[arg(long)]
    enabled_features: bool,

    /// Print the version and exit
    #[arg(short = 'V', long)]
    version: bool,
}

impl CommandLine {
    /// Handles the flags that only print something. True if there was one.
    pub fn print_and_exit(&self) -> bool {
        if self.version {
            println!(
                "Neon page server {} failpoints: {}, features: {FEATURES:?}",
                build_info::GIT_VERSION,
                failpoints::compiled_in()
            );
        } else if self.enabled_features {
            println!("{{\"features\": {FEATURES:?} }}");
        }
        self.version || self.enabled_features
    }
}

/// The configuration file's content; the default one if there is no file.
pub fn read_config(path: &Utf8Path) -> anyhow::Result<String> {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            bail!("directory entry exists but is not a file: {path}")
        }
        Ok(_) => std::fs::read_to_string(path).with_context(|| format!("cannot read {path}")),
        Err(failure) if failure.kind() == ErrorKind::NotFound => Ok(DEFAULT_CONFIG.to_owned()),
        Err(failure) => Err(failure).with_context(|| format!("cannot read {path}")),
    }
}

/// Writes a configuration file with the overrides in it. Nothing is written unless the result is
/// complete and valid.
pub fn write_initial_config(
    path: &Utf8Path,
    overrides: &[String],
    workdir: &Utf8Path,
) -> anyhow::Result<()> {
    if path.exists() {
        bail!("config file already exists: {path}");
    }
    PageServerConf::parse(DEFAULT_CONFIG, overrides, workdir)
        .context("Failed to parse pageserver configuration")?;
    let mut document: DocumentMut = DEFAULT_CONFIG.parse().context("default configuration")?;
    for text in overrides {
        let changes: DocumentMut =
            text.parse().with_context(|| format!("invalid override '{text}'"))?;
        for (key, item) in changes.iter() {
            document.insert(key, Item::clone(item));
        }
    }
    let mut file = std::fs::File::create_new(path)
        .with_context(|| format!("cannot create config file {path}"))?;
    file.write_all(document.to_string().as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write config file {path}"))
}
