//! Section: how layers are read and written.

use std::str::FromStr;

use super::ConfigError;
use super::reader::Reader;
use crate::storage_io::IoMode;

/// Whether image layers are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageCompression {
    /// Neither written nor expected.
    #[default]
    DisabledNoDecompress,
    /// Not written, but read if met.
    Disabled,
    /// Written with this zstd level; `None` for the library's default.
    Zstd(Option<i8>),
}

/// The text names no compression.
#[derive(Debug, thiserror::Error)]
#[error("unknown compression")]
pub struct UnknownCompression;

impl FromStr for ImageCompression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "disabled-no-decompress" => Ok(ImageCompression::DisabledNoDecompress),
            "disabled" => Ok(ImageCompression::Disabled),
            "zstd" => Ok(ImageCompression::Zstd(None)),
            other => {
                let level = other.strip_prefix("zstd(").and_then(|rest| rest.strip_suffix(')'));
                let level = level.and_then(|digits| digits.parse::<i8>().ok());
                let level = level.ok_or(UnknownCompression)?;
                Ok(ImageCompression::Zstd((level != 0).then_some(level)))
            }
        }
    }
}

/// Which implementation of reads is used. Both names are accepted; there is one implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadImplementation {
    Any,
}

impl FromStr for ReadImplementation {
    type Err = UnknownImplementation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "legacy" | "sequential" | "vectored" => Ok(ReadImplementation::Any),
            _ => Err(UnknownImplementation),
        }
    }
}

/// The text names no way to read.
#[derive(Debug, thiserror::Error)]
#[error("unknown mode")]
pub struct UnknownIoMode;

impl FromStr for IoMode {
    type Err = UnknownIoMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "buffered" => Ok(IoMode::Buffered),
            "direct" => Ok(IoMode::Direct),
            _ => Err(UnknownIoMode),
        }
    }
}

/// The text names no implementation.
#[derive(Debug, thiserror::Error)]
#[error("unknown implementation")]
pub struct UnknownImplementation;

/// How layers are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Bytes that one vectored read may fetch at once (`max_vectored_read_bytes`), default 128 KiB.
    pub max_vectored_read_bytes: u64,
    /// Compression of image layers (`image_compression`), default `disabled-no-decompress`.
    pub image_compression: ImageCompression,
    /// Whether a download that a task should not need is only worth a warning
    /// (`ondemand_download_behavior_treat_error_as_warn`), default false.
    pub forbidden_downloads_only_warn: bool,
    /// Blocks of 8 KiB that the page cache holds (`page_cache_size`), default 8192.
    pub page_cache_blocks: usize,
    /// Layer files that are open at once (`max_file_descriptors`), default 100.
    pub max_file_descriptors: usize,
    /// Whether layer files are read through the operating system's cache (`virtual_file_io_mode`),
    /// default `buffered`.
    pub io_mode: IoMode,
}

/// Sizes are counted in memory, so they fit or are not meant.
fn as_count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl EngineConfig {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, ConfigError> {
        let implementations = "'legacy', 'sequential' or 'vectored'";
        reader.take_parsed::<ReadImplementation>("get_impl", implementations)?;
        reader.take_parsed::<ReadImplementation>("get_vectored_impl", implementations)?;
        reader.take_bool("validate_vectored_get")?;
        let compression = "'disabled-no-decompress', 'disabled', 'zstd' or 'zstd(<level>)'";
        Ok(EngineConfig {
            max_vectored_read_bytes: reader
                .take_positive("max_vectored_read_bytes")?
                .unwrap_or(128 * 1024),
            image_compression: reader
                .take_parsed("image_compression", compression)?
                .unwrap_or_default(),
            forbidden_downloads_only_warn: reader
                .take_bool("ondemand_download_behavior_treat_error_as_warn")?
                .unwrap_or(false),
            page_cache_blocks: reader.take_positive("page_cache_size")?.map_or(8192, as_count),
            max_file_descriptors: reader
                .take_positive("max_file_descriptors")?
                .map_or(100, as_count),
            io_mode: reader
                .take_parsed("virtual_file_io_mode", "'buffered' or 'direct'")?
                .unwrap_or_default(),
        })
    }
}
