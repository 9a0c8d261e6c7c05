//! The admin address: health, the streams, and a person's decision on a halted slot.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;

use super::streams::{Resumed, Streams};

#[derive(Clone)]
struct Shared {
    streams: Arc<Streams>,
    token: Option<SecretString>,
}

/// Binds the admin address.
///
/// # Errors
/// If the address cannot be bound.
pub async fn bind(address: &str) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "admin listening");
    Ok(listener)
}

/// Serves until dropped.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, streams: Arc<Streams>, token: Option<SecretString>) -> std::io::Result<()> {
    let app = Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/api/v1/streams", get(list))
        .route("/api/v1/streams/{database}/{slot}/resume", post(resume))
        .fallback(async || error(StatusCode::NOT_FOUND, "no such path"))
        .with_state(Shared { streams, token });
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

fn error(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "error": what }))).into_response()
}

async fn live(State(shared): State<Shared>) -> Response {
    if shared.streams.alive() {
        Json(json!({ "alive": true })).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "alive": false }))).into_response()
    }
}

async fn ready(State(shared): State<Shared>) -> Response {
    let slots = shared.streams.readiness();
    let ready = Streams::ready(&slots);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "slots": slots }))).into_response()
}

async fn list(State(shared): State<Shared>) -> Response {
    Json(shared.streams.json()).into_response()
}

async fn resume(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path((database, slot)): Path<(String, String)>,
) -> Response {
    if !may_decide(&shared, peer, &headers) {
        return error(
            StatusCode::FORBIDDEN,
            "only from this machine, or with the token of admin.token_file as `Authorization: Bearer`",
        );
    }
    match shared.streams.resume(&database, &slot) {
        Resumed::Yes => {
            tracing::warn!(database, slot, %peer, "slot resumed by a person");
            Json(json!({ "resumed": true })).into_response()
        }
        Resumed::NotHalted => error(StatusCode::CONFLICT, "the slot is not halted"),
        Resumed::Unknown => error(StatusCode::NOT_FOUND, "no such database or slot"),
    }
}

/// From this machine, or with the token. A page in a browser on this machine is not this machine's operator.
fn may_decide(shared: &Shared, peer: SocketAddr, headers: &HeaderMap) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if let (Some(token), Some(given)) = (&shared.token, bearer) {
        return token.expose_secret().as_bytes().ct_eq(given.as_bytes()).into();
    }
    peer.ip().to_canonical().is_loopback() && !headers.contains_key(header::ORIGIN)
}
