//! Vectors indexed by slot number.

/// Extends `items` with `vacant` so that the index `at` exists. Reserves an eighth more: doubling
/// would leave up to half of a large `Vec` unused.
#[inline]
pub(crate) fn reach<T>(items: &mut Vec<T>, at: usize, vacant: impl FnMut() -> T) {
    if at >= items.len() {
        extend(items, at, vacant);
    }
}

#[cold]
fn extend<T>(items: &mut Vec<T>, at: usize, vacant: impl FnMut() -> T) {
    if at >= items.capacity() {
        let more = (items.len() / 8).max(MORE_MIN).max(at + 1 - items.len());
        items.reserve_exact(more);
    }
    items.resize_with(at + 1, vacant);
}

const MORE_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_by_an_eighth_and_nothing_that_is_there_changes() {
        let mut items = Vec::new();
        for at in 0..10_000 {
            reach(&mut items, at, || usize::MAX);
            items[at] = at;
            assert!(items.capacity() <= at + at / 8 + 1 + MORE_MIN, "{at}: {}", items.capacity());
            reach(&mut items, at / 2, || usize::MAX);
        }
        reach(&mut items, 20_000, || usize::MAX);
        assert!((0..10_000).eq(items[..10_000].iter().copied()));
        assert!(items[10_000..].iter().all(|&item| item == usize::MAX));
        assert_eq!(items.len(), 20_001);
    }
}
