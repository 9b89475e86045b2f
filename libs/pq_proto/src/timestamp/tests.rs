use super::*;

#[test]
fn the_epoch_is_the_start_of_2000() {
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(PG_EPOCH_UNIX_SECONDS);
    assert_eq!(PgTimestamp::from_system_time(epoch), PgTimestamp(0));
}

#[test]
fn times_before_the_epoch_are_negative() {
    let time = SystemTime::UNIX_EPOCH;
    let stamp = PgTimestamp::from_system_time(time);
    assert_eq!(stamp, PgTimestamp(-946_684_800_000_000));
    assert_eq!(stamp.to_system_time(), Some(time));
}
