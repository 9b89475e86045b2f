//! Replication origins and logical messages.

use bytes::Bytes;
use postgres_ffi::LeReader;
use postgres_ffi::pg_constants::{logicalmsg, replorigin};
use utils::Lsn;
use wal_decoder::DecodedRecord;

use super::{IngestErrorKind, WalIngest};
use crate::keymap::{DatadirModification, KeyStore};

/// Messages with this prefix and a path carry a file that the compute wants kept.
const AUX_FILE_PREFIX: &str = "neon-file:";
/// Messages with this prefix only pass a failpoint.
const TEST_PREFIX: &str = "neon-test";

impl WalIngest {
    pub(super) fn ingest_replorigin<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        let mut body = LeReader::new(record.main_data);
        match record.rmgr_info() {
            replorigin::SET => {
                let progress = Lsn(body.u64("origin position")?);
                modification.put_repl_origin(body.u16("origin")?, progress);
                Ok(())
            }
            replorigin::DROP => {
                modification.put_repl_origin(body.u16("origin")?, Lsn::INVALID);
                Ok(())
            }
            _ => Err(IngestErrorKind::UnknownOperation),
        }
    }

    pub(super) async fn ingest_logical_message<S: KeyStore>(
        &mut self,
        record: &DecodedRecord<'_>,
        modification: &mut DatadirModification<'_, S>,
    ) -> Result<(), IngestErrorKind> {
        if record.rmgr_info() != logicalmsg::MESSAGE {
            return Err(IngestErrorKind::UnknownOperation);
        }
        let Some((prefix, message)) = read_message(record)? else {
            return Ok(());
        };
        if prefix == TEST_PREFIX {
            utils::sleep_failpoint!("wal-ingest-logical-message-sleep");
        } else if let Some(path) = prefix.strip_prefix(AUX_FILE_PREFIX) {
            // A copy, because the file would otherwise keep the whole record in memory.
            let content = Bytes::copy_from_slice(message);
            modification.put_aux_file(path, content).await?;
        }
        Ok(())
    }
}

/// Prefix and content; `None` if the prefix is not text, which ours always are.
fn read_message<'a>(
    record: &DecodedRecord<'a>,
) -> Result<Option<(&'a str, &'a [u8])>, IngestErrorKind> {
    let mut body = LeReader::new(record.main_data);
    body.skip(8, "database and transactional flag")?;
    let (prefix_length, message_length) = (body.u64("prefix size")?, body.u64("message size")?);
    let length = |value: u64, what| {
        usize::try_from(value).map_err(|_| IngestErrorKind::OutOfRange { what, value })
    };
    let mut prefix = LeReader::new(body.bytes(length(prefix_length, "prefix size")?, "prefix")?);
    let prefix = std::str::from_utf8(prefix.cstr("prefix")?).ok();
    let message = body.bytes(length(message_length, "message size")?, "message")?;
    Ok(prefix.map(|prefix| (prefix, message)))
}
