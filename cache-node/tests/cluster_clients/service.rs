//! What a Kubernetes Service is to a client: one address, behind which another member takes each
//! connection.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;

/// Takes connections until it is dropped.
pub struct Service {
    pub port: u16,
    stop: Arc<AtomicBool>,
    accepts: Option<JoinHandle<()>>,
}

impl Service {
    /// In front of members at these ports; one that takes no connection is left out of the turn.
    pub fn start(members: Vec<u16>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let accepts = std::thread::spawn(move || {
            let turn = AtomicUsize::new(0);
            for client in listener.incoming().flatten() {
                if stopped.load(Relaxed) {
                    return;
                }
                let next = || members[turn.fetch_add(1, Relaxed) % members.len()];
                let found =
                    members.iter().find_map(|_| TcpStream::connect(("127.0.0.1", next())).ok());
                if let Some(member) = found {
                    join(client, member);
                }
            }
        });
        Self { port, stop, accepts: Some(accepts) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepts) = self.accepts.take() {
            let _ = accepts.join();
        }
    }
}

/// Carries bytes both ways until either side ends, which ends the other.
fn join(client: TcpStream, member: TcpStream) {
    for (from, to) in [(&client, &member), (&member, &client)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
        let _ = to.set_nodelay(true);
        std::thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}
