use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    DropBack,
    DropFront,
    Set(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(Vec<u8>, usize, bool),
    Keep(usize, usize),
    Many(usize),
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(97u8..100, 0..3),
        1 => prop::collection::vec(any::<u8>(), 500..3000),
        1 => Just(vec![7; 9000]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => element().prop_map(Step::PushBack),
        4 => element().prop_map(Step::PushFront),
        2 => Just(Step::DropBack),
        2 => Just(Step::DropFront),
        2 => (any::<usize>(), element()).prop_map(|(i, e)| Step::Set(i, e)),
        3 => (any::<usize>(), element()).prop_map(|(i, e)| Step::Insert(i, e)),
        2 => (element(), 1usize..9, any::<bool>()).prop_map(|(e, n, t)| Step::Remove(e, n, t)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Step::Keep(a, b)),
        2 => (1usize..400).prop_map(Step::Many),
    ]
}

fn remove(model: &mut Vec<Vec<u8>>, element: &[u8], count: usize, from_tail: bool) -> usize {
    let mut places: Vec<usize> = (0..model.len()).filter(|&i| model[i] == element).collect();
    if from_tail {
        places.reverse();
    }
    places.truncate(count);
    places.sort_unstable();
    for place in places.iter().rev() {
        model.remove(*place);
    }
    places.len()
}

proptest! {
    #[test]
    fn a_list_does_what_a_vector_does_and_counts_its_memory(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let (mut list, mut model) = (List::default(), Vec::<Vec<u8>>::new());
        for step in steps {
            match step {
                Step::PushBack(e) => { list.push_back(&e); model.push(e); }
                Step::PushFront(e) => { list.push_front(&e); model.insert(0, e); }
                Step::DropBack => { list.drop_back(); model.pop(); }
                Step::DropFront => { list.drop_front(); if !model.is_empty() { model.remove(0); } }
                Step::Set(i, e) => {
                    let i = i % (model.len() + 1);
                    prop_assert_eq!(list.set(i, &e), i < model.len());
                    if i < model.len() { model[i] = e; }
                }
                Step::Insert(i, e) => {
                    let i = i % (model.len() + 1);
                    list.insert(i, &e);
                    model.insert(i, e);
                }
                Step::Remove(e, count, tail) => {
                    let removed = remove(&mut model, &e, count, tail);
                    prop_assert_eq!(list.remove_equal(&e, count, tail), removed);
                }
                Step::Keep(a, b) => {
                    let (a, b) = (a % (model.len() + 1), b % (model.len() + 1));
                    list.keep(a, b);
                    model = if a < b { model[a..b].to_vec() } else { Vec::new() };
                }
                Step::Many(n) => for i in 0..n {
                    let e = i.to_string().into_bytes();
                    list.push_back(&e);
                    model.push(e);
                },
            }
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.front(), model.first().map(Vec::as_slice));
            prop_assert_eq!(list.back(), model.last().map(Vec::as_slice));
            let counted: usize = list.chunks.iter().map(Chunk::heap_bytes).sum();
            prop_assert_eq!(list.chunk_bytes, counted);
        }
        let mut found = Vec::new();
        list.visit(0, |i, e| { assert_eq!(i, found.len()); found.push(e.to_vec()); true });
        prop_assert_eq!(&found, &model);
        for i in 0..=model.len() {
            prop_assert_eq!(list.get(i), model.get(i).map(Vec::as_slice));
            let mut next = None;
            list.visit(i, |at, e| { assert_eq!(at, i); next = Some(e.to_vec()); false });
            prop_assert_eq!(next.as_ref(), model.get(i));
        }
        let mut backwards = Vec::new();
        list.visit_backwards(|i, e| { backwards.push((i, e.to_vec())); true });
        backwards.reverse();
        prop_assert_eq!(backwards, model.into_iter().enumerate().collect::<Vec<_>>());
    }
}
