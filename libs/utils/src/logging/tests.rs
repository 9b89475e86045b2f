use super::*;

#[test]
fn log_formats_are_read_back_as_they_print() {
    for format in [LogFormat::Plain, LogFormat::Json] {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert_eq!("xml".parse::<LogFormat>(), Err(LogFormatError("xml".to_owned())));
}

#[test]
fn events_are_counted_by_level() {
    let subscriber = tracing_subscriber::registry().with(EventCounter);
    let count_of = |name| event_counts().iter().find(|(n, _)| *n == name).unwrap().1;
    let before = count_of("warn");
    tracing::subscriber::with_default(subscriber, || tracing::warn!("counted"));
    assert!(count_of("warn") > before);
}
