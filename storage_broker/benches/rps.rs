//! Load generator: how many messages a second a running broker relays.
//!
//! `cargo bench -p storage_broker --bench rps -- --num-pubs 2 --num-subs 10` against a
//! broker on the default port. Runs until it is interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use storage_broker::DEFAULT_ENDPOINT;
use storage_broker::client::{BrokerClient, connect};
use storage_broker::proto::{
    FilterTenantTimelineId, MessageType, SafekeeperTimelineInfo, SubscribeByFilterRequest,
    TypeSubscription,
};
use utils::{TenantId, TenantTimelineId, TimelineId};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Options {
    /// Number of publishers, each with its own connection
    #[arg(short = 'p', long, default_value_t = 1)]
    num_pubs: u64,
    /// Number of subscribers, all on one connection
    #[arg(short = 's', long, default_value_t = 1)]
    num_subs: u64,
    /// Where the broker is
    #[arg(long, default_value = DEFAULT_ENDPOINT)]
    endpoint: String,
    /// Passed by cargo; has no effect
    #[arg(long)]
    bench: bool,
}

/// The timeline that subscriber `number` listens to.
fn ttid(number: u64) -> TenantTimelineId {
    let mut timeline = [0xff; 16];
    timeline[8..].copy_from_slice(&number.to_be_bytes());
    TenantTimelineId::new(TenantId::from_bytes([0xff; 16]), TimelineId::from_bytes(timeline))
}

async fn subscribe(mut client: BrokerClient, number: u64, received: Arc<AtomicU64>) {
    let request = SubscribeByFilterRequest {
        types: vec![TypeSubscription { r#type: MessageType::SafekeeperTimelineInfo.into() }],
        tenant_timeline_id: Some(FilterTenantTimelineId {
            enabled: true,
            tenant_timeline_id: Some(ttid(number).into()),
        }),
    };
    let mut stream = client.subscribe_by_filter(request).await.expect("subscribe").into_inner();
    while stream.message().await.expect("receive").is_some() {
        received.fetch_add(1, Ordering::Relaxed);
    }
}

async fn publish(mut client: BrokerClient, num_subs: u64) {
    let infos = (0u64..).map(move |commit_lsn| SafekeeperTimelineInfo {
        safekeeper_id: 1,
        tenant_timeline_id: Some(ttid(commit_lsn % num_subs).into()),
        commit_lsn,
        safekeeper_connstr: "rps.bench:5454".to_owned(),
        ..Default::default()
    });
    client.publish_safekeeper_info(tokio_stream::iter(infos)).await.expect("publish");
}

async fn report(counters: Vec<Arc<AtomicU64>>) {
    let mut before = vec![0; counters.len()];
    let mut first_message = None;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now: Vec<u64> = counters.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        let rates: Vec<u64> = std::iter::zip(&now, &before).map(|(now, old)| now - old).collect();
        let total: u64 = now.iter().sum();
        if total > 0 {
            let since = *first_message.get_or_insert_with(Instant::now);
            let average = total as f64 / since.elapsed().as_secs_f64().max(1.0);
            let (sum, min) = (rates.iter().sum::<u64>(), rates.iter().min().unwrap_or(&0));
            println!("sum rps {sum}, min rps {min}, total {total}, average rps {average:.0}");
        }
        before = now;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let num_subs = options.num_subs.max(1);
    let shared = connect(&options.endpoint, KEEPALIVE_INTERVAL, None)?;
    let mut counters = Vec::new();
    for number in 0..num_subs {
        let received = Arc::new(AtomicU64::new(0));
        counters.push(received.clone());
        tokio::spawn(subscribe(shared.clone(), number, received));
    }
    for _ in 0..options.num_pubs {
        tokio::spawn(publish(connect(&options.endpoint, KEEPALIVE_INTERVAL, None)?, num_subs));
    }
    tokio::select! {
        () = report(counters) => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    Ok(())
}
