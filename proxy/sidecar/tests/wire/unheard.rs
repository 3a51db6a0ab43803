//! Logs that nobody reads: a full pipe, a FIFO without a reader. Everything is answered all the same.

use crate::config::{policy, service};
use crate::endpoint::{Endpoint, say};
use crate::message::get;
use crate::patience::soon;
use crate::program::Leeboard;

#[tokio::test]
async fn logs_that_nobody_reads_hold_nobody_up() {
    // Every request to it is an ejection, which workers log.
    let bad = Endpoint::start(|_| say(500, "")).await;
    let outliers = "{outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 1ms, interval: 1ms, \
                    maxEjectionPercent: 100}}";
    let config = service("shop.test", "HTTP", &[(bad.address, "v1")]) + &policy("shop.test", outliers);
    let leeboard = Leeboard::start(&config).await;
    leeboard.deafen().await;
    for turn in 0..50 {
        // What the store says of an edit finds no reader either.
        leeboard.edit(&format!("{config}# {turn}\n"));
        let answer = leeboard.ask(get("/", "")).await;
        assert!([500, 503].contains(&answer.status()), "{answer:?}");
        assert_eq!(leeboard.ask_at("status", get("/healthz/ready", "")).await.status(), 200);
    }
    assert!(leeboard.metric("leeboard_ejections_total", &[]).await.unwrap() > 0.0);
    assert_eq!(leeboard.metric("leeboard_log_lines_dropped_total", &[]).await, Some(0.0), "a little waits");
}

#[tokio::test]
async fn readiness_is_answered_when_no_descriptor_is_left() {
    let leeboard = Leeboard::with_descriptors(64, "", &[]).await;
    let mut idle = Vec::new();
    for _ in 0..80 {
        idle.push(leeboard.dial().await);
    }
    for _ in 0..3 {
        let answer = leeboard.ask_at("status", "GET /healthz/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(answer.await.status(), 200);
    }
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_reader() {
    let mut leeboard = Leeboard::start("").await;
    leeboard.deafen().await;
    leeboard.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(leeboard.ended().await.success());
}

#[tokio::test]
async fn an_access_log_on_a_fifo_without_a_reader_does_not_hold_up_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let flags = ["--access-log", path.to_str().unwrap(), "--outbound-traffic-policy", "registry-only"];
    let mut leeboard = Leeboard::with("", &flags).await;
    leeboard.logged("the access log is a FIFO").await;
    assert_eq!(leeboard.ask(get("/first", "")).await.status(), 502);
    // Now somebody reads it.
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path));
    leeboard.signal(nix::sys::signal::Signal::SIGTERM);
    let text = soon("the log's end", read).await.unwrap().unwrap();
    assert!(text.contains("\"path\":\"/first\""), "{text}");
}
