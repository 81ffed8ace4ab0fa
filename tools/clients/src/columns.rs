//! A table of data, drawn from a seed.

/// Some rows of a table of payments, by column. Most of the bytes are in `note`, which does not compress.
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
        let mut random = Random(seed.wrapping_mul(GOLDEN_GAMMA) ^ (first as u64));
        let ids = first..first + rows;
        Self {
            id: ids.clone().map(|id| i64::try_from(id).unwrap_or(i64::MAX)).collect(),
            user: ids.clone().map(|_| random.below(10_000).into()).collect(),
            cents: ids.clone().map(|_| random.below(1_000_000).into()).collect(),
            city: ids.clone().map(|_| CITIES[random.below(8) as usize]).collect(),
            note: ids.map(|_| format!("{:016x}{:016x}", random.draw(), random.draw())).collect(),
        }
    }
}

/// Where payments are made.
pub const CITIES: [&str; 8] = ["Accra", "Bergen", "Cusco", "Dakar", "Esbjerg", "Faro", "Galway", "Hanoi"];

/// SplitMix64 [Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014].
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u32) -> u32 {
        (self.draw() >> 32) as u32 % n
    }
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

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
