//! Typed reads of a timeline as of one LSN.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use pageserver_api::Key;
use pageserver_api::models::AuxFilePolicy;
use postgres_ffi::control_file::ControlFileError;
use postgres_ffi::{
    BlockNumber, CheckPoint, ControlFile, ForkNumber, Oid, PgMajor, RelTag, SlruKind, TooShort,
};
use utils::Lsn;

use super::aux_files::{AuxFilesDecodeError, decode_aux_files};
use super::directories::{
    AuxFilesDirectory, DbDirectory, Directory, DirectoryDecodeError, RelDirectory, SlruDirectory,
    TwoPhaseDirectory,
};
use super::store::{KeyReadError, KeyReader};

/// Relation sizes that are read in one pass.
const SIZES_AT_ONCE: usize = 1024;

/// Why a typed read failed.
#[derive(Debug, thiserror::Error)]
pub enum KeymapError {
    /// The engine could not supply a value.
    #[error(transparent)]
    Read(#[from] KeyReadError),
    /// A stored directory is damaged.
    #[error("the directory stored under key {key} at LSN {lsn} is damaged")]
    Directory {
        /// Its key.
        key: Key,
        /// The LSN of the read.
        lsn: Lsn,
        /// What is wrong.
        source: DirectoryDecodeError,
    },
    /// A stored value has an impossible length or content.
    #[error("the value stored under key {key} at LSN {lsn} is not a {what}: it has {length} bytes")]
    Value {
        /// Its key.
        key: Key,
        /// The LSN of the read.
        lsn: Lsn,
        /// What it should be.
        what: &'static str,
        /// Its length.
        length: usize,
    },
    /// What is stored of auxiliary files in one value and one by one differs.
    #[error("unmatched aux file v1 v2 result")]
    UnmatchedAuxFiles,
    /// Stored auxiliary files are damaged.
    #[error("the aux files stored under key {key} are damaged")]
    AuxFiles {
        /// Their key.
        key: Key,
        /// What is wrong.
        source: AuxFilesDecodeError,
    },
    /// The stored control file is damaged.
    #[error("the stored control file at LSN {lsn} is damaged")]
    ControlFile {
        /// The LSN of the read.
        lsn: Lsn,
        /// What is wrong.
        source: ControlFileError,
    },
    /// The stored checkpoint is damaged.
    #[error("the stored checkpoint at LSN {lsn} is damaged")]
    CheckPoint {
        /// The LSN of the read.
        lsn: Lsn,
        /// What is wrong.
        source: TooShort,
    },
}

impl KeymapError {
    /// Whether the only problem is that the timeline is going away.
    pub fn is_cancel(&self) -> bool {
        matches!(self, KeymapError::Read(KeyReadError::Cancelled))
    }
}

/// A timeline's contents as of one LSN.
#[derive(Debug)]
pub struct Keymap<'a, R> {
    reader: &'a R,
    lsn: Lsn,
}

impl<R> Clone for Keymap<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Keymap<'_, R> {}

impl<'a, R: KeyReader> Keymap<'a, R> {
    /// Reads through `reader` at `lsn`.
    pub fn at(reader: &'a R, lsn: Lsn) -> Self {
        Keymap { reader, lsn }
    }

    /// The LSN of all reads.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// One key's value.
    pub async fn get(&self, key: Key) -> Result<Bytes, KeymapError> {
        Ok(self.reader.get(key, self.lsn).await?)
    }

    /// One key's value, `None` if it has none.
    async fn find(&self, key: Key) -> Result<Option<Bytes>, KeymapError> {
        match self.reader.get(key, self.lsn).await {
            Ok(value) => Ok(Some(value)),
            Err(KeyReadError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn directory<D: Directory>(&self, key: Key) -> Result<D, KeymapError> {
        let bytes = self.get(key).await?;
        self.decode_directory(key, &bytes)
    }

    fn decode_directory<D: Directory>(&self, key: Key, bytes: &[u8]) -> Result<D, KeymapError> {
        D::decode(bytes).map_err(|source| KeymapError::Directory { key, lsn: self.lsn, source })
    }

    /// A size in blocks.
    async fn size(&self, key: Key) -> Result<BlockNumber, KeymapError> {
        let bytes = self.get(key).await?;
        self.decode_size(key, &bytes)
    }

    fn decode_size(&self, key: Key, bytes: &[u8]) -> Result<BlockNumber, KeymapError> {
        bytes.try_into().map(u32::from_le_bytes).map_err(|_| KeymapError::Value {
            key,
            lsn: self.lsn,
            what: "size of four bytes",
            length: bytes.len(),
        })
    }

    /// The databases and the tablespaces of the user, and for each whether it has a relation map:
    /// see [`DbDirectory`].
    pub async fn databases(&self) -> Result<BTreeMap<(Oid, Oid), bool>, KeymapError> {
        self.directory::<DbDirectory>(Key::DB_DIR).await.map(|directory| directory.0)
    }

    /// The relation forks of a database; none if the database does not exist.
    pub async fn relations(
        &self,
        spcnode: Oid,
        dbnode: Oid,
    ) -> Result<BTreeSet<RelTag>, KeymapError> {
        if !self.databases().await?.contains_key(&(spcnode, dbnode)) {
            return Ok(BTreeSet::new());
        }
        let key = Key::rel_dir(spcnode, dbnode);
        let RelDirectory(entries) = self.directory(key).await?;
        let tag = |(relnode, fork)| {
            let fork = ForkNumber::from_u8(fork)?;
            Some(RelTag { spcnode, dbnode, relnode, fork })
        };
        let source = DirectoryDecodeError::Invalid { what: "fork" };
        let tags: Option<BTreeSet<RelTag>> = entries.into_iter().map(tag).collect();
        tags.ok_or(KeymapError::Directory { key, lsn: self.lsn, source })
    }

    /// Whether a relation fork exists.
    pub async fn rel_exists(&self, rel: RelTag) -> Result<bool, KeymapError> {
        if self.reader.rel_size_cache().get(rel, self.lsn).is_some() {
            return Ok(true);
        }
        if !self.databases().await?.contains_key(&(rel.spcnode, rel.dbnode)) {
            return Ok(false);
        }
        let key = Key::rel_dir(rel.spcnode, rel.dbnode);
        let RelDirectory(entries) = self.directory(key).await?;
        Ok(entries.contains(&(rel.relnode, rel.fork as u8)))
    }

    /// Blocks of a relation fork. Free space and visibility maps that do not exist have none.
    pub async fn rel_size(&self, rel: RelTag) -> Result<BlockNumber, KeymapError> {
        if let Some(blocks) = self.reader.rel_size_cache().get(rel, self.lsn) {
            return Ok(blocks);
        }
        let optional = matches!(rel.fork, ForkNumber::Fsm | ForkNumber::VisibilityMap);
        if optional && !self.rel_exists(rel).await? {
            return Ok(0);
        }
        let blocks = self.size(Key::rel_size(rel)).await?;
        self.reader.rel_size_cache().remember_read(rel, self.lsn, blocks);
        Ok(blocks)
    }

    /// Blocks of a relation fork, `None` if it does not exist.
    pub async fn find_rel_size(&self, rel: RelTag) -> Result<Option<BlockNumber>, KeymapError> {
        if let Some(blocks) = self.reader.rel_size_cache().get(rel, self.lsn) {
            return Ok(Some(blocks));
        }
        Ok(if self.rel_exists(rel).await? { Some(self.rel_size(rel).await?) } else { None })
    }

    /// Sum of the sizes of a database's relation forks, in blocks.
    pub async fn database_blocks(&self, spcnode: Oid, dbnode: Oid) -> Result<u64, KeymapError> {
        let sizes = self.relation_sizes(spcnode, dbnode).await?;
        Ok(sizes.into_iter().map(|(_, blocks)| u64::from(blocks)).sum())
    }

    /// Every relation fork of a database, and its size in blocks.
    pub async fn relation_sizes(
        &self,
        spcnode: Oid,
        dbnode: Oid,
    ) -> Result<Vec<(RelTag, BlockNumber)>, KeymapError> {
        let relations = self.relations(spcnode, dbnode).await?;
        // Not through the cache: it is for relations that are in use, and this touches all.
        let mut wanted: Vec<(Key, RelTag)> =
            relations.into_iter().map(|rel| (Key::rel_size(rel), rel)).collect();
        wanted.sort_unstable_by_key(|(key, _)| *key);
        let mut sizes = Vec::with_capacity(wanted.len());
        for some in wanted.chunks(SIZES_AT_ONCE) {
            let keys: Vec<Key> = some.iter().map(|(key, _)| *key).collect();
            let values = self.reader.get_all(&keys, self.lsn).await?;
            for ((key, rel), bytes) in some.iter().zip(&values) {
                sizes.push((*rel, self.decode_size(*key, bytes)?));
            }
        }
        Ok(sizes)
    }

    /// Sum of the sizes of all relation forks, in blocks.
    pub async fn logical_blocks(&self) -> Result<u64, KeymapError> {
        let mut blocks = 0;
        for (spcnode, dbnode) in self.databases().await?.into_keys() {
            blocks += self.database_blocks(spcnode, dbnode).await?;
        }
        Ok(blocks)
    }

    /// The relation map file of a database.
    pub async fn relmap(&self, spcnode: Oid, dbnode: Oid) -> Result<Bytes, KeymapError> {
        self.get(Key::relmap(spcnode, dbnode)).await
    }

    /// The segments of an SLRU.
    pub async fn slru_segments(&self, kind: SlruKind) -> Result<BTreeSet<u32>, KeymapError> {
        let key = Key::slru_dir(kind);
        let bytes = match kind {
            SlruKind::Clog | SlruKind::MultiXactMembers | SlruKind::MultiXactOffsets => {
                self.get(key).await?
            }
            // Timelines that never had one have no directory either.
            SlruKind::CommitTs => match self.find(key).await? {
                Some(bytes) => bytes,
                None => return Ok(BTreeSet::new()),
            },
        };
        self.decode_directory::<SlruDirectory>(key, &bytes).map(|directory| directory.0)
    }

    /// Whether an SLRU segment exists.
    pub async fn slru_segment_exists(
        &self,
        kind: SlruKind,
        segment: u32,
    ) -> Result<bool, KeymapError> {
        Ok(self.slru_segments(kind).await?.contains(&segment))
    }

    /// Pages of an SLRU segment.
    pub async fn slru_segment_size(
        &self,
        kind: SlruKind,
        segment: u32,
    ) -> Result<BlockNumber, KeymapError> {
        self.size(Key::slru_segment_size(kind, segment)).await
    }

    /// The prepared transactions, by full id (the epoch is 0 up to PostgreSQL 16).
    pub async fn two_phase_xids(&self, major: PgMajor) -> Result<BTreeSet<u64>, KeymapError> {
        let key = Key::TWO_PHASE_DIR;
        let bytes = self.get(key).await?;
        TwoPhaseDirectory::decode(&bytes, major)
            .map(|directory| directory.0)
            .map_err(|source| KeymapError::Directory { key, lsn: self.lsn, source })
    }

    /// The state of a prepared transaction, without CRC.
    pub async fn two_phase_file(&self, xid: u64) -> Result<Bytes, KeymapError> {
        self.get(two_phase_key(xid)).await
    }

    /// The control file as it was imported, but for whether commit timestamps are recorded: that
    /// is as of this LSN.
    pub async fn control_file(&self) -> Result<Bytes, KeymapError> {
        self.get(Key::CONTROL_FILE).await
    }

    /// Whether commit timestamps are recorded. A timeline without a control file records none.
    pub async fn tracks_commit_timestamps(&self) -> Result<bool, KeymapError> {
        let Some(bytes) = self.find(Key::CONTROL_FILE).await? else {
            return Ok(false);
        };
        self.decode_control_file(&bytes).map(|file| file.track_commit_timestamp())
    }

    /// The control file, taken apart.
    pub async fn parsed_control_file(&self) -> Result<ControlFile, KeymapError> {
        let bytes = self.control_file().await?;
        self.decode_control_file(&bytes)
    }

    fn decode_control_file(&self, bytes: &[u8]) -> Result<ControlFile, KeymapError> {
        ControlFile::parse(bytes)
            .map_err(|source| KeymapError::ControlFile { lsn: self.lsn, source })
    }

    /// The tracked checkpoint.
    pub async fn checkpoint(&self) -> Result<CheckPoint, KeymapError> {
        let bytes = self.get(Key::CHECKPOINT).await?;
        CheckPoint::decode(&bytes)
            .map_err(|source| KeymapError::CheckPoint { lsn: self.lsn, source })
    }

    /// Auxiliary files, however they are stored.
    pub async fn aux_files(&self) -> Result<BTreeMap<String, Bytes>, KeymapError> {
        match self.reader.aux_file_policy() {
            Some(AuxFilePolicy::V1) => self.aux_files_v1().await,
            Some(AuxFilePolicy::V2) => self.aux_files_v2().await,
            Some(AuxFilePolicy::CrossValidation) => {
                let files = self.aux_files_v1().await?;
                if files != self.aux_files_v2().await? {
                    tracing::error!("unmatched aux file v1 v2 result");
                    return Err(KeymapError::UnmatchedAuxFiles);
                }
                Ok(files)
            }
            None => {
                let mut files = self.aux_files_v1().await?;
                files.extend(self.aux_files_v2().await?);
                Ok(files)
            }
        }
    }

    async fn aux_files_v2(&self) -> Result<BTreeMap<String, Bytes>, KeymapError> {
        let mut files = BTreeMap::new();
        for (key, value) in self.reader.scan(Key::AUX_FILES_V2_RANGE, self.lsn).await? {
            let decoded =
                decode_aux_files(&value).map_err(|source| KeymapError::AuxFiles { key, source })?;
            files.extend(decoded);
        }
        Ok(files)
    }

    /// Auxiliary files of the version 1 encoding.
    pub async fn aux_files_v1(&self) -> Result<BTreeMap<String, Bytes>, KeymapError> {
        let key = Key::AUX_FILES_V1;
        let Some(bytes) = self.find(key).await? else {
            return Ok(BTreeMap::new());
        };
        AuxFilesDirectory::decode(&bytes)
            .map(|directory| directory.0)
            .map_err(|source| KeymapError::Directory { key, lsn: self.lsn, source })
    }

    /// The auxiliary files of one version 2 key.
    pub async fn aux_files_of_key(&self, key: Key) -> Result<Vec<(String, Bytes)>, KeymapError> {
        let Some(bytes) = self.find(key).await? else {
            return Ok(Vec::new());
        };
        decode_aux_files(&bytes).map_err(|source| KeymapError::AuxFiles { key, source })
    }

    /// Progress of the replication origins that exist.
    pub async fn repl_origins(&self) -> Result<BTreeMap<u16, Lsn>, KeymapError> {
        let mut origins = BTreeMap::new();
        for (key, value) in self.reader.scan(Key::REPL_ORIGIN_RANGE, self.lsn).await? {
            let array: Result<[u8; 8], _> = value.as_ref().try_into();
            let (Ok(array), Ok(origin)) = (array, u16::try_from(key.field6)) else {
                let (lsn, what) = (self.lsn, "replication origin of eight bytes");
                return Err(KeymapError::Value { key, lsn, what, length: value.len() });
            };
            let progress = Lsn(u64::from_be_bytes(array));
            // A dropped origin keeps its key with position 0.
            if progress.is_valid() {
                origins.insert(origin, progress);
            }
        }
        Ok(origins)
    }

    pub(super) fn reader(&self) -> &'a R {
        self.reader
    }
}

/// The key of a prepared transaction's state. The epoch of PostgreSQL 17's wider ids has a
/// field of its own, which is 0 for narrower ones.
pub fn two_phase_key(xid: u64) -> Key {
    Key { field4: (xid >> 32) as u32, ..Key::two_phase_file(xid as u32) }
}
