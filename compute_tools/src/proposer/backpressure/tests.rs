use super::*;

fn delay_at(received: u64, end: u64) -> Duration {
    let limits = LagLimits { write_bytes: 100, flush_bytes: 0, apply_bytes: 0 };
    let progress = PageserverProgress { last_received_lsn: Lsn(received), ..Default::default() };
    acknowledgement_delay(limits, Lsn(end), &progress)
}

#[test]
fn within_the_limit_nothing_is_delayed() {
    assert_eq!(delay_at(1000, 1100), Duration::ZERO);
}

#[test]
fn the_delay_grows_with_the_lag() {
    assert_eq!(delay_at(1000, 1110), Duration::from_millis(50));
    assert_eq!(delay_at(1000, 1200), Duration::from_millis(500));
}

#[test]
fn the_delay_is_bounded() {
    assert_eq!(delay_at(1, u64::MAX), MAX_DELAY);
}

#[test]
fn an_unknown_position_delays_nothing() {
    assert_eq!(delay_at(0, 1_000_000), Duration::ZERO);
}
