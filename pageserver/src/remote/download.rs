//! Downloads of layer files.

use camino::{Utf8Path, Utf8PathBuf};
use futures::StreamExt;
use layer_format::paths::{TEMP_DOWNLOAD_EXTENSION, remote_layer_path};
use layer_format::{LayerFileMetadata, LayerName};
use pageserver_api::shard::TenantShardId;
use remote_storage::{GenericRemoteStorage, RemotePath, RemoteStorageError};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use utils::{TimelineId, backoff};

use super::{DownloadError, remote_path};

/// Failures before the log says WARN.
const WARN_THRESHOLD: u32 = 3;
/// Failures before the caller is told.
const MAX_RETRIES: u32 = 10;
/// Bytes collected before they are written to the file.
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// Downloads a layer to `local_path`, which does not exist until the file is whole and on disk.
/// Returns its size.
pub async fn download_layer_file(
    storage: &GenericRemoteStorage,
    shard: &TenantShardId,
    timeline: &TimelineId,
    name: &LayerName,
    metadata: &LayerFileMetadata,
    local_path: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<u64, DownloadError> {
    let path = remote_path(remote_layer_path(&shard.tenant_id, timeline, name, metadata))?;
    let temp = Utf8PathBuf::from(format!("{local_path}.{TEMP_DOWNLOAD_EXTENSION}"));
    let attempt = || download_once(storage, &path, metadata.file_size, &temp, cancel);
    let what = format!("download {path}");
    let permanent = DownloadError::is_permanent;
    backoff::retry(attempt, permanent, WARN_THRESHOLD, MAX_RETRIES, &what, cancel)
        .await
        .unwrap_or(Err(DownloadError::Cancelled))?;
    let failpoint = "remote-storage-download-pre-rename";
    utils::pausable_failpoint!(
        failpoint,
        Err(DownloadError::Local {
            action: "rename",
            path: temp.clone(),
            source: std::io::Error::other(format!("{failpoint} failpoint triggered")),
        })
    );
    publish(&temp, local_path).await?;
    tracing::debug!("on-demand download successful: {path}");
    Ok(metadata.file_size)
}

async fn download_once(
    storage: &GenericRemoteStorage,
    path: &RemotePath,
    expected_bytes: u64,
    temp: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<(), DownloadError> {
    let local =
        |action| move |source| DownloadError::Local { action, path: temp.to_owned(), source };
    let file = tokio::fs::File::create(temp).await.map_err(local("create"))?;
    let mut file = tokio::io::BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
    let mut download = storage.download(path, cancel).await?;
    utils::pausable_failpoint!("before-downloading-layer-stream-pausable");
    let mut received_bytes = 0;
    while let Some(chunk) = download.stream.next().await {
        let chunk = chunk.map_err(|error| stream_error(error, path))?;
        received_bytes += chunk.len() as u64;
        file.write_all(&chunk).await.map_err(local("write"))?;
    }
    if received_bytes != expected_bytes {
        return Err(DownloadError::Corrupt {
            path: path.to_string(),
            reason: format!("size mismatch: {received_bytes} bytes, expected {expected_bytes}"),
        });
    }
    file.flush().await.map_err(local("write"))?;
    file.get_ref().sync_all().await.map_err(local("sync"))
}

/// Cancellation and timeouts of the store travel inside the stream's I/O errors.
fn stream_error(error: std::io::Error, path: &RemotePath) -> DownloadError {
    match error.downcast::<RemoteStorageError>() {
        Ok(inner) => inner.into(),
        Err(source) => DownloadError::Storage(RemoteStorageError::Io {
            action: "download",
            path: path.to_string(),
            source,
        }),
    }
}

/// Gives a whole file its name, and makes the name durable.
async fn publish(temp: &Utf8Path, local_path: &Utf8Path) -> Result<(), DownloadError> {
    let local =
        |action| move |source| DownloadError::Local { action, path: local_path.to_owned(), source };
    tokio::fs::rename(temp, local_path).await.map_err(local("rename"))?;
    let Some(directory) = local_path.parent().map(Utf8Path::to_owned) else { return Ok(()) };
    let synced = tokio::task::spawn_blocking(move || {
        utils::fs_ext::fsync_dir(directory.as_std_path()).map_err(|error| error.source)
    });
    synced.await.map_err(std::io::Error::other).and_then(|result| result).map_err(local("sync"))
}
