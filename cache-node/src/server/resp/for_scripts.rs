//! Commands of the server that scripts call: PUBLISH, INFO and the like.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use hypercache_core::command::{ShellCommand, Spec};
use hypercache_core::resp::{Protocol, Writer};

use super::clients::Client;
use super::session::Session;
use super::{Shared, audit, commands};
use crate::script::{NOT_ALLOWED, Outside};

/// The server, as scripts know it.
pub struct ForScripts {
    /// Scripts are a part of what this is, so it must not keep itself.
    shared: Weak<Shared>,
    nobody: Arc<Client>,
}

impl ForScripts {
    /// For this server.
    pub fn new(shared: &Arc<Shared>) -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self {
            shared: Arc::downgrade(shared),
            nobody: Arc::new(Client::new(0, nowhere, nowhere, 0, true)),
        }
    }
}

impl Outside for ForScripts {
    fn run(
        &self,
        spec: &'static Spec,
        command: ShellCommand,
        args: &[&[u8]],
        protocol: Protocol,
        reply: &mut Vec<u8>,
    ) {
        let refuse = |reply: &mut Vec<u8>| {
            Writer::new(reply, protocol).error(NOT_ALLOWED);
        };
        let Some(shared) = self.shared.upgrade() else { return refuse(reply) };
        // WAITAOF says what is so now, where nobody may wait.
        let waits = commands::waits(command, args)
            && !matches!(command, ShellCommand::WaitAof | ShellCommand::Wait);
        if waits || !commands::needs_no_client(command) {
            return refuse(reply);
        }
        let mut session = Session::new(self.nobody.clone(), false, true);
        session.protocol = protocol;
        let view = shared.router.cluster().view();
        commands::run(&shared, &mut session, &view, spec, command, args, reply);
    }

    fn ran(&self, client: u64, spec: &'static Spec, args: &[&[u8]], reply: &[u8]) {
        if audit::is_audited(spec)
            && let Some(shared) = self.shared.upgrade()
            && let Some(client) = shared.clients.get(client)
        {
            audit::note(&client, spec, args, reply);
        }
    }
}
