//! Numbers by prefix: a radix tree.

/// Finds the longest of many prefixes of a key, in time that depends on the key's length only, and
/// without an allocation.
#[derive(Debug, Clone, Default)]
pub(crate) struct PrefixTree {
    /// The first is the root, whose label is empty. All are kept in one vector, so that nothing
    /// here is recursive, however long a chain of prefixes of prefixes is.
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// What this node's prefix has after that of its parent. Empty for the root only.
    label: Box<[u8]>,
    number: Option<usize>,
    /// The first byte of each child's label, which no other child's has, and the child. At most
    /// 256.
    children: Vec<(u8, usize)>,
}

impl PrefixTree {
    /// The number of the longest prefix of `key` that has one.
    pub(crate) fn longest_prefix(&self, key: &[u8]) -> Option<usize> {
        let mut node = self.nodes.first()?;
        let (mut found, mut rest) = (node.number, key);
        while let Some(child) = rest.first().and_then(|first| node.child(*first)) {
            node = &self.nodes[child];
            let Some(after) = rest.strip_prefix(&*node.label) else { break };
            rest = after;
            // A node without a rule keeps the rule of a shorter prefix.
            // mutant: longest_rule
            found = node.number.or(found);
        }
        found
    }

    /// The place for the number of `prefix`.
    pub(crate) fn entry(&mut self, prefix: &[u8]) -> &mut Option<usize> {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let (mut at, mut rest) = (0, prefix);
        while let Some(first) = rest.first() {
            at = match self.nodes[at].child(*first) {
                Some(child) => {
                    let shared = shared_length(&self.nodes[child].label, rest);
                    self.split(child, shared);
                    rest = &rest[shared..];
                    child
                }
                None => {
                    let leaf = self.push(Node { label: rest.into(), ..Node::default() });
                    self.nodes[at].children.push((*first, leaf));
                    rest = &[];
                    leaf
                }
            };
        }
        &mut self.nodes[at].number
    }

    /// Shortens the label of the node `at` to `length` bytes; what it led to is below a new child
    /// that has the others, if there are any.
    fn split(&mut self, at: usize, length: usize) {
        let Some((&first, _)) = self.nodes[at].label[length..].split_first() else { return };
        let node = &mut self.nodes[at];
        let lower = Node {
            label: node.label[length..].into(),
            number: node.number.take(),
            children: std::mem::take(&mut node.children),
        };
        node.label = node.label[..length].into();
        let lower = self.push(lower);
        self.nodes[at].children.push((first, lower));
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

impl Node {
    fn child(&self, first: u8) -> Option<usize> {
        // One after the other: up to a few dozen, a binary search takes longer.
        self.children.iter().find(|(byte, _)| *byte == first).map(|(_, child)| *child)
    }
}

fn shared_length(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of nodes is bounded by that of the prefixes, and a look-up visits one for each of
    /// their lengths at most: none is looked at because it is there.
    #[test]
    fn a_tree_of_many_prefixes_is_small_and_shallow() {
        let mut tree = PrefixTree::default();
        let prefix = |number: usize| format!("tenant-{number:04}/");
        for number in 0..5000 {
            *tree.entry(prefix(number).as_bytes()) = Some(number);
        }
        assert!(tree.nodes.len() < 10_000, "{}", tree.nodes.len());
        for number in [0, 17, 4999] {
            let key = prefix(number) + "a/b";
            assert_eq!(tree.longest_prefix(key.as_bytes()), Some(number));
        }
        assert_eq!(tree.longest_prefix(b"tenant-5000/a"), None);
        assert_eq!(tree.longest_prefix(b"tenant-00"), None);
    }

    #[test]
    fn a_long_chain_of_prefixes_takes_no_stack() {
        let mut tree = PrefixTree::default();
        let key = vec![b'a'; 2_000];
        for length in 0..=key.len() {
            *tree.entry(&key[..length]) = Some(length);
        }
        assert_eq!(tree.longest_prefix(&key), Some(2_000));
        assert_eq!(tree.longest_prefix(&key[..7]), Some(7));
        assert_eq!(tree.clone().nodes.len(), 2_001);
    }
}
