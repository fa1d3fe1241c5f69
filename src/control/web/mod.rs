//! The status pages: one thread, one listener, read only. Never runs in the data path.

mod limited;
mod page;

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::oneshot;

use super::board::Board;
use super::metrics;

/// What browsers are told to take from here: the page's own style, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The thread, until it is stopped.
#[derive(Debug)]
pub struct Web {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Web {
    /// Starts it on a listener that is already bound.
    ///
    /// # Errors
    /// The system's, where it gives no thread or no event queue.
    pub fn start(listener: TcpListener, board: Arc<Board>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _guard = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("control".into()).spawn(move || {
            let served = axum::serve(limited::Limited::new(listener), routes(board));
            runtime.block_on(async {
                tokio::select! {
                    ended = served => {
                        if let Err(cause) = ended {
                            tracing::error!(%cause, "the status pages have ended");
                        }
                    }
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Web { stop, thread })
    }

    /// Ends it; pages under way are cut off.
    pub fn stop(self) {
        // Where the thread has gone already there is nothing left to stop.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

fn routes(board: Arc<Board>) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/status.json", get(status_json))
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(health))
        .fallback(nowhere)
        .with_state(board)
}

async fn status_page(State(board): State<Arc<Board>>) -> Response {
    let page = page::render(&board.status());
    answer(StatusCode::OK, "text/html; charset=utf-8", page)
}

async fn status_json(State(board): State<Arc<Board>>) -> Response {
    match serde_json::to_string_pretty(&board.status()) {
        Ok(json) => answer(StatusCode::OK, "application/json", json),
        Err(fault) => failed(&fault),
    }
}

async fn metrics_page(State(board): State<Arc<Board>>) -> Response {
    match metrics::page(&board) {
        Ok(page) => answer(StatusCode::OK, OPEN_METRICS, page),
        Err(fault) => failed(&fault),
    }
}

async fn health(State(board): State<Arc<Board>>) -> Response {
    let stuck = board.stuck();
    if stuck.is_empty() {
        return answer(StatusCode::OK, "text/plain", "ok\n".into());
    }
    let numbers: Vec<_> = stuck.iter().map(ToString::to_string).collect();
    let said = format!("no turn of worker {} for some seconds\n", numbers.join(", "));
    answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain", said)
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
