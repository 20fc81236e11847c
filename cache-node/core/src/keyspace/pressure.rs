//! What a member does as its memory runs out, in stages, well before the kernel ends it.
//!
//! Stores keep to budgets of their own; this is about the member as a whole: its limit may be
//! lower than its budgets' sum, and what the system counts is more than what keys cost (buffers,
//! pages that the allocator keeps).

/// A member's memory at one time, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What the stores' keys cost by their own account.
    pub used_bytes: u64,
    /// What the system counts for the process (of a container: for its group).
    pub resident_bytes: u64,
    /// What the process may have; 0 if nobody set a limit.
    pub limit_bytes: u64,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// There is room.
    #[default]
    Calm,
    /// Expired keys are looked for harder, and free pages are given back.
    Expire,
    /// Stores evict by their policies, though they are within their budgets.
    Evict,
    /// Writes that need memory are refused as well.
    Refuse,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relief {
    /// How far it has come; the caller passes it back the next time.
    pub stage: Stage,
    /// The expiry cycle runs with this many times its budget.
    pub expire_factor: u32,
    /// The allocator is asked to give free pages back.
    pub purge: bool,
    /// Stores that may evict give back this part of what they use, in percent.
    pub evict_percent: u8,
    /// Writes that need memory are answered `OOM`.
    pub refuse: bool,
}

/// Where the stages begin, in percent of the limit.
const EXPIRE_AT: u64 = 85;
const EVICT_AT: u64 = 92;
const REFUSE_AT: u64 = 98;
/// A stage is left this much below where it begins, so that it is not entered and left at every
/// turn.
const SLACK: u64 = 2;
/// Eviction aims at this.
const AIM: u64 = 89;
/// No more leaves in one step.
const MAX_EVICT_PERCENT: u64 = 10;

/// What to do, given what was done before.
pub fn relief(memory: Memory, before: Stage) -> Relief {
    if memory.limit_bytes == 0 {
        return Relief { expire_factor: 1, ..Relief::default() };
    }
    let (limit, used) = (u128::from(memory.limit_bytes), u128::from(memory.used_bytes));
    let all = used.max(u128::from(memory.resident_bytes));
    let reaches = |stage: Stage, percent: u64| {
        let percent = if before >= stage { percent - SLACK } else { percent };
        all * 100 >= limit * u128::from(percent)
    };
    let stage = if reaches(Stage::Refuse, REFUSE_AT) {
        Stage::Refuse
    } else if reaches(Stage::Evict, EVICT_AT) {
        Stage::Evict
    } else if reaches(Stage::Expire, EXPIRE_AT) {
        Stage::Expire
    } else {
        Stage::Calm
    };
    let evict_percent = if stage >= Stage::Evict && used > 0 {
        let excess = all.saturating_sub(limit * u128::from(AIM) / 100);
        // What is not keys cannot be evicted; keys give what they can, step by step.
        (excess * 100).div_ceil(used).clamp(1, u128::from(MAX_EVICT_PERCENT)) as u8
    } else {
        0
    };
    Relief {
        stage,
        expire_factor: match stage {
            Stage::Calm => 1,
            Stage::Expire => 4,
            Stage::Evict | Stage::Refuse => 16,
        },
        purge: stage >= Stage::Expire,
        evict_percent,
        refuse: stage == Stage::Refuse,
    }
}

/// Huge pages are worth their slack from this much on, and until it is half.
const HUGE_FROM_BYTES: u64 = 64 << 20;
/// They are left to those who have room, in percent of the limit.
const HUGE_UP_TO: u64 = 75;

/// Whether the system should back memory with huge pages, given whether it did before: a look-up
/// in much memory costs less then, but what is given back in small pieces may stay with the
/// process until the system needs it.
pub fn huge_pages(memory: Memory, before: bool) -> bool {
    let all = memory.used_bytes.max(memory.resident_bytes);
    let from = if before { HUGE_FROM_BYTES / 2 } else { HUGE_FROM_BYTES };
    let up_to = if before { HUGE_UP_TO + SLACK } else { HUGE_UP_TO };
    let limit = u128::from(memory.limit_bytes);
    let has_room = limit == 0 || u128::from(all) * 100 < limit * u128::from(up_to);
    all >= from && has_room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_memory_with_room_around_it_stands_in_huge_pages() {
        let huge = |resident_mb: u64, limit_mb: u64, before: bool| {
            let (resident_bytes, limit_bytes) = (resident_mb << 20, limit_mb << 20);
            huge_pages(Memory { used_bytes: 0, resident_bytes, limit_bytes }, before)
        };
        assert!(!huge(63, 0, false) && huge(64, 0, false));
        assert!(huge(32, 0, true) && !huge(31, 0, true));
        assert!(huge(700, 1000, false) && !huge(760, 1000, false));
        assert!(huge(760, 1000, true) && !huge(780, 1000, true));
    }

    fn at(used_bytes: u64, resident_bytes: u64, before: Stage) -> Relief {
        relief(Memory { used_bytes, resident_bytes, limit_bytes: 1000 }, before)
    }

    #[test]
    fn stages_come_one_after_the_other() {
        let stages = [(500, Stage::Calm), (849, Stage::Calm), (850, Stage::Expire)];
        let more = [(919, Stage::Expire), (920, Stage::Evict), (979, Stage::Evict)];
        for (resident, stage) in stages.into_iter().chain(more).chain([(980, Stage::Refuse)]) {
            let relief = at(400, resident, Stage::Calm);
            assert_eq!(relief.stage, stage, "{resident}");
            assert_eq!(relief.refuse, stage == Stage::Refuse);
            assert_eq!(relief.evict_percent > 0, stage >= Stage::Evict);
            assert_eq!(relief.purge, stage >= Stage::Expire);
        }
        // The stores' own account counts too, where the system's lags behind.
        assert_eq!(at(990, 100, Stage::Calm).stage, Stage::Refuse);
    }

    #[test]
    fn a_stage_is_left_only_some_way_below_where_it_began() {
        assert_eq!(at(400, 965, Stage::Refuse).stage, Stage::Refuse);
        assert_eq!(at(400, 959, Stage::Refuse).stage, Stage::Evict);
        assert_eq!(at(400, 905, Stage::Refuse).stage, Stage::Evict);
        assert_eq!(at(400, 835, Stage::Evict).stage, Stage::Expire);
        assert_eq!(at(400, 829, Stage::Evict).stage, Stage::Calm);
    }

    #[test]
    fn as_much_leaves_as_brings_the_member_back_but_never_much_at_once() {
        assert_eq!(at(900, 930, Stage::Calm).evict_percent, 5);
        assert_eq!(at(100, 930, Stage::Calm).evict_percent, 10);
        assert_eq!(at(0, 930, Stage::Calm).evict_percent, 0);
    }

    #[test]
    fn without_a_limit_nothing_is_done_and_no_number_is_too_large() {
        let none = Memory { used_bytes: u64::MAX, resident_bytes: u64::MAX, limit_bytes: 0 };
        let calm = Relief { expire_factor: 1, ..Relief::default() };
        assert_eq!(relief(none, Stage::Refuse), calm);
        let most = Memory { limit_bytes: u64::MAX, ..none };
        assert_eq!(relief(most, Stage::Calm).stage, Stage::Refuse);
    }

    #[test]
    fn steps_lead_back_to_calm() {
        let (mut used, mut stage, mut steps) = (960u64, Stage::Calm, 0);
        loop {
            let relief = at(used, used + 30, stage);
            stage = relief.stage;
            if relief.evict_percent == 0 {
                break;
            }
            used -= used * u64::from(relief.evict_percent) / 100;
            steps += 1;
            assert!(steps < 5);
        }
        assert_eq!(stage, Stage::Expire);
    }
}
