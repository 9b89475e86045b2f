//! Whatever the record and the page hold, redo ends with a page or an error.

use bytes::Bytes;
use postgres_ffi::{BLCKSZ, ForkNumber, PgMajor, RelTag};
use proptest::prelude::*;
use utils::Lsn;
use wal_decoder::record::{
    BlockImage, BlockReference, BlockReferences, DecodedRecord, ImageCompression,
};
use wal_redo::{consistency, image, redo_record, set_commit_timestamps};

const REL: RelTag = RelTag { spcnode: 1663, dbnode: 5, relnode: 16384, fork: ForkNumber::Main };

/// A page that looks plausible in its header, with arbitrary bytes elsewhere.
fn page() -> impl Strategy<Value = Box<[u8; BLCKSZ]>> {
    let special = prop::sample::select(vec![8192u16, 8184, 8176, 0, 9000]);
    (special, 0u16..400, any::<u64>(), 0u8..3).prop_map(|(special, items, seed, kind)| {
        let mut bytes = Box::new([0; BLCKSZ]);
        let mut state = seed | 1;
        for byte in bytes.iter_mut() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        let lower = 24 + items * 4;
        let upper = lower.max(4000);
        bytes[..8].fill(0);
        if kind > 0 {
            bytes[12..14].copy_from_slice(&lower.to_le_bytes());
            bytes[14..16].copy_from_slice(&upper.to_le_bytes());
            bytes[16..18].copy_from_slice(&special.to_le_bytes());
        }
        if kind == 2 {
            for item in 0..usize::from(items) {
                let at = 4000 + (item * 40) % 4000;
                let pointer = (at as u32) | 1 << 15 | 32 << 17;
                bytes[24 + item * 4..28 + item * 4].copy_from_slice(&pointer.to_le_bytes());
                if at + 8 < BLCKSZ {
                    bytes[at + 6..at + 8].copy_from_slice(&[32, 0x20]);
                }
            }
        }
        bytes
    })
}

fn small_numbers() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![3 => 0u8..6, 1 => any::<u8>()], 0..120)
}

/// What a record of one block and its like is made of.
#[derive(Debug)]
struct Parts {
    rmid: u8,
    info: u8,
    id: u8,
    fork: ForkNumber,
    will_init: bool,
    main: Vec<u8>,
    data: Vec<u8>,
}

static NO_BYTES: Bytes = Bytes::new();

impl Parts {
    fn record(&self) -> DecodedRecord<'_> {
        let reference = |id, rel, block, will_init, data| BlockReference {
            id,
            rel,
            block,
            will_init,
            image: None,
            data,
        };
        let (id, rel) = (self.id, REL.with_fork(self.fork));
        let mut blocks = BlockReferences::new();
        blocks.push(reference(id, rel, 1, self.will_init, &self.data));
        let others = (0..4).filter(|other| *other != id);
        blocks.extend(others.map(|id| reference(id, REL, 50 + u32::from(id), false, &[])));
        DecodedRecord {
            raw: &NO_BYTES,
            xid: 900,
            prev: Lsn(0),
            info: self.info,
            rmid: self.rmid,
            origin_id: 0,
            toplevel_xid: None,
            blocks,
            main_data: &self.main,
        }
    }
}

fn record() -> impl Strategy<Value = Parts> {
    let rmid = prop::sample::select(vec![0u8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 128]);
    let fork = prop::sample::select(vec![ForkNumber::Main, ForkNumber::VisibilityMap]);
    let parts = (any::<bool>(), small_numbers(), small_numbers(), 0u8..7, fork);
    (rmid, any::<u8>(), parts).prop_map(|(rmid, info, (will_init, main, data, id, fork))| Parts {
        rmid,
        info,
        id,
        fork,
        will_init,
        main,
        data,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn redo_never_panics(page in page(), parts in record(), major in 0usize..4) {
        let (mut page, record) = (page, parts.record());
        let rel = record.blocks[0].rel;
        let major = PgMajor::ALL[major];
        if redo_record(&mut page, rel, 1, &record, Lsn(1 << 40), major).is_ok() {
            // Whatever came out must be fit for the next record and for masking.
            let _ = consistency::mask(&mut page, 1, record.rmid);
        }
    }

    #[test]
    fn commit_timestamps_never_panic(
        main in prop::collection::vec(any::<u8>(), 0..300),
        has_info in any::<bool>(),
        is_prepared in any::<bool>(),
        page_number in 0u32..3,
        major in 0usize..4,
    ) {
        let operation = if is_prepared { 0x30 } else { 0 };
        let info = operation | if has_info { 0x80 } else { 0 };
        let (rmid, fork, data) = (1, ForkNumber::Main, Vec::new());
        let parts = Parts { rmid, info, id: 0, fork, will_init: false, main, data };
        let (mut page, major) = ([0; BLCKSZ], PgMajor::ALL[major]);
        let _ = set_commit_timestamps(&mut page, page_number, &parts.record(), major);
        prop_assert!(page.ends_with(&[0, 0]), "the end of the page is unused");
    }

    #[test]
    fn restoring_an_image_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        hole_offset in any::<u16>(),
        hole_length in 7800u16..8300,
        compression in 0usize..4,
    ) {
        let compression = [
            ImageCompression::None,
            ImageCompression::Pglz,
            ImageCompression::Lz4,
            ImageCompression::Zstd,
        ][compression];
        let hole_offset = hole_offset % 400;
        let image = BlockImage { bytes: &bytes, hole_offset, hole_length, compression, apply: true };
        let _ = image::restore(&image);
    }
}
