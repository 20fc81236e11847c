//! Lists: changes in the middle, searching, and moving between lists.

use super::lists::{End, Found, edit, find, index, read, resize};
use super::ranges::range;
use super::texts::{self, is};
use super::zremove::Pops;
use crate::keyspace::{Access, Event, Lifetime, List, Locked, Value};
use crate::resp::Writer;

/// LSET key index element
pub fn lset(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match find(key) {
        Found::Nothing => return out.error(texts::NO_SUCH_KEY),
        Found::Other => return out.error(texts::WRONG_TYPE),
        Found::List => {}
    }
    let Some(at) = texts::integer(args[2], out) else { return };
    let done = key.update_if(|value| {
        let set = value
            .as_list_mut()
            .is_some_and(|list| index(at, list.len()).is_some_and(|at| list.set(at, args[3])));
        (set, set)
    });
    if done == Some(true) {
        key.happened(Event::list("lset"));
    }
    if done == Some(true) { out.ok() } else { out.error(texts::INDEX) }
}

/// LINSERT key BEFORE|AFTER pivot element
pub fn linsert(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let after = is(args[2], "AFTER");
    if !after && !is(args[2], "BEFORE") {
        return out.error(texts::SYNTAX);
    }
    match find(key) {
        Found::Nothing => return out.integer(0),
        Found::Other => return out.error(texts::WRONG_TYPE),
        Found::List => {}
    }
    let len = resize(key, Event::list("linsert"), |list| {
        let mut found = None;
        list.visit(0, |at, element| {
            if element == args[3] {
                found = Some(at);
            }
            found.is_none()
        });
        let at = found?;
        list.insert(if after { at + 1 } else { at }, args[4]);
        Some(list.len())
    });
    out.integer(len.flatten().map_or(-1, |len| len as i64));
}

/// LREM key count element
pub fn lrem(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(count) = texts::integer(args[2], out) else { return };
    match find(key) {
        Found::Nothing => return out.integer(0),
        Found::Other => return out.error(texts::WRONG_TYPE),
        Found::List => {}
    }
    let most = match count.unsigned_abs() {
        0 => usize::MAX,
        count => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let removed =
        resize(key, Event::list("lrem"), |list| list.remove_equal(args[3], most, count < 0));
    out.integer(removed.unwrap_or(0) as i64);
}

/// LTRIM key start stop
pub fn ltrim(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(start) = texts::integer(args[2], out) else { return };
    let Some(stop) = texts::integer(args[3], out) else { return };
    match find(key) {
        Found::Nothing => {}
        Found::Other => return out.error(texts::WRONG_TYPE),
        Found::List => {
            edit(key, Event::list("ltrim"), |list| {
                let range = range(start, stop, list.len());
                list.keep(range.start, range.end);
            });
        }
    }
    out.ok();
}

/// What LPOS is asked for.
struct Search {
    rank: i64,
    /// How many matches to answer with (0: all), as an array.
    count: Option<u64>,
    /// How many elements to compare at most; 0: all.
    most: u64,
}

impl Search {
    fn read(mut rest: &[&[u8]], out: &mut Writer<'_>) -> Option<Self> {
        let mut search = Self { rank: 1, count: None, most: 0 };
        while let [word, tail @ ..] = rest {
            let [value, tail @ ..] = tail else {
                out.error(texts::SYNTAX);
                return None;
            };
            rest = tail;
            if is(word, "RANK") {
                search.rank = texts::integer(value, out)?;
                if search.rank == i64::MIN {
                    // It has no positive counterpart to count to (S5).
                    out.error(
                        "ERR value is out of range, value must between -9223372036854775807 and \
                         9223372036854775807",
                    );
                    return None;
                }
                if search.rank == 0 {
                    out.error(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    );
                    return None;
                }
            } else if is(word, "COUNT") {
                search.count = Some(texts::count_or(value, "ERR COUNT can't be negative", out)?);
            } else if is(word, "MAXLEN") {
                search.most = texts::count_or(value, "ERR MAXLEN can't be negative", out)?;
            } else {
                out.error(texts::SYNTAX);
                return None;
            }
        }
        Some(search)
    }

    fn run(&self, list: &List, wanted: &[u8]) -> Vec<usize> {
        let (mut compared, mut matched, mut found) = (0, 0, Vec::new());
        let enough = match self.count {
            None => 1,
            Some(0) => u64::MAX,
            Some(count) => count,
        };
        let mut visit = |at: usize, element: &[u8]| {
            if self.most != 0 && compared >= self.most {
                return false;
            }
            compared += 1;
            if element == wanted {
                matched += 1;
                if matched >= self.rank.unsigned_abs() {
                    found.push(at);
                }
            }
            (found.len() as u64) < enough
        };
        if self.rank > 0 {
            list.visit(0, visit);
        } else {
            list.visit_backwards(&mut visit);
        }
        found
    }
}

/// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]
pub fn lpos(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(search) = Search::read(&args[3..], out) else { return };
    let absent = |out: &mut Writer<'_>| match search.count {
        Some(_) => out.array(0),
        None => out.null(),
    };
    read(key, out, absent, |list, out| {
        let found = search.run(list, args[2]);
        match (search.count, found.first()) {
            (Some(_), _) => {
                out.array(found.len());
                found.iter().for_each(|at| out.integer(*at as i64));
            }
            (None, Some(at)) => out.integer(*at as i64),
            (None, None) => out.null(),
        }
    });
}

pub(super) fn end(arg: &[u8]) -> Option<End> {
    if is(arg, "LEFT") {
        Some(End::Left)
    } else if is(arg, "RIGHT") {
        Some(End::Right)
    } else {
        None
    }
}

/// LMOVE source destination LEFT|RIGHT LEFT|RIGHT
pub fn lmove(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match (end(args[3]), end(args[4])) {
        (Some(from), Some(to)) => move_element(keys, args, out, from, to),
        _ => out.error(texts::SYNTAX),
    }
}

/// RPOPLPUSH source destination
pub fn rpoplpush(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    move_element(keys, args, out, End::Right, End::Left);
}

fn move_element(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>, from: End, to: End) {
    if !try_move(keys, args, out, from, to) {
        out.null();
    }
}

/// Moves an element and answers; false if there is none.
pub(super) fn try_move(
    keys: &mut Locked<'_>,
    args: &[&[u8]],
    out: &mut Writer<'_>,
    from: End,
    to: End,
) -> bool {
    let (source, target) = (args[1], args[2]);
    match keys.at(source).map_or(Found::Nothing, |mut key| find(&mut key)) {
        Found::Nothing => return false,
        Found::Other => {
            out.error(texts::WRONG_TYPE);
            return true;
        }
        Found::List => {}
    }
    let found = keys.at(target).map_or(Found::Nothing, |mut key| find(&mut key));
    if matches!(found, Found::Other) {
        out.error(texts::WRONG_TYPE);
        return true;
    }
    let element = keys.at(source).and_then(|mut key| {
        let list = key.value()?.as_list()?;
        from.peek(list).map(<[u8]>::to_vec)
    });
    let Some(element) = element else { return false };
    if source == target {
        if let Some(mut key) = keys.at(source) {
            // First the one that comes: with one element, the other way round the key would go.
            key.log_as(&[to.push_name(), source, &element]);
            key.log_as(&[from.pop_name(), source]);
            edit(&mut key, to.pushed(), |list| {
                from.drop(list);
                to.push(list, &element);
            });
            key.happened(from.popped());
        }
        out.bulk(&element);
        return true;
    }
    if let Some(mut key) = keys.at(target) {
        if matches!(found, Found::List) {
            key.log_as(&[to.push_name(), target, &element]);
            edit(&mut key, to.pushed(), |list| to.push(list, &element));
        } else {
            let mut list = Box::<List>::default();
            to.push(&mut list, &element);
            key.set(Value::List(list), Lifetime::Default);
            key.happened(to.pushed());
        }
    }
    if let Some(mut key) = keys.at(source) {
        key.log_as(&[from.pop_name(), source]);
        edit(&mut key, from.popped(), |list| from.drop(list));
    }
    out.bulk(&element);
    true
}

/// LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count]
pub fn lmpop(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(pops) = Pops::read(args, ["LEFT", "RIGHT"], out) else { return };
    if !pop_first(keys, &pops, out) {
        out.null_array();
    }
}

/// Takes elements out of the first list that has any, and answers; false if none has.
pub(super) fn pop_first(keys: &mut Locked<'_>, pops: &Pops<'_, '_>, out: &mut Writer<'_>) -> bool {
    let end = if pops.second_end { End::Right } else { End::Left };
    take_from_first(keys, pops.names, end, pops.count, out, |list, out| {
        let taken = pops.count.min(list.len());
        out.array(taken);
        for _ in 0..taken {
            out.bulk(end.peek(list).unwrap_or_default());
            end.drop(list);
        }
    })
}

/// Answers the name of the first key that has a list, and what `take` answers of what it takes
/// from an end of that, `count` elements at most; false if none has.
pub(super) fn take_from_first(
    keys: &mut Locked<'_>,
    names: &[&[u8]],
    end: End,
    count: usize,
    out: &mut Writer<'_>,
    take: impl FnOnce(&mut List, &mut Writer<'_>),
) -> bool {
    for name in names {
        let Some(mut key) = keys.at(name) else { continue };
        match find(&mut key) {
            Found::Nothing => {}
            Found::Other => {
                out.error(texts::WRONG_TYPE);
                return true;
            }
            Found::List => {
                out.array(2);
                out.bulk(name);
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                let mut digits = itoa::Buffer::new();
                key.log_as(&[end.pop_name(), name, digits.format(count).as_bytes()]);
                edit(&mut key, end.popped(), |list| take(list, out));
                return true;
            }
        }
    }
    false
}
