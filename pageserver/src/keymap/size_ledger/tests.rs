use tempfile::TempDir;
use utils::TenantId;

use super::*;

struct Fixture {
    directory: TempDir,
    shard: TenantShardId,
    timeline: TimelineId,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture {
            directory: tempfile::tempdir().unwrap(),
            shard: TenantShardId::unsharded(TenantId::generate()),
            timeline: TimelineId::generate(),
        }
    }

    fn path(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.directory.path().join("sizes")).unwrap()
    }

    fn open(&self) -> SizeLedger {
        SizeLedger::open(self.path())
    }
}

#[test]
fn a_size_is_known_after_a_restart_and_only_at_its_lsn() {
    let fixture = Fixture::new();
    let (shard, timeline) = (fixture.shard, fixture.timeline);
    let ledger = fixture.open();
    ledger.set(shard, timeline, Lsn(0x20), 8192);
    ledger.save().unwrap();

    let reopened = fixture.open();
    assert_eq!(reopened.get(shard, timeline, Lsn(0x20)), Some(8192));
    assert_eq!(reopened.get(shard, timeline, Lsn(0x28)), None);
    assert_eq!(reopened.get(shard, TimelineId::generate(), Lsn(0x20)), None);
}

#[test]
fn an_older_size_does_not_replace_a_newer_one() {
    let fixture = Fixture::new();
    let (shard, timeline) = (fixture.shard, fixture.timeline);
    let ledger = fixture.open();
    ledger.set(shard, timeline, Lsn(0x20), 2);
    ledger.set(shard, timeline, Lsn(0x18), 1);
    assert_eq!(ledger.get(shard, timeline, Lsn(0x20)), Some(2));
    ledger.set(shard, timeline, Lsn(0x28), 3);
    assert_eq!(ledger.get(shard, timeline, Lsn(0x20)), None);
    assert_eq!(ledger.get(shard, timeline, Lsn(0x28)), Some(3));
}

#[test]
fn what_was_forgotten_stays_forgotten() {
    let fixture = Fixture::new();
    let other = TenantShardId::unsharded(TenantId::generate());
    let (kept, gone) = (fixture.timeline, TimelineId::generate());
    let ledger = fixture.open();
    for (shard, timeline) in [(fixture.shard, kept), (fixture.shard, gone), (other, kept)] {
        ledger.set(shard, timeline, Lsn(0x20), 1);
    }
    ledger.save().unwrap();
    ledger.forget(fixture.shard, gone);
    ledger.retain_tenants(|shard| *shard == fixture.shard);
    ledger.save().unwrap();

    let reopened = fixture.open();
    assert_eq!(reopened.get(fixture.shard, kept, Lsn(0x20)), Some(1));
    assert_eq!(reopened.get(fixture.shard, gone, Lsn(0x20)), None);
    assert_eq!(reopened.get(other, kept, Lsn(0x20)), None);
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    ledger.save().unwrap();
    assert!(!fixture.path().exists());
    ledger.set(fixture.shard, fixture.timeline, Lsn(0x20), 1);
    ledger.save().unwrap();
    std::fs::remove_file(fixture.path()).unwrap();
    ledger.set(fixture.shard, fixture.timeline, Lsn(0x20), 1);
    ledger.save().unwrap();
    assert!(!fixture.path().exists());
}

#[test]
fn a_failed_save_is_made_up_for() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    ledger.set(fixture.shard, fixture.timeline, Lsn(0x20), 1);
    // A directory stands where the file belongs.
    std::fs::create_dir(fixture.path()).unwrap();
    ledger.save().unwrap_err();
    std::fs::remove_dir(fixture.path()).unwrap();
    ledger.save().unwrap();
    assert_eq!(fixture.open().get(fixture.shard, fixture.timeline, Lsn(0x20)), Some(1));
}

#[test]
fn no_truncated_or_altered_file_counts() {
    let fixture = Fixture::new();
    let ledger = fixture.open();
    ledger.set(fixture.shard, fixture.timeline, Lsn(0x20), 4096);
    ledger.save().unwrap();
    let whole = std::fs::read(fixture.path()).unwrap();
    let known = |content: &[u8]| {
        std::fs::write(fixture.path(), content).unwrap();
        fixture.open().get(fixture.shard, fixture.timeline, Lsn(0x20))
    };
    assert_eq!(known(&whole), Some(4096));
    for length in 0..whole.len() {
        assert_eq!(known(&whole[..length]), None, "{length} bytes");
    }
    for at in 0..whole.len() {
        let mut altered = whole.clone();
        altered[at] ^= 0x10;
        assert_eq!(known(&altered), None, "byte {at}");
    }
}

#[test]
fn a_line_that_says_something_else_is_refused() {
    let fixture = Fixture::new();
    let line = format!("{} {} 0/20 5 6\n", fixture.shard, fixture.timeline);
    let checksum = crc32c::crc32c(line.as_bytes());
    let parsed = parse(&format!("{line}{CHECKSUM_LABEL}{checksum:08x}\n"));
    assert!(matches!(parsed, Err(UnreadableFile::Line(1))));
}
