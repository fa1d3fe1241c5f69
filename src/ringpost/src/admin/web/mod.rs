//! The control thread: the read-only status pages, and commands. Never runs in the data path.

mod limited;
mod page;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use crossbeam_channel::{Receiver, unbounded};
use tokio::sync::{mpsc, oneshot};

use crate::admin::control_socket::ControlSocket;
use crate::admin::control_socket::server::{Commands, Order};
use crate::observe::metrics;
use crate::observe::state::DaemonState;
use crate::sys::port_holder::{self, Transport};
use crate::sys::socket_activation::Inherited;

/// The browsers' content policy: the page's own style, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// The thread; ends when it is stopped.
#[derive(Debug)]
pub(crate) struct Web {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    commands: mpsc::UnboundedSender<ControlSocket>,
}

impl Web {
    /// Starts it: the pages on a bound listener, if there is one, and commands on the socket, if
    /// there is one.
    ///
    /// # Errors
    /// The system's error if it gives no thread or no event queue.
    pub(crate) fn start(
        listener: Option<TcpListener>,
        socket: Option<ControlSocket>,
        commands: Commands,
        state: Arc<DaemonState>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = listener.map(|listener| {
            let _guard = runtime.enter();
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        });
        let listener = listener.transpose()?;
        let (stop, stopped) = oneshot::channel();
        let (sender, sockets) = mpsc::unbounded_channel();
        // The receiver is just above.
        let _ = socket.map(|socket| sender.send(socket));
        let thread = thread::Builder::new().name("control".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = pages(listener, state) => {}
                    () = answer_commands(sockets, &commands) => {}
                    _ = stopped => commands.finish().await,
                }
            });
            // A task that waits for a disk must not delay the process's end.
            runtime.shutdown_background();
        })?;
        Ok(Web { stop, thread, commands: sender })
    }

    /// Answers commands at another socket from now on.
    pub(crate) fn move_socket(&self, socket: ControlSocket) {
        // Without the thread there is nothing left to answer.
        let _ = self.commands.send(socket);
    }

    /// Ends it; pages under way are cut off.
    pub(crate) fn stop(self) {
        // Without the thread there is nothing left to stop.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// Starts a server's thread; commands for the daemon arrive by the channel.
///
/// # Errors
/// The system's error if it gives no thread or no event queue.
pub(crate) fn serve(
    state: &Arc<DaemonState>,
    admin: Option<(SocketAddr, TcpListener)>,
    socket: Option<ControlSocket>,
) -> io::Result<(Web, Receiver<Order>)> {
    let (sender, orders) = unbounded();
    let listener = admin.map(|(_, listener)| listener);
    let commands = Commands::new(state.clone(), sender);
    Ok((Web::start(listener, socket, commands, state.clone())?, orders))
}

/// Binds the address of the pages, or takes it from the service manager.
///
/// # Errors
/// The fault and its remedy.
pub(crate) fn bind(
    address: SocketAddr,
    inherited: &mut Inherited,
) -> Result<(SocketAddr, TcpListener), AdminBindError> {
    let listener = match inherited.take_tcp(address).into_iter().next() {
        Some(listener) => Ok(listener),
        None => TcpListener::bind(address),
    };
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
    bound.map_err(|cause| {
        let choose = "choose another port for `listen` in [admin]";
        let taken = (cause.kind() == io::ErrorKind::AddrInUse)
            .then(|| port_holder::mend(Transport::Tcp, address, choose));
        AdminBindError { address, taken, cause }
    })
}

/// Why the address of the pages cannot be bound.
#[derive(Debug)]
pub(crate) struct AdminBindError {
    address: SocketAddr,
    /// If the port is taken: by which process, and the remedy.
    taken: Option<String>,
    cause: io::Error,
}

impl fmt::Display for AdminBindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AdminBindError { address, taken, cause } = self;
        write!(f, "cannot listen for administration on {address}: ")?;
        if let Some(taken) = taken {
            f.write_str(taken)
        } else if cause.kind() == io::ErrorKind::PermissionDenied {
            f.write_str(
                "ports below 1024 need a privilege; choose one above for `listen` in [admin]",
            )
        } else if cause.kind() == io::ErrorKind::AddrNotAvailable {
            f.write_str("this host does not have the address; see `ip addr`")
        } else {
            cause.fmt(f)
        }
    }
}

impl std::error::Error for AdminBindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Serves the pages for ever.
async fn pages(listener: Option<tokio::net::TcpListener>, state: Arc<DaemonState>) {
    if let Some(listener) = listener {
        let served = axum::serve(
            limited::LimitedListener::new(listener, state.admin.clone()),
            routes(state),
        )
        .await;
        if let Err(cause) = served {
            tracing::error!(%cause, "the status pages have ended");
        }
    }
    std::future::pending().await
}

/// Answers commands for ever, at the newest socket.
async fn answer_commands(mut sockets: mpsc::UnboundedReceiver<ControlSocket>, commands: &Commands) {
    let mut socket = sockets.recv().await;
    while let Some(mut current) = socket {
        let listener = current.listener().map(tokio::net::UnixListener::from_std);
        let serve = async {
            match listener {
                Some(Ok(listener)) => commands.clone().serve(listener).await,
                Some(Err(cause)) => tracing::error!(%cause, "commands cannot be answered"),
                None => {}
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serve => return,
            next = sockets.recv() => socket = next,
        }
    }
    std::future::pending().await
}

fn routes(state: Arc<DaemonState>) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/status.json", get(status_json))
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(health))
        .fallback(nowhere)
        .layer(from_fn_with_state(state.clone(), known_host))
        .with_state(state)
}

/// Rejects a request by a name that is not this server's: a foreign page may have a name that
/// resolves to this address, and must not read the pages (DNS rebinding). Addresses are allowed.
async fn known_host(
    State(state): State<Arc<DaemonState>>,
    request: Request,
    next: Next,
) -> Response {
    let named = request.uri().authority().map(ToString::to_string);
    let header = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let host = match (named, header) {
        (Some(host), _) => host,
        (None, Some(host)) => String::from_utf8_lossy(host).into_owned(),
        // No browser leaves it out.
        (None, None) => return next.run(request).await,
    };
    if is_known(&host, &state.settings.load().admin_hosts) {
        return next.run(request).await;
    }
    let text = "these pages are not reached by that name: use the address, or add the name to \
                `hosts` in [admin]\n";
    answer(StatusCode::MISDIRECTED_REQUEST, "text/plain", text.into())
}

/// Returns whether a host, with a port or without, is an address or a name of this server.
fn is_known(host: &str, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_name = |name: &String| name.eq_ignore_ascii_case(host.trim_end_matches('.'));
    host.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(is_name)
}

async fn status_page(State(state): State<Arc<DaemonState>>) -> Response {
    let page = page::render(&state.status());
    answer(StatusCode::OK, "text/html; charset=utf-8", page)
}

async fn status_json(State(state): State<Arc<DaemonState>>) -> Response {
    match serde_json::to_string_pretty(&state.status()) {
        Ok(json) => answer(StatusCode::OK, "application/json", json),
        Err(fault) => failed(&fault),
    }
}

async fn metrics_page(State(state): State<Arc<DaemonState>>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().map(HeaderValue::as_bytes);
    let exposition = metrics::negotiate(accept);
    let mut response = match metrics::page(&state, exposition) {
        Ok(page) => answer(StatusCode::OK, exposition.content_type(), page),
        Err(fault) => failed(&fault),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

async fn health(State(state): State<Arc<DaemonState>>) -> Response {
    let health = state.health();
    let status = match health.state.is_serving() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer(status, "text/plain", health.line())
}

async fn nowhere() -> Response {
    answer(StatusCode::NOT_FOUND, "text/plain", "there is no such page; see /\n".into())
}

fn failed(fault: &dyn fmt::Display) -> Response {
    answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{fault}\n"))
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
