//! Cuckoo filters under keys: is it surely not there?

use super::prelude::*;

const WRITES: F = F::WRITE.union(F::DENYOOM);

const fn row(
    name: &'static str,
    arity: i32,
    complexity: &'static str,
    summary: &'static str,
    flags: F,
) -> Spec {
    Spec::new(name, arity, Group::Cuckoo, "1.0.0", complexity, summary)
        .flags(flags)
        .acl(Acl::CUCKOO)
        .spread(Spread::OneSlot)
}

const READ: [Key; 1] = [Key::at(1, &["RO", "access"])];
const ADD: [Key; 1] = [Key::at(1, &["RW", "insert"])];
const KEY: Arg = Arg::key("key", 0);
const ITEM: Arg = Arg::new("item", "string");
const INSERT: [Arg; 4] = [
    KEY,
    Arg::new("capacity", "integer").token("CAPACITY").optional(),
    Arg::new("nocreate", "pure-token").token("NOCREATE").optional(),
    Arg::new("item", "string").token("ITEMS").multiple(),
];

/// The commands of this family.
pub(super) const LIST: [Spec; 12] = [
    row("cf.reserve", -3, "O(1)", "Makes an empty cuckoo filter.", WRITES.union(F::FAST))
        .keyed(&ADD)
        .args(&[
            KEY,
            Arg::new("capacity", "integer"),
            Arg::new("bucketsize", "integer").token("BUCKETSIZE").optional(),
            Arg::new("maxiterations", "integer").token("MAXITERATIONS").optional(),
            Arg::new("expansion", "integer").token("EXPANSION").optional(),
        ])
        .run(Run::Keys(One(cuckoo::reserve))),
    row(
        "cf.add",
        3,
        "O(K + I) for K sub-filters and I moves",
        "Adds an item to a cuckoo filter, once more if it is there.",
        WRITES.union(F::FAST),
    )
    .keyed(&ADD)
    .args(&[KEY, ITEM])
    .run(Run::Keys(One(cuckoo::add_item))),
    row(
        "cf.addnx",
        3,
        "O(K + I) for K sub-filters and I moves",
        "Adds an item to a cuckoo filter unless it seems to be there.",
        WRITES.union(F::FAST),
    )
    .keyed(&ADD)
    .args(&[KEY, ITEM])
    .run(Run::Keys(One(cuckoo::add_new))),
    row(
        "cf.insert",
        -4,
        "O(N * (K + I)) for N items, K sub-filters and I moves",
        "Adds items to a cuckoo filter, which is made with a capacity if it is not there.",
        WRITES,
    )
    .keyed(&ADD)
    .args(&INSERT)
    .run(Run::Keys(One(cuckoo::insert))),
    row(
        "cf.insertnx",
        -4,
        "O(N * (K + I)) for N items, K sub-filters and I moves",
        "Adds items that do not seem to be there to a cuckoo filter.",
        WRITES,
    )
    .keyed(&ADD)
    .args(&INSERT)
    .run(Run::Keys(One(cuckoo::insert_new))),
    row(
        "cf.exists",
        3,
        "O(K) for K sub-filters",
        "Tells whether an item may be in a cuckoo filter.",
        F::READONLY.union(F::FAST),
    )
    .keyed(&READ)
    .args(&[KEY, ITEM])
    .run(Run::Keys(One(cuckoo::exists))),
    row(
        "cf.mexists",
        -3,
        "O(N * K) for N items and K sub-filters",
        "Tells of each item whether it may be in a cuckoo filter.",
        F::READONLY,
    )
    .keyed(&READ)
    .args(&[KEY, ITEM.multiple()])
    .run(Run::Keys(One(cuckoo::exist))),
    row(
        "cf.count",
        3,
        "O(K) for K sub-filters",
        "Estimates how often an item was added to a cuckoo filter.",
        F::READONLY.union(F::FAST),
    )
    .keyed(&READ)
    .args(&[KEY, ITEM])
    .run(Run::Keys(One(cuckoo::count))),
    row(
        "cf.del",
        3,
        "O(K) for K sub-filters",
        "Takes an item out of a cuckoo filter once.",
        F::WRITE.union(F::FAST),
    )
    .keyed(&[Key::at(1, &["RW", "delete"])])
    .args(&[KEY, ITEM])
    .run(Run::Keys(One(cuckoo::delete))),
    row(
        "cf.info",
        2,
        "O(1)",
        "Tells how a cuckoo filter is laid out and filled.",
        F::READONLY.union(F::FAST),
    )
    .keyed(&READ)
    .args(&[KEY])
    .run(Run::Keys(One(cuckoo::info))),
    row(
        "cf.scandump",
        3,
        "O(N) for a chunk of N bytes",
        "Gives the next chunk of a cuckoo filter, to be loaded elsewhere.",
        F::READONLY,
    )
    .keyed(&READ)
    .args(&[KEY, Arg::new("iterator", "integer")])
    .run(Run::Keys(One(cuckoo::scan_dump))),
    row(
        "cf.loadchunk",
        4,
        "O(N) for a chunk of N bytes",
        "Loads a chunk of a cuckoo filter that was dumped elsewhere.",
        WRITES,
    )
    .keyed(&[Key::at(1, &["RW", "update"])])
    .args(&[KEY, Arg::new("iterator", "integer"), Arg::new("data", "string")])
    .run(Run::Keys(One(cuckoo::load_chunk))),
];
