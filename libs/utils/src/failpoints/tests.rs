use super::*;

#[test]
fn a_build_without_failpoints_refuses_to_configure_them() {
    if !compiled_in() {
        assert_eq!(configure("name", "return"), Err(FailpointError::NotCompiledIn));
    }
}

#[test]
fn a_bad_list_is_refused() {
    assert_eq!(
        configure_list("no equals sign"),
        Err(FailpointError::BadEnvironment("no equals sign".to_owned()))
    );
    assert_eq!(configure_list(" ; "), Ok(()));
}

#[test]
fn bad_actions_are_refused_by_name() {
    if compiled_in() {
        let error = configure("failpoints-tests-bad", "dance").unwrap_err();
        assert!(error.to_string().contains("failpoints-tests-bad=dance"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleep_failpoint_sleeps_for_its_argument() {
    if compiled_in() {
        configure("failpoints-tests-sleep", "return(250)").unwrap();
        let start = tokio::time::Instant::now();
        sleep_failpoint!("failpoints-tests-sleep");
        assert_eq!(start.elapsed(), Duration::from_millis(250));
    }
}

#[tokio::test]
async fn a_paused_failpoint_goes_on_when_switched_off() {
    if compiled_in() {
        configure("failpoints-tests-pause", "pause").unwrap();
        let task = tokio::spawn(async { pausable_failpoint!("failpoints-tests-pause") });
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        configure("failpoints-tests-pause", "off").unwrap();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn an_unconfigured_failpoint_does_nothing() {
    pausable_failpoint!("failpoints-tests-unconfigured");
    sleep_failpoint!("failpoints-tests-unconfigured");
}

#[tokio::test]
async fn a_pausable_failpoint_can_make_its_function_return() {
    async fn meet() -> Result<(), &'static str> {
        pausable_failpoint!("failpoints-tests-return", Err("failpoint"));
        Ok(())
    }
    assert_eq!(meet().await, Ok(()));
    if compiled_in() {
        configure("failpoints-tests-return", "return").unwrap();
        assert_eq!(meet().await, Err("failpoint"));
    }
}
