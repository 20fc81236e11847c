//! An endpoint for OTLP, at a free port.

use axum::Router;

/// Answers by a router until it is dropped.
pub struct Endpoint {
    pub port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Endpoint {
    pub fn start(app: Router) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { port, _runtime: runtime }
    }
}
