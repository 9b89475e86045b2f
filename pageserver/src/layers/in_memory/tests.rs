use super::*;

fn key(n: u32) -> Key {
    Key::new(0, 1663, 5, 16384, 0, n)
}

fn image(byte: u8, length: usize) -> Value {
    Value::Image(Bytes::from(vec![byte; length]))
}

fn temp_layer() -> (tempfile::TempDir, Utf8PathBuf, InMemoryLayer) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let layer = InMemoryLayer::create(&path, Lsn(8)).unwrap();
    (dir, path, layer)
}

fn read(layer: &InMemoryLayer, block: u32, end_lsn: u64) -> Option<(Lsn, Bytes)> {
    let mut state = ReconstructState::new();
    let keys = KeySpace::single(key(block)..key(block + 1));
    layer.gather(&keys, &(Lsn(0)..Lsn(end_lsn)), &mut state);
    state.into_keys().remove(&key(block)).and_then(|state| state.unwrap().image)
}

#[test]
fn the_newest_version_below_the_end_is_found() {
    let (_dir, _, layer) = temp_layer();
    let batch = [(key(1), Lsn(8), image(1, 10)), (key(1), Lsn(16), image(2, 10))];
    layer.put_batch(&batch).unwrap();
    assert_eq!(read(&layer, 1, 17).unwrap(), (Lsn(16), Bytes::from(vec![2; 10])));
    assert_eq!(read(&layer, 1, 16).unwrap(), (Lsn(8), Bytes::from(vec![1; 10])));
    assert_eq!(read(&layer, 1, 8), None);
    assert_eq!(read(&layer, 2, 100), None);
}

#[test]
fn values_beyond_the_buffer_are_read_back_from_the_file() {
    let (_dir, _, layer) = temp_layer();
    for n in 0..100 {
        layer.put_batch(&[(key(n), Lsn(8 + u64::from(n)), image(n as u8, 8192))]).unwrap();
    }
    for n in 0..100 {
        assert_eq!(read(&layer, n, 1000).unwrap().1, Bytes::from(vec![n as u8; 8192]));
    }
}

#[test]
fn a_second_value_at_one_lsn_replaces_the_first() {
    let (_dir, _, layer) = temp_layer();
    layer.put_batch(&[(key(1), Lsn(8), image(1, 1)), (key(1), Lsn(8), image(2, 1))]).unwrap();
    assert_eq!(read(&layer, 1, 9).unwrap().1, Bytes::from_static(&[2]));
}

#[test]
fn the_file_goes_away_with_the_layer() {
    let (_dir, path, layer) = temp_layer();
    assert_eq!(path.read_dir_utf8().unwrap().count(), 1);
    drop(layer);
    assert_eq!(path.read_dir_utf8().unwrap().count(), 0);
}

#[test]
fn a_frozen_layer_is_written_out_as_an_l0_delta() {
    let (_dir, path, layer) = temp_layer();
    layer.put_batch(&[(key(2), Lsn(24), image(1, 1)), (key(1), Lsn(16), image(2, 1))]).unwrap();
    layer.freeze(Lsn(25));
    let tenant = TenantId::from_bytes([1; 16]);
    let timeline = TimelineId::from_bytes([2; 16]);
    let (name, file, size) =
        layer.write_out(&BTreeMap::new(), &path, tenant, timeline, Generation::Valid(1)).unwrap();
    assert!(name.is_l0());
    assert_eq!(name.lsn_range(), Lsn(8)..Lsn(25));
    assert_eq!(std::fs::metadata(file).unwrap().len(), size);
}

fn record(will_init: bool) -> Value {
    let record = Bytes::from_static(b"record");
    Value::WalRecord(pageserver_api::WalRecord::Postgres { will_init, record })
}

#[test]
fn long_chains_are_cut_at_every_so_many_records_since_the_last_beginning() {
    let (_dir, _, layer) = temp_layer();
    // Key 1 begins anew after two records; key 2 never has more than two in a row.
    for n in 0..9 {
        let batch =
            [(key(1), Lsn(8 + n), record(n == 2)), (key(2), Lsn(8 + n), record(n % 2 == 0))];
        layer.put_batch(&batch).unwrap();
    }
    layer.freeze(Lsn(17));
    let three = NonZeroU32::new(3).unwrap();
    assert_eq!(layer.long_chains(three), [(key(1), vec![Lsn(12), Lsn(15)])]);
    assert_eq!(layer.long_chains(NonZeroU32::new(10).unwrap()), []);
}
