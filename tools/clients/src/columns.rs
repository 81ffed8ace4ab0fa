//! A table of data, drawn from a seed.

use cache_testkit::Random;

/// Some rows of a table of payments, by column. Most of the bytes are in `note`, which does not
/// compress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The number of the row in the whole table.
    pub id: Vec<i64>,
    /// Below 10,000.
    pub user: Vec<i64>,
    /// Below 1,000,000.
    pub cents: Vec<i64>,
    /// One of [`CITIES`].
    pub city: Vec<&'static str>,
    /// 32 hexadecimal digits.
    pub note: Vec<String>,
}

impl Columns {
    /// Draws the rows `first..first + rows` of the table of that seed.
    pub fn draw(seed: u64, first: usize, rows: usize) -> Self {
        let random = Random::new(seed << 32 | first as u64);
        let ids = first..first + rows;
        Self {
            id: ids.clone().map(|id| i64::try_from(id).unwrap_or(i64::MAX)).collect(),
            user: ids.clone().map(|_| random.index(10_000) as i64).collect(),
            cents: ids.clone().map(|_| random.index(1_000_000) as i64).collect(),
            city: ids.clone().map(|_| CITIES[random.index(CITIES.len())]).collect(),
            note: ids.map(|_| format!("{:016x}{:016x}", random.draw(), random.draw())).collect(),
        }
    }
}

/// Where payments are made.
pub const CITIES: [&str; 8] = ["Accra", "Bergen", "Cusco", "Dakar", "Esbjerg", "Faro", "Galway", "Hanoi"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_table() {
        let table = Columns::draw(1, 100, 50);
        assert_eq!(table, Columns::draw(1, 100, 50));
        assert_ne!(table.cents, Columns::draw(2, 100, 50).cents);
        assert_ne!(table.cents, Columns::draw(1, 200, 50).cents);
        assert_eq!((table.id[0], table.id[49], table.note[0].len()), (100, 149, 32));
    }
}
