//! A look ahead over a pipeline: which commands come next, and what they will need from memory.

use std::cell::RefCell;

use hypercache_core::command::{self, Find, Known, Run, RunKeys, Spec};
use hypercache_core::keyspace::{Hashed, HashedMember, Keyspace, Stores};
use hypercache_core::resp::{Limits, Pipeline};
use smallvec::SmallVec;

/// So many commands are looked at together: enough to hide one another's cache misses, few enough
/// for what they asked for to be still there when they run.
const GROUP: usize = 32;
/// So many keys are asked for at the most.
const KEYS: usize = 128;

/// A request longer than this is run at once: it gains little by waiting for others.
const SHORT: usize = 512;

/// The keys of requests that came alone, one on each of several connections, and that wait for one
/// another to ask for them at once: what [`Ahead`] is for one connection, for all that were
/// readable together.
#[derive(Debug, Default)]
pub struct Gathered(RefCell<SmallVec<[Hashed; GROUP]>>);

impl Gathered {
    /// Adds the key of a short request that is all of an input and has one key; says whether the
    /// request should wait until the connections that are ready now have been read.
    #[inline]
    pub fn add(&self, input: &[u8], limits: &Limits, keyspace: &Keyspace) -> bool {
        if input.len() > SHORT {
            return false;
        }
        let requests = Pipeline::read(input, limits, 2);
        let (Some((args, _)), 1) = (requests.get(0), requests.len()) else { return false };
        let Some(spec) = command::lookup_quiet(args) else { return false };
        let (Run::Keys(RunKeys::One(_)), Some(key)) = (spec.run, spec.first_key(args)) else {
            return false;
        };
        let mut keys = self.0.borrow_mut();
        if keys.len() == GROUP {
            return false;
        }
        keys.push(keyspace.hashed(key));
        true
    }

    /// Asks for all keys that were added since.
    #[inline]
    pub fn prefetch(&self, keyspace: &Keyspace) {
        let mut keys = self.0.borrow_mut();
        // One alone has nobody to overlap with.
        if keys.len() > 1 {
            keyspace.prefetch(&keys, &[]);
        }
        keys.clear();
    }
}

/// The next commands of a connection.
pub struct Ahead<'a> {
    requests: Pipeline<'a>,
    commands: SmallVec<[Command; GROUP]>,
    /// The keys of all of them, one command after the other.
    keys: Keys,
    stores: Stores,
}

type Keys = SmallVec<[Hashed; KEYS]>;

/// What is known of a command that is not run yet.
#[derive(Debug, Clone, Copy)]
struct Command {
    /// `None`: what is wrong with it is said when its turn comes.
    spec: Option<&'static Spec>,
    /// Where its keys are among those of all, if all of them are there.
    keys: (u8, u8),
}

/// One command to run.
#[derive(Debug, Clone, Copy)]
pub struct Upcoming<'b, 'a> {
    /// Its name and arguments, at least the name.
    pub args: &'b [&'a [u8]],
    /// What it is, if its name and arity are right.
    pub spec: Option<&'static Spec>,
    /// What else is known of it.
    pub known: Known<'b>,
    /// Where it ends in the input.
    pub end: usize,
}

impl<'a> Ahead<'a> {
    /// Reads the commands that come next, as far as [`Pipeline`] can; when they have several keys
    /// between them, asks for these all at once.
    #[inline]
    pub fn look(input: &'a [u8], limits: &Limits, keyspace: &Keyspace) -> Self {
        let requests = Pipeline::read(input, limits, GROUP);
        let (commands, keys, stores) = (SmallVec::new(), SmallVec::new(), keyspace.stores());
        let mut ahead = Self { requests, commands, keys, stores };
        let mut members: SmallVec<[HashedMember; GROUP]> = SmallVec::new();
        let mut at = 0;
        while let Some((args, _)) = ahead.requests.get(at) {
            at += 1;
            let spec = command::lookup_quiet(args);
            let keys = spec.map_or((0, 0), |spec| add_keys(spec, args, keyspace, &mut ahead.keys));
            // One request alone has nobody to overlap with.
            if ahead.requests.len() > 1
                && let Some(spec) = spec
                && keys.0 < keys.1
                && let (Some(places), Some(of)) =
                    (spec.members, ahead.keys.get(usize::from(keys.0)))
            {
                let left = GROUP - members.len();
                for member in args.iter().skip(places.first).step_by(places.step).take(left) {
                    members.push(keyspace.hashed_member(*of, member));
                }
            }
            ahead.commands.push(Command { spec, keys });
        }
        if ahead.keys.len() > 1 {
            keyspace.prefetch(&ahead.keys, &members);
        }
        ahead
    }

    /// The command of that number, if there is one.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Upcoming<'_, 'a>> {
        let (args, end) = self.requests.get(index)?;
        let Command { spec, keys: (first, last) } = *self.commands.get(index)?;
        let hashed = self.keys.get(usize::from(first)..usize::from(last)).unwrap_or_default();
        let known = Known { hashed, stores: Some(&self.stores) };
        Some(Upcoming { args, spec, known, end })
    }
}

/// Adds the keys of a command, as far as there is room; where they are, if all are there.
#[inline]
fn add_keys(spec: &Spec, args: &[&[u8]], keyspace: &Keyspace, keys: &mut Keys) -> (u8, u8) {
    let first = keys.len();
    for key_spec in spec.key_specs {
        // What the positions of keys are costs nothing to say only for these.
        if key_spec.find != Find::Range {
            return (0, 0);
        }
        for place in key_spec.positions(args) {
            if keys.len() == KEYS {
                return (0, 0);
            }
            keys.push(keyspace.hashed(args[place]));
        }
    }
    (first as u8, keys.len() as u8)
}
