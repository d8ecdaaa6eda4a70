//! From `main` to a running service: stack, settings, log, signals, exit codes.
use crate::adapter::Caller;
use crate::amqp::stack;
use crate::config::{Config, ConfigError, Flags};
use crate::platform::{OpenError, Platform, RunError};
use crate::probes;
use crate::store::StoreError;
use clap::Parser;
use quadrille_core::Service;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Stopped as asked, and everything under way was finished.
pub const DRAINED: u8 = 0;
/// What was asked about is not as it should be.
pub const WRONG: u8 = 1;
/// A setting or a flag is wrong: the message says which.
pub const BAD_CONFIG: u8 = 64;
/// Broker or store cannot be reached at the start, or a port is taken; or the store was away when
/// the process was asked to stop, and what was under way is left to the next.
pub const UNAVAILABLE: u8 = 69;
/// The store is broken, or we are: somebody must look.
pub const BUG: u8 = 70;

/// Runs one service as a process of its own: all that its `main` does.
///
/// `caller` makes the adapter to the outside world, if the service has one.
pub fn service<S: Service>(
    caller: impl FnOnce(&Config) -> Result<Option<Arc<dyn Caller<S>>>, ConfigError>,
) -> ExitCode {
    /// One service of a choreography, as a process of its own.
    #[derive(Parser)]
    #[command(
        version,
        after_help = "Stops at SIGTERM or Ctrl-C, after finishing what is under way.\n\
        Exit codes: 0 stopped, 64 wrong setting, 69 store unreachable, 70 broken store or bug.\n\
        All settings: quadrille settings"
    )]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }
    let flags = match parsed::<Cli>() {
        Ok(cli) => cli.flags,
        Err(code) => return code,
    };
    process(&flags, |config| {
        let caller = caller(&config).map_err(Failed::config)?;
        Ok(async move { run_alone::<S>(config, caller).await })
    })
}

/// Reads the command line, or says what is wrong with it and how to exit.
pub fn parsed<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        // Nobody there to read it is no reason to fail.
        let _ = error.print();
        ExitCode::from(if error.use_stderr() { BAD_CONFIG } else { DRAINED })
    })
}

/// Why a process ends other than asked.
#[derive(Debug)]
pub struct Failed {
    pub code: u8,
    pub error: anyhow::Error,
}

impl Failed {
    pub fn wrong(error: impl Into<anyhow::Error>) -> Self {
        Self { code: WRONG, error: error.into() }
    }
    pub fn config(error: impl Into<anyhow::Error>) -> Self {
        Self { code: BAD_CONFIG, error: error.into() }
    }
    pub fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { code: UNAVAILABLE, error: error.into() }
    }
    pub fn bug(error: impl Into<anyhow::Error>) -> Self {
        Self { code: BUG, error: error.into() }
    }
}
impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Self {
        Self::unavailable(error)
    }
}
impl From<RunError> for Failed {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Store(StoreError::Down { .. } | StoreError::Conflict { .. }) => {
                Self::unavailable(error)
            }
            RunError::Store(_) | RunError::Broker(_) => Self::bug(error),
        }
    }
}

/// Prepares a process (stack, settings, log, runtime) and runs `work` in it.
pub fn process<F: Future<Output = Result<(), Failed>>>(
    flags: &Flags,
    work: impl FnOnce(Config) -> Result<F, Failed>,
) -> ExitCode {
    let ended = stack::ensure_stack()
        .map_err(Failed::bug)
        .and_then(|()| Config::read(flags).map_err(Failed::config))
        .and_then(|config| {
            log(&config)?;
            let work = work(config)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            runtime.map_err(Failed::bug)?.block_on(work)
        });
    exit(ended)
}

/// Says why a process ends, if not as asked, and how it exits.
pub fn exit(ended: Result<(), Failed>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::from(DRAINED),
        Err(Failed { code, error }) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(code)
        }
    }
}

/// Logs go to standard error, so that standard output is for answers.
fn log(config: &Config) -> Result<(), Failed> {
    // lapin writes bodies of returned messages into its log; what matters of it we say ourselves.
    let quiet = if config.log.contains("lapin") { "" } else { ",lapin=off" };
    let filter = EnvFilter::try_new(format!("{}{quiet}", config.log)).map_err(|error| {
        let why = format!("is not a filter such as info ({error})");
        Failed::config(ConfigError::Bad { variable: "QUADRILLE_LOG".to_owned(), why })
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that nobody reads any more must not end who writes it.
        .log_internal_errors(false);
    if config.log_json {
        log.json().flatten_event(true).init();
    } else {
        log.with_ansi(colours(&std::io::stderr())).with_target(false).init();
    }
    Ok(())
}

/// True if colours are of use there: on a terminal, unless `NO_COLOR` is set.
pub fn colours(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !refused
}

async fn run_alone<S: Service>(
    config: Config,
    caller: Option<Arc<dyn Caller<S>>>,
) -> Result<(), Failed> {
    let stop = stop_on_signal();
    let platform = Arc::new(Platform::open(config, S::NAME).await?);
    let store = platform.store(S::NAME).await?;
    serve_probes(&platform, &stop);
    let ended = platform.run::<S>(store.clone(), caller, stop).await;
    platform.close().await;
    store.close().await;
    Ok(ended?)
}

/// Serves the probes if the configuration asks for them. A taken port ends the process.
pub fn serve_probes(platform: &Arc<Platform>, stop: &CancellationToken) {
    let Some(address) = platform.config().http else { return };
    let (platform, stop) = (platform.clone(), stop.clone());
    tokio::spawn(async move {
        if let Err(error) = probes::serve(platform, address, stop.clone()).await {
            tracing::error!(%address, %error, "cannot serve probes: choose another --http address");
            stop.cancel();
        }
    });
}

/// Cancelled by the first SIGTERM or Ctrl-C; the second ends the process at once.
pub fn stop_on_signal() -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    let mut terminate = signal(SignalKind::terminate()).expect("the runtime handles signals");
    let mut interrupt = signal(SignalKind::interrupt()).expect("the runtime handles signals");
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if again {
                std::process::exit(130);
            }
            tracing::info!("stopping: finishing what is under way; once more stops at once");
            cancelled.cancel();
        }
    });
    stop
}
