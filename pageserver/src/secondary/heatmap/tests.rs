use super::*;

const GOLDEN: &str = r#"{"generation":7,"timelines":[{"timeline_id":"9a7b0c1d2e3f405162738495a6b7c8d9","layers":[{"name":"000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__00000000014EE151-00000000016960E9","metadata":{"file_size":8193024,"generation":6,"shard":"0102"},"access_time":1718900000}]}],"upload_period_ms":300000}"#;

#[test]
fn the_golden_heatmap_survives_a_round_trip() {
    let heatmap: Heatmap = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(heatmap.upload_period(), Some(Duration::from_secs(300)));
    assert_eq!(heatmap.totals(), (1, 8_193_024));
    assert_eq!(serde_json::to_string(&heatmap).unwrap(), GOLDEN);
}

#[test]
fn the_period_may_be_null_or_missing() {
    for text in
        [r#"{"generation":1,"timelines":[],"upload_period_ms":null}"#, r#"{"timelines":[]}"#]
    {
        let heatmap: Heatmap = serde_json::from_str(text).unwrap();
        assert_eq!(heatmap.upload_period(), None, "{text}");
    }
}

#[test]
fn heatmaps_that_differ_in_access_times_only_are_alike_without_them() {
    let heatmap: Heatmap = serde_json::from_str(GOLDEN).unwrap();
    let later: Heatmap = serde_json::from_str(&GOLDEN.replace("1718900000", "1718900001")).unwrap();
    assert_ne!(heatmap, later);
    assert_eq!(heatmap.without_access_times(), later.without_access_times());
}
