use super::*;

const LONG: Duration = Duration::from_secs(3600);

fn announce(progress: &StartupProgress, max_delay: Duration) -> CancellationToken {
    let can_start = CancellationToken::new();
    let announcing = progress.clone().announce(
        Instant::now(),
        max_delay,
        can_start.clone(),
        CancellationToken::new(),
    );
    tokio::spawn(announcing);
    can_start
}

#[tokio::test]
async fn background_work_waits_for_the_last_tenant() {
    let progress = StartupProgress::default();
    let (mut first, mut second) = (progress.add_tenant(), progress.add_tenant());
    progress.all_added();
    let can_start = announce(&progress, LONG);
    first.loaded();
    second.remote_read();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!can_start.is_cancelled());
    second.loaded();
    can_start.cancelled().await;
}

#[tokio::test]
async fn a_stuck_tenant_delays_background_work_only_so_long() {
    let progress = StartupProgress::default();
    let _stuck = progress.add_tenant();
    progress.all_added();
    let (begin, delay) = (Instant::now(), Duration::from_millis(50));
    announce(&progress, delay).cancelled().await;
    assert!(begin.elapsed() >= delay);
}

#[tokio::test]
async fn a_node_without_tenants_starts_at_once() {
    let progress = StartupProgress::default();
    progress.all_added();
    // Would time out if it waited for anybody.
    announce(&progress, LONG).cancelled().await;
}
