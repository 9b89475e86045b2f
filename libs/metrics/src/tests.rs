use super::*;

#[test]
fn rendered_text_has_the_common_metrics() {
    init("git:abc", "tag-1").unwrap();
    let text = render().unwrap();
    for expected in [
        "libmetrics_build_info{build_tag=\"tag-1\",revision=\"git:abc\"} 1",
        "libmetrics_launch_timestamp ",
        "libmetrics_disk_io_bytes_total{io_operation=\"write\"}",
        "libmetrics_maxrss_kb ",
        "libmetrics_process_status_vmlck ",
        "# TYPE libmetrics_tracing_event_count counter",
        "libmetrics_tracing_event_count{level=\"error\"}",
        "libmetrics_metric_handler_requests_total ",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
}
