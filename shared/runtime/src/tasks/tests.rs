use super::*;

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_first_task_to_fail_stops_the_rest_and_is_named() {
    let mut tasks = Tasks::new(&CancellationToken::new());
    let shutdown = tasks.shutdown();
    tasks.spawn("patient", async move {
        shutdown.cancelled().await;
        Ok(())
    });
    tasks.spawn("broken", async { Err("no disk".into()) });
    let error = tasks.finish(GRACE).await.unwrap_err();
    assert!(matches!(&error, TaskError::Failed { name, .. } if name == "broken"), "{error:?}");
}

#[tokio::test]
async fn a_task_that_ends_without_being_told_to_is_an_error() {
    let mut tasks = Tasks::new(&CancellationToken::new());
    tasks.spawn("short", async { Ok(()) });
    let error = tasks.finish(GRACE).await.unwrap_err();
    assert_eq!(error.to_string(), "short ended before it was told to");
}

#[tokio::test]
async fn a_panic_is_told_with_the_name_of_its_task() {
    let mut tasks = Tasks::new(&CancellationToken::new());
    tasks.spawn("clumsy", async { panic!("oops") });
    assert_eq!(tasks.finish(GRACE).await.unwrap_err().to_string(), "clumsy panicked");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ignores_the_stop_is_aborted_after_the_grace_period() {
    let stop = CancellationToken::new();
    let mut tasks = Tasks::new(&stop);
    tasks.spawn("stubborn", std::future::pending());
    stop.cancel();
    let before = Instant::now();
    assert!(tasks.finish(GRACE).await.is_ok());
    assert_eq!(before.elapsed(), GRACE);
}

#[tokio::test]
async fn an_owned_task_ends_with_its_handle() {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let task = owned(async move {
        let _kept = sender;
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    drop(task);
    assert!(receiver.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_connections_and_drops_the_late_ones() {
    let connections = Connections::new();
    connections.spawn(tokio::time::sleep(Duration::from_secs(1)));
    assert_eq!(connections.len(), 1);
    assert_eq!(connections.drain(GRACE).await, 0);

    let connections = Connections::new();
    connections.spawn(std::future::pending());
    assert_eq!(connections.drain(GRACE).await, 1);
    assert!(connections.is_empty());
}
