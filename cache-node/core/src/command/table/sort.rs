//! SORT, and commands that look into values of several types.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 1] = [Spec::new(
    "lmpop",
    -4,
    Group::List,
    "7.0.0",
    "O(K+M) for K keys and M elements taken",
    "Takes elements out of the first list that has any.",
)
.flags(F::WRITE.union(F::MOVABLEKEYS))
.acl(Acl::LIST)
.keyed(&[Key::at(1, &["RW", "access", "delete"]).found(Find::Count)])
.args(&[
    Arg::new("numkeys", "integer"),
    Arg::key("key", 0).multiple(),
    Arg::new("where", "oneof").of(&[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
    Arg::new("count", "integer").token("COUNT").optional(),
])
.spread(Spread::OneSlot)
.run(Run::Keys(Many(list_edit::lmpop)))];
