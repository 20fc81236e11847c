//! Bits of strings.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 7] = [
    Spec::new("setbit", 4, Group::Bitmap, "2.2.0", "O(1)", "Sets or clears a bit.")
        .flags(F::WRITE.union(F::DENYOOM))
        .acl(Acl::BITMAP)
        .keyed(&[Key::at(1, &["RW", "access", "update"])])
        .args(&[Arg::key("key", 0), Arg::new("offset", "integer"), Arg::new("value", "integer")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(bits::setbit))),
    Spec::new("getbit", 3, Group::Bitmap, "2.2.0", "O(1)", "Reads a bit.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::BITMAP)
        .keyed(&[Key::at(1, &["RO", "access"])])
        .args(&[Arg::key("key", 0), Arg::new("offset", "integer")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(bits::getbit))),
    Spec::new(
        "bitcount",
        -2,
        Group::Bitmap,
        "2.6.0",
        "O(N) for N bytes",
        "Counts the bits that are set.",
    )
    .flags(F::READONLY)
    .acl(Acl::BITMAP)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("index", "block").optional().of(&[
            Arg::new("start", "integer"),
            Arg::new("end", "integer"),
            Arg::new("index_unit", "oneof")
                .since("7.0.0")
                .optional()
                .of(&[Arg::word("byte", "BYTE"), Arg::word("bit", "BIT")]),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(bits::bitcount))),
    Spec::new(
        "bitpos",
        -3,
        Group::Bitmap,
        "2.8.7",
        "O(N) for N bytes",
        "Finds the first bit that is set or clear.",
    )
    .flags(F::READONLY)
    .acl(Acl::BITMAP)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("bit", "integer"),
        Arg::new("index", "block").optional().of(&[
            Arg::new("start", "integer"),
            Arg::new("end_index", "block").optional().of(&[
                Arg::new("end", "integer"),
                Arg::new("index_unit", "oneof")
                    .since("7.0.0")
                    .optional()
                    .of(&[Arg::word("byte", "BYTE"), Arg::word("bit", "BIT")]),
            ]),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(bits::bitpos))),
    Spec::new(
        "bitop",
        -4,
        Group::Bitmap,
        "2.6.0",
        "O(N) for N bytes",
        "Combines strings bit by bit and stores the result.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::BITMAP)
    .keyed(&[Key::at(2, &["OW", "update"]), Key::at(3, &["RO", "access"]).to(-1, 1)])
    .args(&[Arg::new("operation", "string"), Arg::key("destkey", 0), Arg::key("key", 1).multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(bit_op::bitop))),
    Spec::new(
        "bitfield",
        -2,
        Group::Bitmap,
        "3.2.0",
        "O(1) for each integer",
        "Reads and changes integers of any width in a string.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::BITMAP)
    .keyed(&[Key::at(1, &["RW", "access", "update", "variable_flags"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("operation", "oneof").optional().multiple().of(&[
            Arg::new("encoding_offset", "block")
                .token("GET")
                .of(&[Arg::new("encoding", "string"), Arg::new("offset", "integer")]),
            Arg::new("write", "block").of(&[
                Arg::new("wrap_sat_fail", "oneof").token("OVERFLOW").optional().of(&[
                    Arg::word("wrap", "WRAP"),
                    Arg::word("sat", "SAT"),
                    Arg::word("fail", "FAIL"),
                ]),
                Arg::new("write_operation", "oneof").of(&[
                    Arg::new("encoding_offset_value", "block").token("SET").of(&[
                        Arg::new("encoding", "string"),
                        Arg::new("offset", "integer"),
                        Arg::new("value", "integer"),
                    ]),
                    Arg::new("encoding_offset_increment", "block").token("INCRBY").of(&[
                        Arg::new("encoding", "string"),
                        Arg::new("offset", "integer"),
                        Arg::new("increment", "integer"),
                    ]),
                ]),
            ]),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(bitfield::bitfield))),
    Spec::new(
        "bitfield_ro",
        -2,
        Group::Bitmap,
        "6.0.0",
        "O(1) for each integer",
        "Reads integers of any width from a string.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::BITMAP)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("encoding_offset", "block")
            .token("GET")
            .optional()
            .multiple()
            .multiple_token()
            .of(&[Arg::new("encoding", "string"), Arg::new("offset", "integer")]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(bitfield::bitfield_ro))),
];
