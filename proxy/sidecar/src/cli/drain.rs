//! `leeboard drain`: drains the application and returns when it may be stopped. For preStop hooks.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::values::{self, Listen};
use crate::host::exit::{COULD_NOT, DONE};

/// How often it is asked whether the application may be ended.
const POLL: Duration = Duration::from_millis(100);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The flags of `leeboard drain`.
#[derive(Args, Debug)]
pub(crate) struct DrainArgs {
    /// Where the running Leeboard is asked: its `--admin`.
    #[arg(long, env = "LEEBOARD_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:15000", value_parser = values::listen)]
    admin: Listen,
}

/// Has the Leeboard at the admin address drain what is in front of the application, and waits until that is done. How long it
/// takes is the running process's to decide (`--min-drain-time`, `--drain-time`). The exit code of the process.
pub(crate) fn run(args: &DrainArgs, complaints: &mut dyn Write) -> u8 {
    let Some(admin) = args.admin.0 else {
        return refuse(complaints, "the admin listener is off, and there is no other way to ask");
    };
    let admin = if admin.ip().is_unspecified() { SocketAddr::new(here(admin), admin.port()) } else { admin };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(drain(admin))) {
        Ok(()) => DONE,
        Err(complaint) => refuse(complaints, &complaint),
    }
}

fn refuse(complaints: &mut dyn Write, complaint: &str) -> u8 {
    // Where it goes may be closed already, and there is nobody else to tell.
    let _ = writeln!(complaints, "error: {complaint}");
    COULD_NOT
}

/// Who listens everywhere is asked on this machine.
fn here(admin: SocketAddr) -> IpAddr {
    if admin.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() }
}

async fn drain(admin: SocketAddr) -> Result<(), String> {
    let mut safe = ask(admin, "POST").await?;
    let mut polls = interval(POLL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !safe {
        polls.tick().await;
        // A process that has ended stands in front of nothing any more.
        let Ok(now) = ask(admin, "GET").await else { break };
        safe = now;
    }
    Ok(())
}

/// Asks the page `/drain`; whether the application may be ended.
async fn ask(admin: SocketAddr, method: &str) -> Result<bool, String> {
    let failed = |error: std::io::Error| format!("no Leeboard answers at {admin}: {error}");
    let conn_state = async {
        let mut stream = TcpStream::connect(admin).await?;
        let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
        let request = format!("{method} /drain HTTP/1.1\r\nhost: {admin}\r\n{length}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let answer = match timeout(PATIENCE, conn_state).await {
        Ok(answer) => answer.map_err(failed)?,
        Err(_) => return Err(format!("no Leeboard answers at {admin} in {} s", PATIENCE.as_secs())),
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let state: Option<serde_json::Value> = serde_json::from_str(body).ok();
    match state.as_ref().and_then(|state| state["safe"].as_bool()) {
        Some(safe) if head.starts_with("HTTP/1.1 200 ") => Ok(safe),
        _ => Err(format!("what answers at {admin} does not drain: {}", head.lines().next().unwrap_or("nothing"))),
    }
}
