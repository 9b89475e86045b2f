use super::*;

fn window(capacity_bytes: u64, chunks: &[&'static [u8]]) -> WalWindow {
    let mut window = WalWindow::new(Lsn(100), capacity_bytes);
    for chunk in chunks {
        window.push(window.end(), Bytes::from_static(chunk)).unwrap();
    }
    window
}

#[test]
fn reads_cross_chunks() {
    let window = window(100, &[b"abc", b"defg", b"h"]);
    assert_eq!(window.read(Lsn(101), Lsn(108)).unwrap(), "bcdefgh");
    assert_eq!(window.read(Lsn(103), Lsn(107)).unwrap(), "defg");
    assert_eq!(window.read(Lsn(108), Lsn(108)).unwrap(), "");
}

#[test]
fn reads_outside_are_none() {
    let window = window(100, &[b"abc"]);
    assert_eq!(window.read(Lsn(99), Lsn(101)), None);
    assert_eq!(window.read(Lsn(101), Lsn(104)), None);
}

#[test]
fn a_gap_is_refused() {
    let mut window = window(100, &[b"abc"]);
    let gap = window.push(Lsn(104), Bytes::from_static(b"x")).unwrap_err();
    assert_eq!(gap, WalGap { expected: Lsn(103), received: Lsn(104) });
}

#[test]
fn uncommitted_wal_is_never_dropped() {
    let window = window(4, &[b"abc", b"def", b"ghi"]);
    assert_eq!(window.start(), Lsn(100));
    assert!(!window.has_room());
}

#[test]
fn committed_wal_goes_when_room_is_needed() {
    let mut window = window(4, &[b"abc", b"def", b"ghi"]);
    window.set_commit_lsn(Lsn(107));
    assert_eq!(window.start(), Lsn(106));
    assert!(window.has_room());
    assert_eq!(window.read(Lsn(106), Lsn(109)).unwrap(), "ghi");
}
