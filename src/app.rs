//! The composition root: from a configuration to a running service, and back to an exit code.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use crate::{
    actors::{self, Exit},
    cli::{RunArgs, exit},
    config::{self, Config, KafkaClient, PropertyError},
    heap,
    observability::{self, Streams, logging},
    sink::kafka::options,
};

/// What a stop may take beyond `shutdown_timeout`: the end of the streams and of the producers.
const FAREWELL: Duration = Duration::from_millis(1_800);

/// The librdkafka properties of a Kafka client.
///
/// # Errors
/// If one is unknown, has a value it cannot have, or would weaken a guarantee.
pub fn check_properties(client: &KafkaClient) -> Result<(), PropertyError> {
    options::check(client).map_err(|error| PropertyError {
        property: error.key.clone(),
        message: error.why.clone(),
        remedy: error.remedy,
    })
}

/// `cdc-notifier run`: returns the exit code. Errors go to stderr, one line and its remedy.
#[must_use]
pub fn run(arguments: &RunArgs) -> u8 {
    let heap = heap::one();
    let environment = |name: &str| std::env::var(name).ok();
    let config = match config::load(&arguments.config, &environment, &arguments.overrides, &check_properties) {
        Ok(config) => config,
        Err(error) => return refuse(&error, error.remedy()),
    };
    if let Err(error) = logging::init(&config.log) {
        let file = || format!("{}: log.level", arguments.config.display());
        let place = config.log.level_from.map_or_else(file, str::to_owned);
        return refuse(&format!("{place}: {error}"), error.remedy());
    }
    if let Err(error) = heap {
        tracing::warn!(%error, remedy = "set MALLOC_ARENA_MAX=1", "the process has several heaps and may take twice the memory");
    }
    match runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(serve(Arc::new(config)));
            // A call that blocks in librdkafka or a name look-up is not waited for.
            runtime.shutdown_timeout(Duration::from_millis(100));
            code
        }
        Err(error) => {
            eprintln!("the runtime did not start: {error}");
            exit::GAVE_UP
        }
    }
}

#[expect(clippy::print_stderr, reason = "there is no log before the configuration is known")]
fn refuse(error: &dyn std::fmt::Display, remedy: &str) -> u8 {
    eprintln!("{error}\n{remedy}");
    exit::CONFIG
}

/// The runtime of the service.
///
/// # Errors
/// If the system has no threads or descriptors left.
pub fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().thread_name("cdc-notifier").build()
}

async fn serve(config: Arc<Config>) -> u8 {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received");
        return exit::GAVE_UP;
    };
    let (stop, stopped) = oneshot::channel();
    let service = match Service::start(&config, stopped).await {
        Ok(service) => service,
        Err(error) => {
            let listen = config.admin.listen.as_deref().unwrap_or_default();
            let remedy =
                "set admin.listen (or CDC_NOTIFIER_ADMIN_LISTEN, --admin-listen) to a free address, or to \"\"";
            return refuse(&format!("admin.listen: {listen}: {error}"), remedy);
        }
    };
    let mut ended = service.ended;
    tokio::select! {
        exit = &mut ended => return code(exit.unwrap_or(Exit::GaveUp)),
        signal = either(&mut terminate, &mut interrupt) => tracing::info!(signal, "stopping"),
    }
    let _ended = stop.send(());
    let bound = config.retry.shutdown_timeout + FAREWELL;
    tokio::select! {
        exit = tokio::time::timeout(bound, &mut ended) => match exit {
            Ok(exit) => {
                tracing::info!("stopped");
                code(exit.unwrap_or(Exit::GaveUp))
            }
            Err(_elapsed) => {
                tracing::warn!("not everything has ended within shutdown_timeout; what was not acknowledged is sent again");
                exit::DONE
            }
        },
        signal = either(&mut terminate, &mut interrupt) => {
            tracing::warn!(signal, "a second signal: stopping at once");
            exit::DONE
        }
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

const fn code(exit: Exit) -> u8 {
    match exit {
        Exit::Stopped => exit::DONE,
        Exit::GaveUp => exit::GAVE_UP,
    }
}

/// A running service.
pub struct Service {
    /// What its slots are doing.
    pub streams: Arc<Streams>,
    /// Where the admin address is bound, if it is not switched off.
    pub admin: Option<SocketAddr>,
    /// Its end.
    pub ended: oneshot::Receiver<Exit>,
}

impl Service {
    /// Starts the supervision tree and the admin address; `stop` ends it in order.
    ///
    /// # Errors
    /// If the admin address cannot be bound.
    pub async fn start(config: &Arc<Config>, stop: oneshot::Receiver<()>) -> std::io::Result<Self> {
        let streams = Streams::new(config);
        let admin = match &config.admin.listen {
            Some(address) => Some(observability::bind(address).await?),
            None => None,
        };
        let address = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        if let Some(listener) = admin {
            let (streams, token) = (Arc::clone(&streams), config.admin.token.clone());
            tokio::spawn(async move {
                if let Err(error) = observability::serve(listener, streams, token).await {
                    tracing::error!(%error, "the admin address has ended");
                }
            });
        }
        tracing::info!(version = env!("CARGO_PKG_VERSION"), slots = streams.slots().len(), "cdc-notifier starts");
        let (sender, ended) = oneshot::channel();
        let tree = actors::run(Arc::clone(config), Arc::clone(&streams), stop);
        tokio::spawn(async move {
            let _gone = sender.send(tree.await);
        });
        Ok(Self { streams, admin: address, ended })
    }
}
