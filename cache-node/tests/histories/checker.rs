//! Whether what clients were told could have come from one copy of each key (linearizability), which is
//! so if it is so for each key alone. The search is Wing's, Gong's and Lowe's, from a library.

use super::op::{Action, Answer, BUDGET, Event, Register, STEP};
use std::collections::{BTreeMap, BTreeSet};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action as Edge, History};

/// How many steps one search may take: seconds at most. One that finds its way takes ten for an event.
const MOST_STEPS: u64 = 400_000;

/// What is known about one key's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order of it that explains every answer.
    Linearizable,
    /// There is none.
    Not,
    /// It took too long to find out.
    Undecided,
}

/// The events of each key, in the order in which they were called.
pub fn by_key(events: Vec<Event>) -> BTreeMap<String, Vec<Event>> {
    let mut keys: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in events {
        keys.entry(event.key.clone()).or_default().push(event);
    }
    keys.values_mut().for_each(|events| events.sort_by_key(|event| event.called_ns));
    keys
}

/// Judges one key's history.
pub fn check(events: &[Event]) -> Verdict {
    // Writes of an unknown end whose value nobody saw were most likely not done, or done late: without
    // them there is far less to search. If it fits without them it fits.
    let seen: BTreeSet<i64> = events.iter().filter_map(seen).collect();
    let unseen = |event: &Event| {
        event.answer == Answer::Unknown && value(event.action).is_some_and(|v| !seen.contains(&v))
    };
    let likely: Vec<&Event> = events.iter().filter(|event| !unseen(event)).collect();
    match search(&likely) {
        Verdict::Linearizable => Verdict::Linearizable,
        _ => search(&events.iter().collect::<Vec<_>>()),
    }
}

/// The shortest beginning of a history that is not linearizable, up to the answer that is wrong.
pub fn shortest(events: &[Event]) -> Vec<Event> {
    let mut ends: Vec<u64> = events.iter().map(|event| event.answered_ns).collect();
    ends.sort_unstable();
    let until = |end: u64| -> Vec<Event> {
        let mut part: Vec<Event> =
            events.iter().filter(|event| event.called_ns <= end).cloned().collect();
        for event in part.iter_mut().filter(|event| event.answered_ns > end) {
            // Not answered yet; one that is refused later did nothing.
            if event.answer != Answer::Refused {
                event.answer = Answer::Unknown;
            }
        }
        part
    };
    let (mut low, mut high) = (0, ends.len() - 1);
    while low < high {
        let middle = usize::midpoint(low, high);
        match check(&until(ends[middle])) {
            Verdict::Linearizable => low = middle + 1,
            _ => high = middle,
        }
    }
    until(ends[low])
}

/// The unique value that a write brings, as a number of it.
fn value(action: Action) -> Option<i64> {
    match action {
        Action::Set(value) | Action::SetNx(value) | Action::GetSet(value) => Some(value / STEP),
        Action::Get | Action::Incr | Action::Del => None,
    }
}

/// The unique value whose traces an answer shows.
fn seen(event: &Event) -> Option<i64> {
    match event.answer {
        Answer::Value(Some(value)) => Some(value / STEP),
        Answer::Count(value) if event.action == Action::Incr => Some(value / STEP),
        _ => None,
    }
}

fn search(events: &[&Event]) -> Verdict {
    let mut edges = Vec::new();
    for (i, event) in events.iter().enumerate() {
        let unknown = event.answer == Answer::Unknown;
        if event.answer == Answer::Refused || unknown && event.action == Action::Get {
            continue;
        }
        let operation = (event.action, event.answer);
        let end = if unknown { u64::MAX } else { event.answered_ns };
        // Of what happens at one moment, calls are first: so nothing is taken for ordered that is not.
        edges.push((event.called_ns, false, i, Edge::Call(operation)));
        edges.push((end, true, i, Edge::Response(operation)));
    }
    if edges.is_empty() {
        return Verdict::Linearizable;
    }
    edges.sort_by_key(|(at, is_answer, i, _)| (*at, *is_answer, *i));
    let edges = edges.into_iter().map(|(_, _, i, edge)| (i, edge)).collect();
    BUDGET.set(MOST_STEPS);
    let fits = WGLChecker::<Register>::is_linearizable(History::from_actions(edges));
    match (fits, BUDGET.get()) {
        (true, _) => Verdict::Linearizable,
        (false, 0) => Verdict::Undecided,
        (false, _) => Verdict::Not,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(client: usize, (from, to): (u64, u64), action: Action, answer: Answer) -> Event {
        let (key, note) = ("k".into(), String::new());
        Event { client, key, action, answer, called_ns: from, answered_ns: to, note }
    }

    const A: i64 = STEP;
    const B: i64 = 2 * STEP;

    #[test]
    fn concurrent_writes_may_be_in_either_order_but_in_one() {
        let mut history = vec![
            event(0, (0, 10), Action::Set(A), Answer::Ok),
            event(1, (0, 10), Action::Set(B), Answer::Ok),
            event(2, (11, 12), Action::Get, Answer::Value(Some(A))),
            event(3, (13, 14), Action::Get, Answer::Value(Some(A))),
        ];
        assert_eq!(check(&history), Verdict::Linearizable);
        history[3].answer = Answer::Value(Some(B));
        assert_eq!(check(&history), Verdict::Not);
    }

    #[test]
    fn a_stale_read_is_refused() {
        let history = [
            event(0, (0, 1), Action::Set(A), Answer::Ok),
            event(0, (2, 3), Action::Set(B), Answer::Ok),
            event(1, (4, 5), Action::Get, Answer::Value(Some(A))),
        ];
        assert_eq!(check(&history), Verdict::Not);
    }

    #[test]
    fn a_lost_write_is_refused_and_the_read_that_misses_it_is_named() {
        let history = [
            event(0, (0, 1), Action::Set(A), Answer::Ok),
            event(1, (2, 3), Action::Get, Answer::Value(Some(A))),
            event(1, (4, 5), Action::Get, Answer::Value(None)),
            event(1, (6, 7), Action::Set(B), Answer::Ok),
        ];
        assert_eq!(check(&history), Verdict::Not);
        assert_eq!(shortest(&history).last().unwrap().called_ns, 4);
    }

    #[test]
    fn a_doubled_incr_is_refused() {
        let mut history = vec![
            event(0, (0, 1), Action::Set(A), Answer::Ok),
            event(1, (2, 3), Action::Incr, Answer::Count(A + 1)),
            event(2, (4, 5), Action::Incr, Answer::Count(A + 3)),
        ];
        assert_eq!(check(&history), Verdict::Not);
        // One whose end is unknown explains it, but only once.
        history.insert(1, event(3, (1, 9), Action::Incr, Answer::Unknown));
        assert_eq!(check(&history), Verdict::Linearizable);
        history.push(event(2, (10, 11), Action::Get, Answer::Value(Some(A + 4))));
        assert_eq!(check(&history), Verdict::Not);
    }

    #[test]
    fn a_deleted_key_that_comes_back_is_refused() {
        let history = [
            event(0, (0, 1), Action::Set(A), Answer::Ok),
            event(0, (2, 3), Action::Del, Answer::Count(1)),
            event(1, (4, 5), Action::Get, Answer::Value(Some(A))),
        ];
        assert_eq!(check(&history), Verdict::Not);
    }

    #[test]
    fn two_that_set_an_absent_key_are_refused() {
        let history = [
            event(0, (0, 9), Action::SetNx(A), Answer::Ok),
            event(1, (0, 9), Action::SetNx(B), Answer::Ok),
        ];
        assert_eq!(check(&history), Verdict::Not);
    }

    #[test]
    fn a_write_of_an_unknown_end_may_be_done_at_any_time_later_or_never() {
        let mut history = vec![
            event(0, (0, 1), Action::Set(A), Answer::Ok),
            event(1, (0, 5), Action::Set(B), Answer::Unknown),
            event(2, (6, 7), Action::Get, Answer::Value(Some(A))),
            event(2, (8, 9), Action::Get, Answer::Value(Some(A))),
        ];
        assert_eq!(check(&history), Verdict::Linearizable);
        history[3].answer = Answer::Value(Some(B));
        assert_eq!(check(&history), Verdict::Linearizable);
        history.push(event(2, (10, 11), Action::Get, Answer::Value(Some(A))));
        assert_eq!(check(&history), Verdict::Not);
    }

    #[test]
    fn an_unseen_write_of_an_unknown_end_can_be_what_another_answer_needs() {
        let history = [
            event(0, (0, 1), Action::Set(B), Answer::Unknown),
            event(1, (2, 3), Action::Del, Answer::Count(1)),
            event(1, (4, 5), Action::Get, Answer::Value(None)),
        ];
        assert_eq!(check(&history), Verdict::Linearizable);
    }

    #[test]
    fn a_refused_write_that_was_done_is_refused() {
        let history = [
            event(0, (0, 1), Action::Set(A), Answer::Refused),
            event(1, (2, 3), Action::Get, Answer::Value(Some(A))),
        ];
        assert_eq!(check(&history), Verdict::Not);
    }
}
