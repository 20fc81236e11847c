//! Which server has which slot, for clients that go there themselves.

use hypercache_core::cluster::{SLOTS, Slot};
use hypercache_core::resp::Reply;

/// So many servers are told apart.
const MOST_SERVERS: usize = 4096;

/// The owners of all slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    addresses: Vec<String>,
    /// For each slot the place of its owner among the addresses, and one more; 0 for nobody.
    owners: Vec<u16>,
}

impl Topology {
    /// What a reply to CLUSTER SLOTS says. A host that it leaves open is the one that was `asked`.
    ///
    /// # Errors
    /// The reply is none, or no slot has an owner.
    pub fn of_slots(reply: &Reply, asked: &str) -> Result<Self, String> {
        let mut topology = Self::default();
        let wrong = || format!("{asked} answers CLUSTER SLOTS with something else");
        let Reply::Array(runs) = reply else {
            return Err(match reply {
                Reply::Error(text) => format!("{asked} knows no slots: {text}"),
                _ => wrong(),
            });
        };
        for run in runs {
            let Reply::Array(run) = run else { return Err(wrong()) };
            let [Reply::Integer(first), Reply::Integer(last), Reply::Array(owner), ..] =
                run.as_slice()
            else {
                return Err(wrong());
            };
            let [host, Reply::Integer(port), ..] = owner.as_slice() else { return Err(wrong()) };
            let host = match host {
                Reply::Bulk(host) if !host.is_empty() => String::from_utf8_lossy(host).into_owned(),
                _ => asked.rsplit_once(':').map_or(asked, |(host, _)| host).to_owned(),
            };
            let address = format!("{host}:{port}");
            for slot in *first..=*last {
                let slot =
                    u16::try_from(slot).ok().filter(|slot| *slot < SLOTS).ok_or_else(wrong)?;
                topology.set(slot, &address);
            }
        }
        match topology.addresses.is_empty() {
            true => Err(format!("{asked} knows no owner of any slot")),
            false => Ok(topology),
        }
    }

    /// The owner of a slot; of one that nobody has, any server.
    pub fn owner(&self, slot: Slot) -> Option<&str> {
        let place = self.owners.get(usize::from(slot)).copied().unwrap_or(0);
        let place = usize::from(place).saturating_sub(1);
        self.addresses.get(place).map(String::as_str)
    }

    /// A slot has another owner.
    pub fn set(&mut self, slot: Slot, address: &str) {
        let known = self.addresses.iter().position(|known| known == address);
        let place = match known {
            Some(place) => place,
            None if self.addresses.len() >= MOST_SERVERS => return,
            None => {
                self.addresses.push(address.to_owned());
                self.addresses.len() - 1
            }
        };
        self.owners.resize(usize::from(SLOTS), 0);
        if let (Some(owner), Ok(place)) =
            (self.owners.get_mut(usize::from(slot)), u16::try_from(place + 1))
        {
            *owner = place;
        }
    }

    /// All servers.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Topology, String> {
        let text = text.replace(' ', "\r\n") + "\r\n";
        Topology::of_slots(&Reply::parse(text.as_bytes()).unwrap().unwrap().0, "asked:1")
    }

    #[test]
    fn slots_have_the_owners_that_a_server_tells() {
        let mut topology = read("*2 *3 :0 :9 *2 $1 a :7 *3 :10 :16383 *2 $-1 :8").unwrap();
        assert_eq!(topology.addresses(), ["a:7", "asked:8"]);
        assert_eq!((topology.owner(9), topology.owner(10)), (Some("a:7"), Some("asked:8")));
        topology.set(9, "c:1");
        assert_eq!((topology.owner(8), topology.owner(9)), (Some("a:7"), Some("c:1")));
    }

    #[test]
    fn a_slot_without_an_owner_is_asked_for_anywhere() {
        assert_eq!(read("*1 *3 :0 :9 *2 $1 a :7").unwrap().owner(100), Some("a:7"));
        assert_eq!(Topology::default().owner(0), None);
    }

    #[test]
    fn what_is_no_table_of_slots_is_refused() {
        assert!(read("*0").unwrap_err().contains("no owner of any slot"));
        assert!(read("*1 *3 :0 :99999 *2 $1 a :7").is_err());
        assert!(read("*1 :1").is_err());
        let text = "-ERR This instance has cluster support disabled\r\n";
        let reply = Reply::parse(text.as_bytes()).unwrap().unwrap().0;
        assert!(Topology::of_slots(&reply, "a:1").unwrap_err().contains("support disabled"));
    }
}
