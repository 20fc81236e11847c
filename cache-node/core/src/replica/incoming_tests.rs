use super::*;

/// A copy of a slot that follows member 1 in epoch 15, and is there.
fn follows() -> SlotFeed {
    let mut feed = SlotFeed::default();
    let mark = Mark { epoch: 15, sequence: 8, coverage: 3, attachment: 1 };
    feed.take_mark(1, 7, &mark, &Arc::default()).unwrap();
    feed.incoming.as_mut().unwrap().joining = None;
    feed.done(8);
    feed
}

/// The same, that has heard of epoch 21 before its primary did.
fn is_ahead() -> SlotFeed {
    let mut feed = follows();
    feed.become_role(0, Role::Replica { of: 1, epoch: 21 }, &[], false, 0, |_| 3);
    feed
}

#[test]
fn behind_a_mark_that_was_refused_nothing_goes_on_from_before_it() {
    let mut feed = is_ahead();
    let before = feed.position;
    assert!(feed.admit(1, 7).is_ok(), "what is on its way comes before the new epoch's mark");
    // Its primary has not heard of that epoch, and gives it the slot anew: 9 to 12 are in the pieces.
    let anew = Mark { epoch: 15, sequence: 12, coverage: 3, attachment: 2 };
    assert_eq!(feed.take_mark(1, 7, &anew, &Arc::default()), Err(Refused::Unattached));
    assert_eq!(feed.admit(1, 7).err(), Some(Refused::Unattached), "13 is not the next one");
    let on = Mark { epoch: 21, sequence: 13, coverage: 3, attachment: 0 };
    assert!(feed.take_mark(1, 7, &on, &Arc::default()).unwrap().lacks);
    assert_eq!(feed.position, before, "it has what it had");
}

#[test]
fn a_mark_that_was_refused_and_says_nothing_new_lacks_nothing() {
    let mut feed = is_ahead();
    let on = Mark { epoch: 18, sequence: 8, coverage: 3, attachment: 0 };
    assert_eq!(feed.take_mark(1, 7, &on, &Arc::default()), Err(Refused::Unattached));
    assert!(feed.admit(1, 7).is_ok());
    // What its primary says in a session before is about another stream.
    let other = Mark { epoch: 18, sequence: 5, coverage: 3, attachment: 0 };
    assert_eq!(feed.take_mark(1, 6, &other, &Arc::default()), Err(Refused::Unattached));
    assert!(feed.admit(1, 7).is_ok());
}

#[test]
fn behind_a_mark_that_was_refused_no_stores_come_that_it_was_to_bring() {
    let mut feed = is_ahead();
    // Nothing was written since, and a store goes to it that did not before.
    let anew = Mark { epoch: 15, sequence: 8, coverage: 5, attachment: 2 };
    assert_eq!(feed.take_mark(1, 7, &anew, &Arc::default()), Err(Refused::Unattached));
    let before = feed.position;
    let on = Mark { epoch: 21, sequence: 8, coverage: 5, attachment: 0 };
    assert!(feed.take_mark(1, 7, &on, &Arc::default()).unwrap().lacks);
    assert_eq!(feed.position, before, "it has not that store");
    let on = Mark { coverage: 3, ..on };
    assert!(!feed.take_mark(1, 7, &on, &Arc::default()).unwrap().lacks);
}

#[test]
fn a_mark_that_was_refused_and_speaks_of_other_stores_ends_what_came_before_it() {
    let mut feed = is_ahead();
    let fewer = Mark { epoch: 18, sequence: 8, coverage: 2, attachment: 0 };
    assert_eq!(feed.take_mark(1, 7, &fewer, &Arc::default()), Err(Refused::Unattached));
    assert_eq!(feed.admit(1, 7).err(), Some(Refused::Unattached), "records of a store are missing");
}
