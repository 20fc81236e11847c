//! The cluster's table: what Raft holds, and the only way it changes.

use super::protocol::{FACTORS_WAIT, LOOKS_AT_STORES};
use super::{
    Assignment, Member, MemberId, PROTOCOLS, Placement, Protocol, SLOTS, Steer, Steering, Step,
    step::Around,
};
use crate::store::{DEFAULT_STORE, Invalid, StoreNumber, StorePolicy};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// All slots, as a run of them.
pub(super) const EVERY_SLOT: [(super::Slot, super::Slot); 1] = [(0, SLOTS - 1)];

/// The most members that a cluster may have.
pub const MAX_MEMBERS: usize = 512;

/// What an operator wants the cluster to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Desired {
    /// The generation of what it was made from; not ordered, only told back.
    pub generation: u64,
    /// The names of the members that shall be.
    pub members: Vec<String>,
    /// The stores that shall be.
    pub stores: Vec<StorePolicy>,
}

/// The cluster's table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClusterState {
    /// Random, never 0 once the cluster exists.
    pub cluster_id: u64,
    /// Counts the changes of members, slots and stores.
    pub epoch: u64,
    /// Who belongs to the cluster.
    pub members: BTreeMap<MemberId, Member>,
    /// Who owns which slot.
    pub assignment: Assignment,
    /// Every store, by number; `default` is always there once the cluster exists.
    pub stores: Vec<StorePolicy>,
    /// What an operator wants, once one has said so.
    pub desired: Option<Desired>,
    /// How slots are moved. Not among what is serialised, which members of before know: whoever
    /// keeps a table keeps this beside it.
    #[serde(skip)]
    pub steering: Steering,
    /// The version that all members know, where it was raised; 0: never. Kept as `steering` is.
    #[serde(skip)]
    pub protocol: Protocol,
    /// Replication factors that are asked for, by store, where another one is in force yet, which is in `stores`. Kept as
    /// `steering` is.
    #[serde(skip)]
    pub coming: BTreeMap<StoreNumber, u8>,
}

/// A change of the table. Committed by Raft, then applied by every member alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The first table.
    Init {
        /// Random, not 0.
        cluster_id: u64,
        /// The first members.
        members: Vec<Member>,
        /// Their slots.
        assignment: Assignment,
        /// The first stores, `default` among them.
        stores: Vec<StorePolicy>,
    },
    /// One more member.
    AddMember(Member),
    /// A member that has other addresses, ports, zone or weight than the table says. Its
    /// incarnation is not looked at, see [`Change::Restarted`].
    UpdateMember(Member),
    /// A member of a known name with a new number: it lost its disk, and takes the old one's
    /// place. It is in sync nowhere but where nobody else is: there all is lost.
    ReplaceMember {
        /// The number that is gone.
        old: MemberId,
        /// Who came in its place.
        member: Member,
    },
    /// A member leaves. It must not own slots.
    RemoveMember(MemberId),
    /// A member is another process than the table says: it has lost what it had in memory. It
    /// leaves every in-sync set in which it is not alone; where it was the primary, another
    /// owner that is in sync is. Proposed by the member itself, before it serves anything.
    Restarted {
        /// Its number.
        member: MemberId,
        /// Its process.
        incarnation: u64,
    },
    /// Changes placements. A slot that is no longer as its step says is left alone.
    Place(Vec<Step>),
    /// One more store.
    CreateStore(StorePolicy),
    /// Other policies for the store of that name; its number stays.
    ChangeStore(StorePolicy),
    /// A store goes, with its data.
    DropStore(StoreNumber),
    /// What the operator wants. Its stores come into force at once.
    SetDesired {
        /// All of it.
        desired: Desired,
        /// Stores that it once made, no longer lists, and that were found to hold no keys.
        drop: Vec<StoreNumber>,
    },
    /// How slots are moved is another one.
    Steer(Steer),
    /// From now on members may say what is new in that version: all know it.
    RaiseProtocol(Protocol),
}

/// What an applied change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The table's epoch after it.
    pub epoch: u64,
    /// Whether the table is another one now.
    pub changed: bool,
}

/// Why a change was not applied. Nothing was changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refused {
    /// There is no table yet, or there is one already.
    #[error("the cluster {}", if *.exists { "exists already" } else { "does not exist yet" })]
    Existence {
        /// Whether it exists.
        exists: bool,
    },
    /// A member cannot be as it was said to be.
    #[error("member {name}: {message}")]
    InvalidMember {
        /// Its name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Another member has that name.
    #[error("another member is named '{0}'")]
    NameTaken(String),
    /// No member has that number.
    #[error("no member has the number {0}")]
    NoSuchMember(MemberId),
    /// A member that owns slots cannot leave.
    #[error("member {0} owns slots")]
    MemberOwnsSlots(String),
    /// An assignment that names somebody who is no member, or leaves out slots.
    #[error("assignment: {0}")]
    InvalidAssignment(String),
    /// A store cannot be as it was said to be.
    #[error("{0}")]
    InvalidStore(Invalid),
    /// No store has that name or number.
    #[error("there is no store {0}")]
    NoSuchStore(String),
    /// What an operator wants cannot be.
    #[error("{0}")]
    InvalidDesired(Invalid),
    /// Slots cannot be moved as it was said.
    #[error("{0}")]
    InvalidSteering(Invalid),
    /// A version that this program does not know, or an older one than there is.
    #[error("protocol {wanted}: members speak {now} now, and this program {} to {}", PROTOCOLS.start(), PROTOCOLS.end())]
    InvalidProtocol {
        /// What was asked for.
        wanted: Protocol,
        /// What there is.
        now: Protocol,
    },
}

impl ClusterState {
    /// Whether the first table was applied.
    pub fn exists(&self) -> bool {
        self.cluster_id != 0
    }

    /// The member of that name.
    pub fn member_named(&self, name: &str) -> Option<&Member> {
        self.members.values().find(|member| member.name == name)
    }

    /// The store of that name.
    pub fn store_named(&self, name: &str) -> Option<&StorePolicy> {
        self.stores.iter().find(|store| store.name == name)
    }

    /// How many owners a slot should have: the greatest replication factor of all stores.
    pub fn replication_factor(&self) -> usize {
        self.stores.iter().map(|s| usize::from(s.replication_factor)).max().unwrap_or(1).max(1)
    }

    /// Whether an operator wants a member of that name gone.
    pub fn is_leaving(&self, name: &str) -> bool {
        self.desired.as_ref().is_some_and(|desired| !desired.members.iter().any(|n| n == name))
    }

    /// The stores that an operator made once and no longer lists; `default` never is one.
    pub fn unlisted_stores(&self) -> impl Iterator<Item = &StorePolicy> {
        self.stores.iter().filter(|store| {
            store.managed
                && store.number != 0
                && self
                    .desired
                    .as_ref()
                    .is_some_and(|desired| !desired.stores.iter().any(|s| s.name == store.name))
        })
    }

    /// Applies a change, wholly or not at all.
    ///
    /// # Errors
    /// Why it cannot be; the table is as it was.
    pub fn apply(&mut self, change: &Change) -> Result<Applied, Refused> {
        let mut next = self.clone();
        next.change(change)?;
        let changed = next != *self;
        // Who may say what is no part of what the epoch counts.
        if changed && self.protocol == next.protocol {
            next.epoch += 1;
            if next.assignment != self.assignment {
                next.assignment.epoch = next.epoch;
            }
        }
        *self = next;
        Ok(Applied { epoch: self.epoch, changed })
    }

    fn change(&mut self, change: &Change) -> Result<(), Refused> {
        if let Change::Init { cluster_id, members, assignment, stores } = change {
            return self.init(*cluster_id, members, assignment, stores);
        }
        if let Change::RaiseProtocol(wanted) = change {
            // Also before the first table: who makes it may know of all its members what they speak.
            return self.raise_protocol(*wanted);
        }
        if !self.exists() {
            return Err(Refused::Existence { exists: false });
        }
        match change {
            Change::Init { .. } | Change::RaiseProtocol(_) => {}
            Change::AddMember(member) => self.put_member(member)?,
            Change::UpdateMember(member) => {
                let incarnation = self.known(member.id)?.incarnation;
                self.put_member(&Member { incarnation, ..member.clone() })?;
            }
            Change::ReplaceMember { old, member } => self.replace_member(*old, member)?,
            Change::RemoveMember(id) => {
                let member = self.known(*id)?;
                if self.assignment.owns(*id) {
                    return Err(Refused::MemberOwnsSlots(member.name.clone()));
                }
                self.members.remove(id);
                self.forget_the_gone();
            }
            Change::Restarted { member, incarnation } => {
                self.known(*member)?;
                let before = self.members.get_mut(member);
                if let Some(before) = before.filter(|before| before.incarnation != *incarnation) {
                    before.incarnation = *incarnation;
                    self.lose(*member);
                }
            }
            Change::Place(steps) => self.place(steps),
            Change::CreateStore(_)
            | Change::ChangeStore(_)
            | Change::DropStore(_)
            | Change::SetDesired { .. } => self.change_stores(change)?,
            Change::Steer(steer) => self.steer(steer).map_err(Refused::InvalidSteering)?,
        }
        self.stores.sort_by_key(|store| store.number);
        self.come_into_force();
        Ok(())
    }

    fn change_stores(&mut self, change: &Change) -> Result<(), Refused> {
        let before = self.stores.clone();
        self.stores = before.iter().map(|store| self.asked_for(store)).collect();
        match change {
            Change::CreateStore(policy) => {
                self.stores.push(policy.clone());
                self.check_stores().map_err(Refused::InvalidStore)?;
            }
            Change::ChangeStore(policy) => self.change_store(policy)?,
            Change::DropStore(number) => self.drop_store(*number)?,
            Change::SetDesired { desired, drop } => self.set_desired(desired, drop)?,
            _ => {}
        }
        // Before all members know how to wait, factors come into force at once.
        let factors_wait = self.speaks(FACTORS_WAIT);
        if factors_wait {
            self.postpone(&before);
        }
        // Before that nobody looked at stores that come and go.
        let changes = matches!(change, Change::ChangeStore(_) | Change::SetDesired { .. });
        if factors_wait || changes && self.speaks(LOOKS_AT_STORES) {
            self.hold(&before);
        }
        Ok(())
    }

    fn raise_protocol(&mut self, wanted: Protocol) -> Result<(), Refused> {
        if !(self.protocol()..=*PROTOCOLS.end()).contains(&wanted) {
            return Err(Refused::InvalidProtocol { wanted, now: self.protocol() });
        }
        self.protocol = wanted;
        Ok(())
    }

    fn init(
        &mut self,
        cluster_id: u64,
        members: &[Member],
        assignment: &Assignment,
        stores: &[StorePolicy],
    ) -> Result<(), Refused> {
        if self.exists() || cluster_id == 0 {
            return Err(Refused::Existence { exists: self.exists() });
        }
        self.cluster_id = cluster_id;
        for member in members {
            self.put_member(member)?;
        }
        self.check_assignment(assignment)?;
        self.assign(assignment);
        self.stores = stores.to_vec();
        if self.store_named(DEFAULT_STORE).is_none() {
            self.stores.push(StorePolicy::new(DEFAULT_STORE, 0));
        }
        self.stores.sort_by_key(|store| store.number);
        self.check_stores().map_err(Refused::InvalidStore)
    }

    fn known(&self, id: MemberId) -> Result<&Member, Refused> {
        self.members.get(&id).ok_or(Refused::NoSuchMember(id))
    }

    fn put_member(&mut self, member: &Member) -> Result<(), Refused> {
        let wrong = |message: &str| Refused::InvalidMember {
            name: member.name.clone(),
            message: message.to_owned(),
        };
        if member.id == 0 {
            return Err(wrong("its number is 0"));
        }
        if member.name.is_empty() || member.name.len() > 253 {
            return Err(wrong("a name has 1 to 253 characters"));
        }
        if member.host.is_empty() || member.host.len() > 253 {
            return Err(wrong("a host has 1 to 253 characters"));
        }
        if !(1..=super::MAX_WEIGHT).contains(&member.weight) {
            return Err(wrong("a weight is 1 to 100"));
        }
        if self.members.values().any(|m| m.name == member.name && m.id != member.id) {
            return Err(Refused::NameTaken(member.name.clone()));
        }
        if self.members.len() >= MAX_MEMBERS && !self.members.contains_key(&member.id) {
            return Err(wrong("a cluster has at most 512 members"));
        }
        self.members.insert(member.id, member.clone());
        Ok(())
    }

    fn replace_member(&mut self, old: MemberId, member: &Member) -> Result<(), Refused> {
        let name = &self.known(old)?.name;
        if *name != member.name || member.id == old || self.members.contains_key(&member.id) {
            return Err(Refused::InvalidMember {
                name: member.name.clone(),
                message: format!("it cannot take the place of '{name}'"),
            });
        }
        self.members.remove(&old);
        self.put_member(member)?;
        self.assignment
            .update(&EVERY_SLOT, |slot| slot.owns(old).then(|| slot.with_instead(old, member.id)));
        self.lose(member.id);
        Ok(())
    }

    /// A member has nothing (of what it had in memory) any more.
    fn lose(&mut self, member: MemberId) {
        let epoch = self.epoch + 1;
        self.assignment.update(&EVERY_SLOT, |slot| slot.after_loss(member, epoch));
    }

    fn place(&mut self, steps: &[Step]) {
        let mut assignment = std::mem::take(&mut self.assignment);
        let next = self.next_factors();
        let around = Around {
            epoch: self.epoch + 1,
            replication_factor: self.replication_factor(),
            stores: self.held(),
            incarnation: &|id| self.members.get(&id).map(|member| member.incarnation),
            steps_aside: &|slot, id| next.as_ref().is_some_and(|next| next.bars(slot, id)),
        };
        for step in steps {
            step.apply(&mut assignment, &around);
        }
        self.assignment = assignment;
    }

    /// Other owners: they begin with nothing, so the primary is in sync alone.
    fn assign(&mut self, owners: &Assignment) {
        let (before, epoch) = (&self.assignment, self.epoch + 1);
        let placements = (0..SLOTS).map(|slot| match before.placement(slot) {
            Some(placement) if placement.owners[..] == *owners.owners(slot) => placement.clone(),
            _ => Placement::new(owners.owners(slot).into(), epoch),
        });
        self.assignment = Assignment::from_placements(before.epoch, placements);
    }

    fn check_assignment(&self, assignment: &Assignment) -> Result<(), Refused> {
        for run in assignment.placements() {
            if !run.placement.is_sound() {
                return Err(Refused::InvalidAssignment(format!("{:?}", run.placement)));
            }
            for owner in run.placement.owners {
                if !self.members.contains_key(&owner) {
                    return Err(Refused::InvalidAssignment(format!("{owner} is no member")));
                }
            }
        }
        if assignment.assigned() != u32::from(SLOTS) {
            return Err(Refused::InvalidAssignment("a slot has no owner".to_owned()));
        }
        Ok(())
    }

    fn check_stores(&self) -> Result<(), Invalid> {
        crate::store::validate_all(&self.stores)
    }

    /// The stores, as far as it counts for steps who holds which.
    pub(super) fn held(&self) -> &[StorePolicy] {
        if self.speaks(LOOKS_AT_STORES) { &self.stores } else { &[] }
    }

    fn change_store(&mut self, policy: &StorePolicy) -> Result<(), Refused> {
        let Some(store) = self.stores.iter_mut().find(|s| s.name == policy.name) else {
            return Err(Refused::NoSuchStore(policy.name.clone()));
        };
        if store.number != policy.number {
            let message = format!("'{}' has number {}, which stays", store.name, store.number);
            return Err(Refused::InvalidStore(Invalid { field: "number".into(), message }));
        }
        *store = policy.clone();
        self.check_stores().map_err(Refused::InvalidStore)
    }

    fn drop_store(&mut self, number: StoreNumber) -> Result<(), Refused> {
        if number == 0 {
            return Err(Refused::InvalidStore(Invalid {
                field: "number".into(),
                message: "the default store cannot be dropped".into(),
            }));
        }
        let before = self.stores.len();
        self.stores.retain(|store| store.number != number);
        if self.stores.len() == before {
            return Err(Refused::NoSuchStore(number.to_string()));
        }
        Ok(())
    }

    fn set_desired(&mut self, desired: &Desired, drop: &[StoreNumber]) -> Result<(), Refused> {
        check_names(&desired.members).map_err(Refused::InvalidDesired)?;
        let mut wanted = desired.clone();
        wanted.stores.iter_mut().for_each(|store| store.managed = true);
        let listed = |store: &StorePolicy| wanted.stores.iter().any(|s| s.name == store.name);
        self.stores.retain(|store| {
            store.number == 0 || !store.managed || listed(store) || !drop.contains(&store.number)
        });
        let others: Vec<StorePolicy> =
            self.stores.iter().filter(|store| !listed(store)).cloned().collect();
        for (i, policy) in wanted.stores.iter().enumerate() {
            let at = |mut invalid: Invalid| {
                invalid.field = format!("stores[{i}].{}", invalid.field);
                Refused::InvalidStore(invalid)
            };
            policy.validate().map_err(at)?;
            crate::store::validate_all(&wanted.stores[..=i]).map_err(at)?;
            for other in &others {
                crate::store::validate_all(&[other.clone(), policy.clone()]).map_err(at)?;
            }
            match self.stores.iter_mut().find(|s| s.name == policy.name) {
                Some(store) if store.number != policy.number => {
                    let message = format!(
                        "store '{}' has number {}, which cannot be changed",
                        store.name, store.number
                    );
                    return Err(at(Invalid { field: "number".into(), message }));
                }
                Some(store) => *store = policy.clone(),
                None => self.stores.push(policy.clone()),
            }
        }
        self.desired = Some(wanted);
        Ok(())
    }
}

fn check_names(names: &[String]) -> Result<(), Invalid> {
    let wrong = |message: String| Err(Invalid { field: "members".into(), message });
    if names.is_empty() {
        return wrong("at least one member must be".into());
    }
    if names.len() > MAX_MEMBERS {
        return wrong(format!("a cluster has at most {MAX_MEMBERS} members"));
    }
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() || name.len() > 253 {
            return wrong("a name has 1 to 253 characters".into());
        }
        if names[..i].contains(name) {
            return wrong(format!("'{name}' is named twice"));
        }
    }
    Ok(())
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init { cluster_id, members, .. } => {
                write!(f, "the first table of cluster {cluster_id:016x}, {} members", members.len())
            }
            Self::AddMember(member) => write!(f, "add member {}", member.name),
            Self::UpdateMember(member) => write!(f, "update member {}", member.name),
            Self::ReplaceMember { old, member } => {
                write!(f, "put {:016x} in the place of {old:016x} as {}", member.id, member.name)
            }
            Self::RemoveMember(id) => write!(f, "remove member {id:016x}"),
            Self::Restarted { member, .. } => write!(f, "member {member:016x} has restarted"),
            Self::Place(steps) => write!(f, "{} steps of placements", steps.len()),
            Self::CreateStore(policy) => write!(f, "create store {}", policy.name),
            Self::ChangeStore(policy) => write!(f, "change store {}", policy.name),
            Self::DropStore(number) => write!(f, "drop store {number}"),
            Self::SetDesired { desired, .. } => {
                write!(f, "desired generation {}", desired.generation)
            }
            Self::Steer(steer) => write!(f, "moves of slots: {steer:?}"),
            Self::RaiseProtocol(protocol) => write!(f, "members speak protocol {protocol}"),
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub(crate) mod tests;
