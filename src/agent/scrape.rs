//! Metrics and health over HTTP: `/metrics`, `/live` and `/ready`, for machines of one's own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time::sleep};

use super::window::Window;
use crate::observe::{
    http::{self, Page},
    metrics,
    process::Process,
};

/// How long an address that cannot be listened on is left alone: it may belong to an interface that is not up yet.
const PAUSE: Duration = Duration::from_secs(60);

/// What is there, for whoever looks around.
const INDEX: &str = "starling\n\n/metrics  for Prometheus\n/live     200 if main loop and disk make progress\n\
                     /ready    200 if, besides, the session stands and an upload was accepted lately";

/// Serves until dropped. A probe without it measures all the same.
pub(super) async fn serve(window: Arc<Window>, listen: SocketAddr) {
    let mut is_told = false;
    let listener = loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => break listener,
            Err(error) if is_told => tracing::debug!(%listen, %error, "still no metrics"),
            Err(error) => {
                is_told = true;
                tracing::warn!(%listen, %error, "no metrics: the address cannot be listened on; it is tried again");
            }
        }
        sleep(PAUSE).await;
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics are served");
    }
    http::serve(listener, move |path| {
        let window = Arc::clone(&window);
        async move { page(&window, &path).await }
    })
    .await;
}

async fn page(window: &Window, path: &str) -> Page {
    match path {
        "/metrics" => Page {
            status: 200,
            content_type: metrics::CONTENT_TYPE,
            body: told(window).await,
        },
        "/live" => {
            let health = window.report().await.health;
            Page::words(if health.live { 200 } else { 503 }, &health.words())
        }
        "/ready" => {
            let health = window.report().await.health;
            Page::words(if health.ready { 200 } else { 503 }, &health.words())
        }
        "/" => Page::words(200, INDEX),
        _ => Page::words(404, "there are /metrics, /live and /ready"),
    }
}

async fn told(window: &Window) -> String {
    let report = window.report().await;
    // Reading /proc is work for another thread.
    let process = tokio::task::spawn_blocking(Process::own).await;
    metrics::tell(
        &window.status.metrics,
        &metrics::Page {
            report: &report,
            process: process.unwrap_or_default(),
            traffic: window.net.traffic(),
        },
    )
}
