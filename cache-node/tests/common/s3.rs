//! An S3-compatible server (s3s-fs) on a free port of this machine.

use std::path::Path;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// A server, ended with this value.
pub struct S3 {
    pub port: u16,
    runtime: Option<Runtime>,
}

/// The credentials, as the tools of AWS have them.
pub const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "test-key"), ("AWS_SECRET_ACCESS_KEY", "test-secret")];

impl S3 {
    /// Serves a directory; each directory in it is a bucket.
    pub fn start(root: &Path, port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let service = {
            let mut builder = S3ServiceBuilder::new(FileSystem::new(root).unwrap());
            let [(_, key), (_, secret)] = CREDENTIALS;
            builder.set_auth(SimpleAuth::from_single(key, secret));
            builder.build()
        };
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port))).unwrap();
        runtime.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let served =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                connections.spawn(served);
            }
        });
        Self { port, runtime: Some(runtime) }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
