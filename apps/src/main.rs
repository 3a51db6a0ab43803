//! `leeboard-apps SERVICE`: one binary that is any of the services, told the rest by the environment.

use std::pin::pin;
use std::process::ExitCode;

use leeboard_apps::serve::{serve, told_to_stop};
use leeboard_apps::service::Service;
use leeboard_apps::services;
use leeboard_apps::settings::Settings;
use tokio::net::TcpListener;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let service = match arguments.as_slice() {
        [name] => Service::by_name(name),
        _ => None,
    };
    let Some(service) = service else {
        let names: Vec<&str> = Service::ALL.iter().map(|service| service.name()).collect();
        eprintln!("usage: leeboard-apps SERVICE\n\nSERVICE is one of: {}", names.join(" "));
        return ExitCode::from(2);
    };
    match start(service) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", service.name());
            ExitCode::from(2)
        }
    }
}

fn start(service: Service) -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::from_environment(service)?;
    let level: tracing_subscriber::filter::LevelFilter = settings.log_level.to_lowercase().parse()?;
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).with_max_level(level).init();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(service, settings))
}

async fn run(service: Service, settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let mut stop = pin!(told_to_stop()?);
    // A store that is not there yet is waited for; being told to stop ends the wait.
    let router = tokio::select! {
        router = services::router(service, &settings) => router?,
        () = &mut stop => return Ok(()),
    };
    let listener = TcpListener::bind((settings.listen.0.as_str(), settings.listen.1)).await?;
    tracing::info!(
        service = settings.name,
        instance = settings.instance,
        version = settings.version,
        address = %listener.local_addr()?,
        "listening"
    );
    serve(listener, router, stop).await;
    tracing::info!(service = settings.name, instance = settings.instance, "stopped");
    Ok(())
}
