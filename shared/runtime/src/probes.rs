//! What a process says of itself over HTTP: `/livez`, `/readyz`, `/metrics`.
use crate::platform::Platform;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Serves the probes until `stop` is cancelled.
///
/// `/livez` does not look at broker or store: an outage of theirs must not restart every service.
pub async fn serve(
    platform: Arc<Platform>,
    address: SocketAddr,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(platform);
    let listener = tokio::net::TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "probes and metrics");
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readyz(State(platform): State<Arc<Platform>>) -> Response {
    let services = platform.readiness();
    let ready = !services.is_empty() && services.iter().all(|service| service.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": ready, "services": services }))).into_response()
}

async fn metrics(State(platform): State<Arc<Platform>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], platform.metrics().text()).into_response()
}
