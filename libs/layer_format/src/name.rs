//! Layer names: what a layer covers, and how that is spelled locally, remotely and in the index.
//!
//! Format: docs/formats/layer-names.md. Only names are handled here; directories and object
//! prefixes are [`crate::paths`].

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use pageserver_api::Key;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utils::{Generation, Lsn};

/// Digits of a key in a name.
const KEY_DIGITS: usize = 36;
/// Digits of an LSN in a name.
const LSN_DIGITS: usize = 16;

/// A delta layer: the changes of a key range during an LSN range. Both ends are exclusive.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeltaLayerName {
    /// Keys that may occur.
    pub key_range: Range<Key>,
    /// LSNs of the changes.
    pub lsn_range: Range<Lsn>,
}

impl DeltaLayerName {
    /// Whether this is a freshly flushed layer, which spans the whole key space.
    pub fn is_l0(&self) -> bool {
        self.key_range == (Key::MIN..Key::MAX)
    }
}

/// An image layer: the value of every key of a range at one LSN.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ImageLayerName {
    /// Keys covered; one without an entry does not exist at `lsn`.
    pub key_range: Range<Key>,
    /// The LSN of the values.
    pub lsn: Lsn,
}

impl ImageLayerName {
    /// The LSN as a range of one.
    pub fn lsn_range(&self) -> Range<Lsn> {
        self.lsn..Lsn(self.lsn.0.saturating_add(1))
    }
}

/// The identity of a layer within its timeline, independent of generation and shard.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum LayerName {
    /// Changes.
    Delta(DeltaLayerName),
    /// Complete values.
    Image(ImageLayerName),
}

impl LayerName {
    /// Names a delta layer.
    pub fn delta(key_range: Range<Key>, lsn_range: Range<Lsn>) -> LayerName {
        LayerName::Delta(DeltaLayerName { key_range, lsn_range })
    }

    /// Names an image layer.
    pub fn image(key_range: Range<Key>, lsn: Lsn) -> LayerName {
        LayerName::Image(ImageLayerName { key_range, lsn })
    }

    /// Keys the layer may hold.
    pub fn key_range(&self) -> &Range<Key> {
        match self {
            LayerName::Delta(delta) => &delta.key_range,
            LayerName::Image(image) => &image.key_range,
        }
    }

    /// LSNs the layer holds; a range of one for images.
    pub fn lsn_range(&self) -> Range<Lsn> {
        match self {
            LayerName::Delta(delta) => delta.lsn_range.clone(),
            LayerName::Image(image) => image.lsn_range(),
        }
    }

    /// Whether the layer holds changes rather than images.
    pub fn is_delta(&self) -> bool {
        matches!(self, LayerName::Delta(_))
    }

    /// Whether the layer is a delta over the whole key space.
    pub fn is_l0(&self) -> bool {
        matches!(self, LayerName::Delta(delta) if delta.is_l0())
    }

    /// `delta` or `image`, for log lines.
    pub fn kind(&self) -> &'static str {
        if self.is_delta() { "delta" } else { "image" }
    }

    /// Whether the layer holds data newer than `disk_consistent_lsn`. Such layers appear when an
    /// image is written ahead of the flush that would have covered it, and are dropped on load.
    pub fn is_in_future(&self, disk_consistent_lsn: Lsn) -> bool {
        match self {
            LayerName::Delta(delta) => delta.lsn_range.end.0 > disk_consistent_lsn.0 + 1,
            LayerName::Image(image) => image.lsn > disk_consistent_lsn,
        }
    }

    /// The name of the file on local disk when written in `generation`.
    pub fn local_file_name(&self, generation: Generation) -> String {
        format!("{self}{}", generation.local_suffix())
    }

    /// The last component of the object key when written in `generation`.
    pub fn remote_object_name(&self, generation: Generation) -> String {
        format!("{self}{}", generation.remote_suffix())
    }

    /// Parses a local file name into the layer and the generation in its suffix.
    pub fn parse_local(text: &str) -> Result<(LayerName, Generation), LayerNameError> {
        let (name, generation) = split_local_generation(text);
        Ok((parse_logical(name, text)?, generation))
    }

    /// Parses the last component of an object key, such as a deletion list names.
    pub fn parse_remote(text: &str) -> Result<(LayerName, Generation), LayerNameError> {
        if let Some((name, suffix)) = text.rsplit_once('-')
            && suffix.len() == 8
            && let Some(generation) = Generation::parse_suffix(suffix)
        {
            return Ok((parse_logical(name, text)?, generation));
        }
        Ok((parse_logical(text, text)?, Generation::None))
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.key_range();
        write!(f, "{}-{}__", keys.start, keys.end)?;
        match self {
            LayerName::Delta(delta) => {
                write!(f, "{:016X}-{:016X}", delta.lsn_range.start.0, delta.lsn_range.end.0)
            }
            LayerName::Image(image) => write!(f, "{:016X}", image.lsn.0),
        }
    }
}

impl fmt::Debug for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for LayerName {
    /// Deltas before images; within a kind by key start, key end, LSN start, LSN end.
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = |name: &LayerName| {
            let (keys, lsns) = (name.key_range(), name.lsn_range());
            (!name.is_delta(), keys.start, keys.end, lsns.start, lsns.end)
        };
        parts(self).cmp(&parts(other))
    }
}

impl PartialOrd for LayerName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The text is not a layer name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid layer name {text:?}: {reason}")]
pub struct LayerNameError {
    /// The text as received.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl FromStr for LayerName {
    type Err = LayerNameError;

    /// Accepts the logical name, with or without a local generation suffix.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        LayerName::parse_local(text).map(|(name, _)| name)
    }
}

impl Serialize for LayerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LayerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn split_local_generation(text: &str) -> (&str, Generation) {
    if let Some((name, suffix)) = text.rsplit_once("-v1-")
        && !suffix.bytes().any(|byte| byte.is_ascii_uppercase())
        && let Some(generation) = Generation::parse_suffix(suffix)
    {
        return (name, generation);
    }
    (text, Generation::None)
}

fn parse_logical(name: &str, whole: &str) -> Result<LayerName, LayerNameError> {
    let error = |reason| LayerNameError { text: whole.to_owned(), reason };
    let (keys, lsns) = name.split_once("__").ok_or_else(|| error("expected one \"__\""))?;
    let (start, end) = keys.split_once('-').ok_or_else(|| error("expected two keys"))?;
    let key_range = parse_key(start).ok_or_else(|| error("malformed start key"))?
        ..parse_key(end).ok_or_else(|| error("malformed end key"))?;
    let Some((start, end)) = lsns.split_once('-') else {
        let lsn = parse_lsn(lsns).ok_or_else(|| error("malformed LSN"))?;
        return Ok(LayerName::image(key_range, lsn));
    };
    let lsn_range = parse_lsn(start).ok_or_else(|| error("malformed start LSN"))?
        ..parse_lsn(end).ok_or_else(|| error("malformed end LSN"))?;
    if key_range.start >= key_range.end {
        return Err(error("the key range of a delta is empty"));
    }
    if lsn_range.start >= lsn_range.end {
        return Err(error("the LSN range of a delta is empty"));
    }
    Ok(LayerName::delta(key_range, lsn_range))
}

fn is_upper_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
}

fn parse_key(text: &str) -> Option<Key> {
    is_upper_hex(text, KEY_DIGITS).then(|| text.parse().ok()).flatten()
}

fn parse_lsn(text: &str) -> Option<Lsn> {
    let valid = is_upper_hex(text, LSN_DIGITS);
    valid.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Lsn)
}

#[cfg(test)]
mod tests;
