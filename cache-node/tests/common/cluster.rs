//! Three real members.

use super::{Member, Raw, free_port};

/// Three members that run as processes of their own.
pub struct Cluster {
    pub members: Vec<Member>,
    pub flags: Vec<Vec<String>>,
    pub ports: Vec<(u16, u16, u16)>,
    _data: tempfile::TempDir,
}

impl Cluster {
    /// Three members that know each other by their gossip ports, started in the given order.
    pub fn start(order: [usize; 3], yaml: &str) -> Self {
        Self::start_on(order, yaml, None)
    }

    /// As [`Self::start`]; cluster-mode clients are sent to each key's member on these ports.
    pub fn start_on(order: [usize; 3], yaml: &str, cluster_ports: Option<[u16; 3]>) -> Self {
        let ports: Vec<_> = (0..3).map(|_| (free_port(), free_port(), free_port())).collect();
        let data = tempfile::tempdir().unwrap();
        let join = ports.iter().map(|p| format!("127.0.0.1:{}", p.2)).collect::<Vec<_>>().join(",");
        let flags: Vec<Vec<String>> = (0..3)
            .map(|i| {
                let directory = data.path().join(format!("m{i}")).display().to_string();
                let name = format!("m-{i}");
                let mut flags = vec!["--node-id", &name, "--data-dir", &directory, "--join", &join];
                let port = cluster_ports.map(|ports| ports[i].to_string());
                flags.extend(port.iter().flat_map(|port| ["--cluster-port", port]));
                flags.extend(["--bootstrap-members", "3"]);
                flags.into_iter().map(str::to_owned).collect()
            })
            .collect();
        let mut started: Vec<(usize, Member)> = Vec::new();
        for i in order {
            started.push((i, launch(yaml, ports[i], &flags[i])));
        }
        started.sort_by_key(|(i, _)| *i);
        let cluster = Self {
            members: started.into_iter().map(|(_, m)| m).collect(),
            flags,
            ports,
            _data: data,
        };
        cluster.wait_whole();
        cluster
    }

    /// Waits until every member is ready and sees three that are alive.
    pub fn wait_whole(&self) {
        for member in &self.members {
            member.wait_ready();
            member.wait_for("healthy", || {
                member.http("GET /health").starts_with("HTTP/1.1 200").then_some(())
            });
        }
    }

    /// A new connection to member `i`.
    pub fn raw(&self, i: usize) -> Raw {
        self.members[i].raw()
    }

    /// The same, with a store selected.
    pub fn selected(&self, i: usize, store: &str) -> Raw {
        let mut raw = self.raw(i);
        assert_eq!(raw.ask(&[b"SELECT", store.as_bytes()]), b"+OK\r\n");
        raw
    }
}

/// Starts one member and waits for nothing.
pub fn launch(yaml: &str, (resp, http, gossip): (u16, u16, u16), flags: &[String]) -> Member {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Member::launch(yaml, &[], resp, http, gossip, &flags)
}
