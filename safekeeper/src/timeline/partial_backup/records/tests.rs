use super::*;

fn record(flush_lsn: u64) -> PartialRemoteSegment {
    new_record(7, Lsn(flush_lsn), Lsn(0x31A_2B08), NodeId(2))
}

fn statuses(records: &PartialBackupState) -> Vec<UploadStatus> {
    records.segments.iter().map(|it| it.status).collect()
}

#[test]
fn names_say_what_the_content_is() {
    let expected = "000000010000000000000003_7_00000000031A2B40_00000000031A2B08_sk2.partial";
    assert_eq!(record(0x31A_2B40).name, expected);
}

#[test]
fn a_finished_upload_replaces_the_one_before() {
    let (first, second) = (record(0x31A_2B40), record(0x31A_2C00));
    let mut records = PartialBackupState::default();
    for upload in [&first, &second] {
        records = with_upload_begun(&records, upload);
        records = with_upload_done(&records, upload);
    }
    assert_eq!(statuses(&records), [UploadStatus::Deleting, UploadStatus::Uploaded]);
    assert_eq!(unneeded_names(&records), [first.name]);
}

#[test]
fn while_an_upload_runs_the_one_before_stays_valid() {
    let (first, second) = (record(0x31A_2B40), record(0x31A_2C00));
    let records =
        with_upload_done(&with_upload_begun(&PartialBackupState::default(), &first), &first);
    let records = with_upload_begun(&records, &second);
    assert_eq!(find_upload(&records, &first).map(|it| &it.name), Some(&first.name));
    assert_eq!(find_upload(&records, &second), None);
}

#[test]
fn an_upload_repeated_after_a_failure_is_not_deleted() {
    let upload = record(0x31A_2B40);
    let mut records = PartialBackupState::default();
    records = with_upload_begun(&records, &upload);
    records = with_upload_begun(&records, &upload);
    records = with_upload_done(&records, &upload);
    assert!(unneeded_names(&records).is_empty());
}
