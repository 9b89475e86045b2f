use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use utils::TenantId;

use super::*;

/// What a stand-in was asked, and what it answers first.
#[derive(Default)]
struct Plane {
    failures: u32,
    asked: Vec<(Option<String>, Value)>,
}

type Shared = Arc<Mutex<Plane>>;

async fn answer(
    State(plane): State<Shared>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let mut plane = plane.lock().unwrap();
    let token = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body: Value = serde_json::from_str(&body).unwrap();
    plane.asked.push((token, body.clone()));
    if plane.failures > 0 {
        plane.failures -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    // Odd generations are current; the third shard is not spoken of.
    let tenants = body["tenants"].as_array().cloned().unwrap_or_default();
    let answers = tenants.iter().filter(|tenant| tenant["gen"] != 33).map(
        |tenant| json!({"id": tenant["id"], "valid": tenant["gen"].as_u64().unwrap() % 2 == 1}),
    );
    (StatusCode::OK, json!({"tenants": answers.collect::<Vec<_>>()}).to_string())
}

async fn start(failures: u32) -> (Shared, UpcallConfig) {
    let plane = Shared::new(Mutex::new(Plane { failures, asked: Vec::new() }));
    let router = Router::new()
        .route("/upcall/validate", post(answer))
        .route("/upcall/re-attach", post(answer))
        .with_state(Arc::clone(&plane));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}/upcall/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (plane, UpcallConfig { api: Some(api), ..UpcallConfig::default() })
}

fn client(config: &UpcallConfig) -> UpcallClient {
    UpcallClient::new(config, NodeId(7), CancellationToken::new()).unwrap()
}

fn shards<const N: usize>(generations: [u32; N]) -> BTreeMap<TenantShardId, Generation> {
    generations
        .map(|g| (TenantShardId::unsharded(TenantId::generate()), Generation::Valid(g)))
        .into_iter()
        .collect()
}

#[tokio::test]
async fn only_confirmed_generations_are_current() {
    let (_plane, config) = start(0).await;
    let asked = shards([1, 2, 33]);
    let current = client(&config).validate(&asked).await.unwrap();
    let expected: BTreeMap<_, _> =
        asked.into_iter().filter(|(_, generation)| *generation == Generation::Valid(1)).collect();
    assert_eq!(current, expected);
}

#[tokio::test]
async fn a_call_is_repeated_until_there_is_an_answer() {
    let (plane, config) = start(2).await;
    let current = client(&config).validate(&shards([1])).await.unwrap();
    assert_eq!(current.len(), 1);
    assert_eq!(plane.lock().unwrap().asked.len(), 3);
}

#[tokio::test]
async fn a_call_ends_when_the_process_stops() {
    let (_plane, config) = start(u32::MAX).await;
    let cancel = CancellationToken::new();
    let client = UpcallClient::new(&config, NodeId(7), cancel.clone()).unwrap();
    cancel.cancel();
    assert_eq!(client.validate(&shards([1])).await, Err(NoAnswer));
}

#[tokio::test]
async fn the_node_tells_who_it_is() {
    let (plane, config) = start(0).await;
    client(&config).re_attach(None).await.unwrap();
    client(&config).re_attach(Some(json!({"node_id": 7}))).await.unwrap();
    let asked = plane.lock().unwrap().asked.clone();
    assert_eq!(asked[0], (None, json!({"node_id": 7})));
    assert_eq!(asked[1].1, json!({"node_id": 7, "register": {"node_id": 7}}));
}
