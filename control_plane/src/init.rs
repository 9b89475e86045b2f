//! `init`: makes a repo. Creates no tenant and starts nothing.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use tls::SslMode;
use tls::authority::{AuthorityError, CertificateFiles};
use utils::auth::{AuthError, Claims, Scope, encode_from_key_file, generate_key_pair};

use crate::config::{AuthType, ConfigError, InitConf, PageserverConf, RepoConfig};
use crate::{certificates, distrib};

/// What to do when the repo directory exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// Refuse.
    #[default]
    MustNotExist,
    /// Go on if it is empty.
    EmptyDirOk,
    /// Empty it.
    RemoveAllContents,
}

impl FromStr for Force {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "must-not-exist" => Ok(Force::MustNotExist),
            "empty-dir-ok" => Ok(Force::EmptyDirOk),
            "remove-all-contents" => Ok(Force::RemoveAllContents),
            _ => Err("expected must-not-exist, empty-dir-ok or remove-all-contents".to_owned()),
        }
    }
}

/// A repo could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is something already.
    #[error("directory '{0}' already exists. Perhaps already initialized?")]
    Exists(Utf8PathBuf),
    /// There is something in the directory.
    #[error("directory not empty: \"{0}\"")]
    NotEmpty(Utf8PathBuf),
    /// The description of a pageserver is not usable.
    #[error("invalid entry in pageservers: {0}")]
    BadPageserver(String),
    /// Keys could not be made or tokens signed.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Certificates could not be made.
    #[error(transparent)]
    Certificates(#[from] AuthorityError),
    /// Files could not be read or written, or hold nonsense.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Makes a repo in `repo_dir` as described.
pub fn init(repo_dir: &Utf8Path, conf: InitConf, force: Force) -> Result<(), InitError> {
    prepare_directory(repo_dir, force)?;
    let config = RepoConfig {
        pg_distrib_dir: match conf.pg_distrib_dir {
            Some(dir) => dir,
            None => distrib::default_pg_distrib_dir()?,
        },
        neon_distrib_dir: match conf.neon_distrib_dir {
            Some(dir) => dir,
            None => distrib::own_dir()?,
        },
        default_tenant_id: Some(conf.default_tenant_id),
        control_plane_api: conf.control_plane_api,
        control_plane_compute_hook_api: conf.control_plane_compute_hook_api,
        generate_local_ssl_certs: conf.generate_local_ssl_certs,
        broker: conf.broker,
        storage_controller: conf.storage_controller,
        safekeepers: conf.safekeepers,
        ..RepoConfig::default()
    };
    write_key_pair(repo_dir, &config)?;
    create_dir_all(&repo_dir.join("endpoints"))?;
    for safekeeper in &config.safekeepers {
        create_dir_all(&repo_dir.join("safekeepers").join(format!("sk{}", safekeeper.id)))?;
    }
    let mut pageservers = Vec::new();
    for entry in &conf.pageservers {
        pageservers.push(init_pageserver(repo_dir, &config, entry)?);
    }
    if config.generate_local_ssl_certs {
        create_dir_all(&certificates::directory(repo_dir))?;
        certificates::issue(repo_dir, &config, &pageservers)?;
    }
    create_dir_all(&repo_dir.join("local_fs_remote_storage").join("pageserver"))?;
    config.write(repo_dir)?;
    Ok(())
}

fn prepare_directory(repo_dir: &Utf8Path, force: Force) -> Result<(), InitError> {
    if !repo_dir.exists() {
        return create_dir_all(repo_dir);
    }
    let entries = || repo_dir.read_dir_utf8().map_err(ConfigError::io("list", repo_dir));
    match force {
        Force::MustNotExist => Err(InitError::Exists(repo_dir.to_owned())),
        Force::EmptyDirOk if entries()?.next().is_some() => {
            Err(InitError::NotEmpty(repo_dir.to_owned()))
        }
        Force::EmptyDirOk => Ok(()),
        Force::RemoveAllContents => {
            println!("removing all contents of '{repo_dir}'");
            // The directory itself stays: it may be a symbolic link or a mount point.
            for entry in entries()? {
                let entry = entry.map_err(ConfigError::io("list", repo_dir))?;
                remove(entry.path()).map_err(ConfigError::io("remove", entry.path()))?;
            }
            Ok(())
        }
    }
}

fn remove(path: &Utf8Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn write_key_pair(repo_dir: &Utf8Path, config: &RepoConfig) -> Result<(), InitError> {
    let pair = generate_key_pair()?;
    let private = repo_dir.join(&config.private_key_path);
    write_new(&private, pair.private_pem.as_bytes(), 0o600)?;
    write_new(&repo_dir.join("auth_public_key.pem"), pair.public_pem.as_bytes(), 0o644)
}

fn init_pageserver(
    repo_dir: &Utf8Path,
    config: &RepoConfig,
    entry: &toml::Table,
) -> Result<PageserverConf, InitError> {
    let conf: PageserverConf = toml::Value::Table(entry.clone())
        .try_into()
        .map_err(|error: toml::de::Error| InitError::BadPageserver(error.to_string()))?;
    let dir = conf.directory(repo_dir);
    let (host, port) = conf.pg_host_port();
    println!("Initializing pageserver node {} at '{host}:{port}' in \"{dir}\"", conf.id);
    create_dir_all(&dir)?;
    let toml = pageserver_toml(repo_dir, config, &conf, entry)?;
    write_new(&dir.join("pageserver.toml"), toml.as_bytes(), 0o644)?;
    write_new(&dir.join("metadata.json"), metadata_json(&conf).as_bytes(), 0o644)?;
    Ok(conf)
}

/// Generated keys first, so that those of the entry can replace them.
fn pageserver_toml(
    repo_dir: &Utf8Path,
    config: &RepoConfig,
    conf: &PageserverConf,
    entry: &toml::Table,
) -> Result<String, InitError> {
    let mut generated: Vec<(&str, String)> = vec![
        ("pg_distrib_dir", quoted(config.pg_distrib_dir.as_str())),
        ("broker_endpoint", quoted(&format!("{}/", config.broker_url()))),
    ];
    if let Some(url) = &config.control_plane_api {
        generated.push(("control_plane_api", quoted(url)));
        if conf.http_auth_type == AuthType::NeonJWT {
            let key = repo_dir.join(&config.private_key_path);
            let claims = Claims::new(None, Scope::GenerationsApi);
            let token = encode_from_key_file(&claims, key.as_std_path())?;
            generated.push(("control_plane_api_token", quoted(&token)));
        }
    }
    let local_storage = "{ local_path = '../local_fs_remote_storage/pageserver' }";
    generated.push(("remote_storage", local_storage.to_owned()));
    if config.generate_local_ssl_certs {
        let files = CertificateFiles::within(&certificates::directory("..".into()));
        generated.push(("enable_tls_page_service_api", "true".to_owned()));
        generated.push(("ssl_cert_file", quoted(files.cert_file.as_str())));
        generated.push(("ssl_key_file", quoted(files.key_file.as_str())));
        generated.push(("ssl_ca_file", quoted(files.ca_file.as_str())));
        generated.push(("walreceiver_sslmode", quoted(SslMode::VerifyFull.name())));
    }
    if [conf.pg_auth_type, conf.http_auth_type].contains(&AuthType::NeonJWT) {
        generated.push(("auth_validation_public_key_path", quoted("../auth_public_key.pem")));
    }
    let mut text = String::new();
    for (key, value) in generated.iter().filter(|(key, _)| !entry.contains_key(*key)) {
        text.push_str(&format!("{key} = {value}\n"));
    }
    let entry =
        toml::to_string(entry).map_err(|error| InitError::BadPageserver(error.to_string()))?;
    Ok(text + &entry)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What the pageserver tells the storage controller about itself.
fn metadata_json(conf: &PageserverConf) -> String {
    #[derive(Serialize)]
    struct Metadata {
        host: &'static str,
        port: u16,
        http_host: &'static str,
        http_port: u16,
    }
    let metadata = Metadata {
        host: "localhost",
        port: conf.pg_host_port().1,
        http_host: "localhost",
        http_port: conf.http_host_port().1,
    };
    serde_json::json!(metadata).to_string()
}

/// Says what would keep PostgreSQL from working in the repo, if anything: it refuses to run
/// as root, and the account it runs as instead must be able to get there.
pub fn root_access_warning(repo_dir: &Utf8Path) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let closed = repo_dir.ancestors().find(|dir| {
        fs::metadata(dir).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0)
    })?;
    Some(format!(
        "as root, PostgreSQL is run under another account, which cannot enter \"{closed}\": set \
         NEON_REPO_DIR to a directory below one that everybody may enter, such as /var/tmp"
    ))
}

fn create_dir_all(path: &Utf8Path) -> Result<(), InitError> {
    Ok(fs::create_dir_all(path).map_err(ConfigError::io("create directory", path))?)
}

fn write_new(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<(), InitError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(path).map_err(ConfigError::io("create", path))?;
    Ok(file.write_all(bytes).map_err(ConfigError::io("write", path))?)
}

#[cfg(test)]
mod tests;
