//! What an object carries beside its bytes.

/// The attributes that came with an object: a few names with text values, in the order of their
/// names.
///
/// Names are the lower-case HTTP header names (`content-type`, `cache-control`, `content-encoding`,
/// …), and `metadata.<name>` for the user's own metadata. An entry cached from a put has those that
/// were put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Box<[(Box<str>, Box<str>)]>);

impl Attributes {
    /// No attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(held, _)| (**held).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// All names with their values, in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that the attributes occupy.
    pub(crate) fn weight(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>, const LEN: usize> From<[(N, V); LEN]> for Attributes {
    /// Of two equal names the last one stays.
    fn from(items: [(N, V); LEN]) -> Self {
        items.into_iter().collect()
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Attributes {
    /// Of two equal names the last one stays.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(items: I) -> Self {
        let sorted: std::collections::BTreeMap<Box<str>, Box<str>> =
            items.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self(sorted.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_equal_names_stays() {
        let attributes: Attributes = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(attributes.get("b"), Some("3"));
        assert_eq!(attributes.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(attributes.get("c"), None);
    }
}
