//! A look ahead over a pipeline: which commands come next, and what they will need from memory.

use std::cell::RefCell;

use hypercache_core::command::{self, Find, Run, RunKeys, Spec};
use hypercache_core::keyspace::{Hashed, Keyspace};
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
            keyspace.prefetch(&keys);
        }
        keys.clear();
    }
}

/// The next commands of a connection.
pub struct Ahead<'a> {
    requests: Pipeline<'a>,
    commands: SmallVec<[Command; GROUP]>,
}

/// What is known of a command that is not run yet.
#[derive(Debug, Clone, Copy)]
struct Command {
    /// `None`: what is wrong with it is said when its turn comes.
    spec: Option<&'static Spec>,
    /// Its first key's slot and hash.
    hashed: Option<Hashed>,
}

/// One command to run.
#[derive(Debug, Clone, Copy)]
pub struct Upcoming<'b, 'a> {
    /// Its name and arguments, at least the name.
    pub args: &'b [&'a [u8]],
    /// What it is, if its name and arity are right.
    pub spec: Option<&'static Spec>,
    /// Its first key's slot and hash, where it has one key.
    pub hashed: Option<Hashed>,
    /// Where it ends in the input.
    pub end: usize,
}

impl<'a> Ahead<'a> {
    /// Reads the commands that come next, as far as [`Pipeline`] can; when they have several keys
    /// between them, asks for these all at once.
    #[inline]
    pub fn look(input: &'a [u8], limits: &Limits, keyspace: &Keyspace) -> Self {
        let requests = Pipeline::read(input, limits, GROUP);
        let mut commands = SmallVec::new();
        let mut keys: SmallVec<[Hashed; KEYS]> = SmallVec::new();
        let mut at = 0;
        while let Some((args, _)) = requests.get(at) {
            at += 1;
            let spec = command::lookup_quiet(args);
            let before = keys.len();
            if let Some(spec) = spec {
                for key_spec in spec.key_specs {
                    // What the positions of keys are costs nothing to say only for these.
                    if key_spec.find == Find::Range {
                        for place in key_spec.positions(args).take(KEYS - keys.len()) {
                            keys.push(keyspace.hashed(args[place]));
                        }
                    }
                }
            }
            let one = matches!(spec.map(|spec| spec.run), Some(Run::Keys(RunKeys::One(_))));
            commands.push(Command { spec, hashed: keys.get(before).copied().filter(|_| one) });
        }
        if keys.len() > 1 {
            keyspace.prefetch(&keys);
        }
        Self { requests, commands }
    }

    /// The command of that number, if there is one.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Upcoming<'_, 'a>> {
        let (args, end) = self.requests.get(index)?;
        let Command { spec, hashed } = *self.commands.get(index)?;
        Some(Upcoming { args, spec, hashed, end })
    }
}
