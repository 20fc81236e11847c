//! Sorted sets: what several have in common, in all, or beyond others. Sets count as sorted sets
//! whose scores are 1.

use super::set_combine::limit;
use super::texts::{self, Parts, is};
use super::typed::store;
use super::zrange::write;
use crate::keyspace::{Event, KeyHasher, Locked, Set, SortedSet, Value, ValueRef};
use crate::resp::Writer;

/// What is made of several sorted sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Inter,
    Union,
    Diff,
}

/// What becomes of a member's scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            // Opposite infinities make 0.
            Self::Sum if (a + b).is_nan() => 0.0,
            Self::Sum => a + b,
            Self::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Self::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

/// A set or sorted set that takes part.
#[derive(Clone, Copy)]
enum Source<'b> {
    Sorted(&'b SortedSet),
    Plain(&'b Set),
    Nothing,
}

impl<'b> Source<'b> {
    fn of(value: Option<ValueRef<'b>>) -> Option<Self> {
        let Some(value) = value else { return Some(Self::Nothing) };
        match value.object()? {
            Value::SortedSet(set) => Some(Self::Sorted(set)),
            Value::Set(set) => Some(Self::Plain(set)),
            _ => None,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Sorted(set) => set.len(),
            Self::Plain(set) => set.len(),
            Self::Nothing => 0,
        }
    }

    fn score(self, hasher: &KeyHasher, member: &[u8]) -> Option<f64> {
        match self {
            Self::Sorted(set) => set.score(hasher, member),
            Self::Plain(set) => set.contains(hasher, member).then_some(1.0),
            Self::Nothing => None,
        }
    }

    fn visit(self, mut visit: impl FnMut(&[u8], f64) -> bool) {
        match self {
            Self::Sorted(set) => set.visit(0, set.len(), false, visit),
            Self::Plain(set) => {
                set.all(|member| visit(member, 1.0));
            }
            Self::Nothing => {}
        }
    }
}

/// A combination as it stands in the arguments.
struct Request<'b, 'c> {
    operation: Operation,
    names: &'b [&'c [u8]],
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

/// How the result leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Answer,
    Store,
}

/// The keys behind `args[at]`, and what follows; `None` after answering with an error.
fn counted<'b, 'c>(
    args: &'b [&'c [u8]],
    at: usize,
    command: &str,
    out: &mut Writer<'_>,
) -> Option<Parts<'b, 'c>> {
    let count = texts::integer(args.get(at)?, out)?;
    if count < 1 {
        out.error(&format!("ERR at least 1 input key is needed for '{command}' command"));
        return None;
    }
    let rest = args.get(at + 1..)?;
    let parts = usize::try_from(count).ok().and_then(|count| rest.split_at_checked(count));
    if parts.is_none() {
        out.error(texts::SYNTAX);
    }
    parts
}

/// Whether all keys hold sets, sorted sets or nothing; answers if not.
fn check(keys: &mut Locked<'_>, names: &[&[u8]], out: &mut Writer<'_>) -> bool {
    let good = names.iter().all(|name| {
        let Some(mut key) = keys.at(name) else { return true };
        Source::of(key.read()).is_some()
    });
    if !good {
        out.error(texts::WRONG_TYPE);
    }
    good
}

impl<'b, 'c> Request<'b, 'c> {
    fn new(
        operation: Operation,
        names: &'b [&'c [u8]],
        mut rest: &[&[u8]],
        form: Form,
        out: &mut Writer<'_>,
    ) -> Option<Self> {
        let mut request = Self {
            operation,
            names,
            weights: vec![1.0; names.len()],
            aggregate: Aggregate::Sum,
            with_scores: false,
        };
        let joins = operation != Operation::Diff;
        while let [word, tail @ ..] = rest {
            if joins && is(word, "WEIGHTS") && tail.len() >= names.len() {
                let (weights, tail) = tail.split_at(names.len());
                for (weight, arg) in request.weights.iter_mut().zip(weights) {
                    *weight = texts::double_or(arg, "ERR weight value is not a float", out)?;
                }
                rest = tail;
            } else if let (true, true, [kind, tail @ ..]) = (joins, is(word, "AGGREGATE"), tail) {
                request.aggregate = match () {
                    () if is(kind, "SUM") => Aggregate::Sum,
                    () if is(kind, "MIN") => Aggregate::Min,
                    () if is(kind, "MAX") => Aggregate::Max,
                    () => {
                        out.error(texts::SYNTAX);
                        return None;
                    }
                };
                rest = tail;
            } else if form == Form::Answer && is(word, "WITHSCORES") {
                request.with_scores = true;
                rest = tail;
            } else {
                out.error(texts::SYNTAX);
                return None;
            }
        }
        Some(request)
    }

    fn run(&self, keys: &Locked<'_>) -> SortedSet {
        let hasher = keys.hasher();
        let mut made = SortedSet::default();
        // Whatever is packed has no -0, and what is answered has.
        made.unpack(hasher);
        let sources =
            self.names.iter().map(|name| Source::of(keys.peek(name)).unwrap_or(Source::Nothing));
        let mut sources: Vec<(Source<'_>, f64)> =
            sources.zip(self.weights.iter().copied()).collect();
        if self.operation != Operation::Diff {
            // Sums of doubles depend on their order: this is Redis's.
            sources.sort_by_key(|(source, _)| source.len());
        }
        let Some(((first, weight), rest)) = sources.split_first() else { return made };
        let weighted = |score: f64, weight: f64| {
            let score = score * weight;
            if score.is_nan() { 0.0 } else { score }
        };
        match self.operation {
            Operation::Inter => first.visit(|member, score| {
                let mut joined = Some(weighted(score, *weight));
                for (source, weight) in rest {
                    let other = source.score(hasher, member).map(|score| score * weight);
                    joined = joined.zip(other).map(|(a, b)| self.aggregate.join(a, b));
                }
                if let Some(score) = joined {
                    made.set(hasher, member, score);
                }
                true
            }),
            Operation::Union => {
                for (source, weight) in &sources {
                    source.visit(|member, score| {
                        let score = weighted(score, *weight);
                        let score = match made.score(hasher, member) {
                            Some(before) => self.aggregate.join(before, score),
                            None => score,
                        };
                        made.set(hasher, member, score);
                        true
                    });
                }
            }
            Operation::Diff => first.visit(|member, score| {
                if !rest.iter().any(|(other, _)| other.score(hasher, member).is_some()) {
                    made.set(hasher, member, score);
                }
                true
            }),
        }
        made
    }
}

fn answer(
    keys: &mut Locked<'_>,
    args: &[&[u8]],
    operation: Operation,
    command: &str,
    out: &mut Writer<'_>,
) {
    let Some((names, rest)) = counted(args, 1, command, out) else { return };
    if !check(keys, names, out) {
        return;
    }
    let Some(request) = Request::new(operation, names, rest, Form::Answer, out) else { return };
    let made = request.run(keys);
    write(&made, 0..made.len(), false, request.with_scores, out);
}

fn keep(
    keys: &mut Locked<'_>,
    args: &[&[u8]],
    operation: Operation,
    command: &'static str,
    out: &mut Writer<'_>,
) {
    let Some((names, rest)) = counted(args, 2, command, out) else { return };
    if !check(keys, names, out) {
        return;
    }
    let Some(request) = Request::new(operation, names, rest, Form::Store, out) else { return };
    let made = request.run(keys).packed();
    out.integer(made.len() as i64);
    if let Some(mut target) = keys.at(args[1]) {
        store(&mut target, made, Event::sorted_set(command));
    }
}

/// ZUNION numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]
pub fn zunion(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    answer(keys, args, Operation::Union, "zunion", out);
}

/// ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]
pub fn zinter(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    answer(keys, args, Operation::Inter, "zinter", out);
}

/// ZDIFF numkeys key [key ...] [WITHSCORES]
pub fn zdiff(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    answer(keys, args, Operation::Diff, "zdiff", out);
}

/// ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]
pub fn zunionstore(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    keep(keys, args, Operation::Union, "zunionstore", out);
}

/// ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]
pub fn zinterstore(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    keep(keys, args, Operation::Inter, "zinterstore", out);
}

/// ZDIFFSTORE destination numkeys key [key ...]
pub fn zdiffstore(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    keep(keys, args, Operation::Diff, "zdiffstore", out);
}

/// ZINTERCARD numkeys key [key ...] [LIMIT limit]
pub fn zintercard(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some((names, rest)) = counted(args, 1, "zintercard", out) else { return };
    if !check(keys, names, out) {
        return;
    }
    let Some(limit) = limit(rest, out) else { return };
    let hasher = keys.hasher();
    let mut sources: Vec<Source<'_>> =
        names.iter().filter_map(|name| Source::of(keys.peek(name))).collect();
    sources.sort_by_key(|source| source.len());
    let Some((first, rest)) = sources.split_first() else { return out.integer(0) };
    let mut count = 0u64;
    first.visit(|member, _| {
        count += u64::from(rest.iter().all(|other| other.score(hasher, member).is_some()));
        limit == 0 || count < limit
    });
    out.integer(count as i64);
}
