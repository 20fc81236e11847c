//! What clients do with a key, what they were told, and what that means for one that is kept right.

use std::cell::Cell;
use todc_utils::specifications::Specification;

/// Unique values are this far from each other, so that one that was counted up still tells where it
/// came from.
pub const STEP: i64 = 1_000_000;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `GET`
    Get,
    /// `SET`
    Set(i64),
    /// `SET NX`
    SetNx(i64),
    /// `SET GET`: the value before.
    GetSet(i64),
    /// `INCR`
    Incr,
    /// `DEL`
    Del,
}

/// What it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `+OK`
    Ok,
    /// A value, or none: of `GET` and `SET GET`, and of a `SET NX` that found a value.
    Value(Option<i64>),
    /// A number: of `INCR` and `DEL`.
    Count(i64),
    /// Nothing, or an error that promises nothing: it may have been done, or may still be.
    Unknown,
    /// An error that says that nothing was done.
    Refused,
}

/// One operation on one key.
#[derive(Debug, Clone)]
pub struct Event {
    /// Who did it.
    #[allow(dead_code, reason = "printed")]
    pub client: usize,
    /// On what.
    pub key: String,
    /// What.
    pub action: Action,
    /// What came of it.
    pub answer: Answer,
    /// When it was sent, since the start of the run.
    pub called_ns: u64,
    /// When its answer was there.
    pub answered_ns: u64,
    /// The error's text, and through which member.
    pub note: String,
}

/// A key as a linearizable store would keep it: absent, or a number.
pub struct Register;

thread_local! {
    /// How many more steps the search may take.
    pub static BUDGET: Cell<u64> = const { Cell::new(0) };
}

impl Specification for Register {
    type State = Option<i64>;
    type Operation = (Action, Answer);

    fn init() -> Self::State {
        None
    }

    fn apply(&(action, answer): &Self::Operation, &state: &Self::State) -> (bool, Self::State) {
        // Without budget nothing is possible any more, and the search ends soon.
        let budget = BUDGET.get();
        BUDGET.set(budget.saturating_sub(1));
        let free = budget > 0;
        let (wanted, after) = match action {
            Action::Get => (Answer::Value(state), state),
            Action::Set(new) => (Answer::Ok, Some(new)),
            Action::SetNx(new) if state.is_none() => (Answer::Ok, Some(new)),
            Action::SetNx(_) => (Answer::Value(None), state),
            Action::GetSet(new) => (Answer::Value(state), Some(new)),
            Action::Incr => {
                let new = state.unwrap_or(0) + 1;
                (Answer::Count(new), Some(new))
            }
            Action::Del => (Answer::Count(i64::from(state.is_some())), None),
        };
        (free && (answer == Answer::Unknown || answer == wanted), after)
    }
}
