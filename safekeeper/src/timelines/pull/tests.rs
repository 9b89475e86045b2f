use camino::Utf8PathBuf;

use super::*;

/// An archive of these entries, complete.
fn archive(entries: &[(&str, tar::EntryType, usize)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, length) in entries {
        let mut header = tar::Header::new_ustar();
        for (place, byte) in header.as_old_mut().name.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        header.set_size(*length as u64);
        header.set_entry_type(*kind);
        header.set_cksum();
        builder.append(&header, vec![1; *length].as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(archive: &[u8]) -> io::Result<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    unpack(archive, &path, Durability::Unsynced)?;
    let names = std::fs::read_dir(&path).unwrap();
    Ok(names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
}

const REGULAR: tar::EntryType = tar::EntryType::Regular;

#[test]
fn a_whole_archive_is_unpacked() {
    let whole = archive(&[
        ("safekeeper.control", REGULAR, 300),
        ("000000010000000000000001.partial", REGULAR, SEGMENT_SIZE as usize),
    ]);
    let mut names = unpacked(&whole).unwrap();
    names.sort();
    assert_eq!(names, ["000000010000000000000001.partial", "safekeeper.control"]);
}

#[test]
fn an_archive_that_is_cut_off_is_refused_wherever_it_ends() {
    let whole = archive(&[("safekeeper.control", REGULAR, 300)]);
    for length in [0, 100, 512, 700, 1024] {
        assert!(unpacked(&whole[..length]).is_err(), "{length} bytes were accepted");
    }
}

#[test]
fn entries_that_are_no_part_of_a_timeline_are_refused() {
    for (name, kind, length) in [
        ("../escape", REGULAR, 10),
        ("/etc/passwd", REGULAR, 10),
        ("waltmp", REGULAR, 10),
        ("000000010000000000000001", REGULAR, 10),
        ("safekeeper.control", tar::EntryType::Symlink, 0),
    ] {
        let error = unpacked(&archive(&[(name, kind, length)])).unwrap_err().to_string();
        assert!(error.contains("unexpected entry"), "{name}: {error}");
    }
}
