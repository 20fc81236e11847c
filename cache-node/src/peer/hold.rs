//! A connection that asks nothing: it tells when the member at its other end goes away.

use super::connection::{Target, connect};
use std::{io, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

/// A connection to a member.
pub struct Held(TcpStream);

impl Held {
    pub(super) async fn to(target: &Target, wait: Duration) -> io::Result<Self> {
        match timeout(wait, connect(target)).await {
            Ok(connected) => connected.map(Self),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Until it has ended.
    pub async fn ended(mut self) {
        let mut byte = [0];
        // Nothing is ever sent here; what comes all the same ends it as well.
        let _ = self.0.read(&mut byte).await;
    }
}
