//! Lists of slots.

use cache_core::Slot;

use super::by_slot::reach;

/// `N` doubly linked lists of slots; a slot is in at most one of them. Links are stored by slot
/// number, so nothing is allocated per entry, and every operation is O(1). 8 bytes a slot, and 8 a
/// list.
///
/// The lists are rings: list `n` begins and ends at link `n`, and slot `s` has link `N + s`.
#[derive(Debug)]
pub(crate) struct Lists<const N: usize>(Vec<Link>);

#[derive(Debug, Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

impl<const N: usize> Lists<N> {
    pub(crate) fn new() -> Self {
        Self((0..N).map(Link::alone).collect())
    }

    pub(crate) fn is_empty(&self, list: usize) -> bool {
        self.0[list].next as usize == list
    }

    pub(crate) fn front(&self, list: usize) -> Option<Slot> {
        Self::slot(self.0[list].next)
    }

    pub(crate) fn back(&self, list: usize) -> Option<Slot> {
        Self::slot(self.0[list].prev)
    }

    /// Returns the slot behind `slot`; `None` at the back, or if it is in no list.
    pub(crate) fn next(&self, slot: Slot) -> Option<Slot> {
        Self::slot(self.0.get(N + slot.index())?.next)
    }

    /// Moves `slot` to the back of `list`, from wherever it is.
    pub(crate) fn push_back(&mut self, list: usize, slot: Slot) {
        self.remove(slot);
        self.put(slot, self.0[list].prev as usize, list);
    }

    /// Moves `slot` to the front of `list`, from wherever it is.
    pub(crate) fn push_front(&mut self, list: usize, slot: Slot) {
        self.remove(slot);
        self.put(slot, list, self.0[list].next as usize);
    }

    /// Removes `slot` from its list. Returns whether it was in one.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        let Some(link) = self.0.get_mut(N + slot.index()).filter(|link| link.is_linked()) else {
            return false;
        };
        let Link { prev, next } = std::mem::replace(link, Link::ABSENT);
        self.0[prev as usize].next = next;
        self.0[next as usize].prev = prev;
        true
    }

    #[expect(clippy::cast_possible_truncation, reason = "slot numbers are below 2^32 - N")]
    fn put(&mut self, slot: Slot, prev: usize, next: usize) {
        let at = N + slot.index();
        reach(&mut self.0, at, || Link::ABSENT);
        self.0[at] = Link { prev: prev as u32, next: next as u32 };
        self.0[prev].next = at as u32;
        self.0[next].prev = at as u32;
    }

    #[expect(clippy::cast_possible_truncation, reason = "N is small")]
    fn slot(link: u32) -> Option<Slot> {
        // `ABSENT` would be the number of a slot that no shard can have.
        (link != ABSENT).then(|| link.checked_sub(N as u32).map(Slot::new))?
    }
}

impl<const N: usize> Default for Lists<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl Link {
    const ABSENT: Self = Self { prev: ABSENT, next: ABSENT };

    #[expect(clippy::cast_possible_truncation, reason = "there are few lists")]
    fn alone(list: usize) -> Self {
        Self { prev: list as u32, next: list as u32 }
    }

    fn is_linked(&self) -> bool {
        self.next != ABSENT
    }
}

const ABSENT: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    impl<const N: usize> Lists<N> {
        fn prev(&self, slot: Slot) -> Option<Slot> {
            Self::slot(self.0.get(N + slot.index())?.prev)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        PushBack(usize, u32),
        PushFront(usize, u32),
        Remove(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3usize, 0..12u32).prop_map(|(list, slot)| Step::PushBack(list, slot)),
            (0..3usize, 0..12u32).prop_map(|(list, slot)| Step::PushFront(list, slot)),
            (0..12u32).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn the_lists_are_those_of_a_model_after_any_moves(steps in prop::collection::vec(step(), 0..100)) {
            let mut lists = Lists::<3>::new();
            let mut model: [VecDeque<Slot>; 3] = Default::default();
            for step in steps {
                let (Step::PushBack(_, slot) | Step::PushFront(_, slot) | Step::Remove(slot)) = step;
                let slot = Slot::new(slot);
                let was_in = model.iter().any(|list| list.contains(&slot));
                model.iter_mut().for_each(|list| list.retain(|held| *held != slot));
                match step {
                    Step::PushBack(list, _) => {
                        lists.push_back(list, slot);
                        model[list].push_back(slot);
                    }
                    Step::PushFront(list, _) => {
                        lists.push_front(list, slot);
                        model[list].push_front(slot);
                    }
                    Step::Remove(_) => prop_assert_eq!(lists.remove(slot), was_in),
                }
                for (list, model) in model.iter().enumerate() {
                    let there = std::iter::successors(lists.front(list), |&slot| lists.next(slot));
                    prop_assert!(there.eq(model.iter().copied()));
                    let back = std::iter::successors(lists.back(list), |&slot| lists.prev(slot));
                    prop_assert!(back.eq(model.iter().rev().copied()));
                    prop_assert_eq!(lists.is_empty(list), model.is_empty());
                }
            }
        }
    }
}
