//! The counters as a short table.

use std::fmt;

use super::{ErrorCounts, Histogram, OriginStats, Outcomes, Stats};

impl fmt::Display for Stats {
    /// Writes a table of nine lines: the sums. The parts of each are fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fresh, revalidated, stale, fetched, refetched, not_found, errors, .. } = self;
        writeln!(
            f,
            "reads      {}: {fresh} fresh, {revalidated} revalidated, {stale} stale, {fetched} \
                fetched, \
             {refetched} refetched, {not_found} not found, {errors} errors",
            self.gets(),
        )?;
        write!(f, "hit ratio  {:.1} %", 100.0 * self.hit_ratio())?;
        match self.hits_from_disk {
            0 => writeln!(f)?,
            hits => writeln!(f, ", {hits} hits from disk ({} bytes)", self.bytes_from_disk)?,
        }
        writeln!(f, "coalesced  {}", self.coalesced)?;
        writeln!(f, "waits      {}", self.wait_times)?;
        writeln!(f, "requests   {}", self.origin)?;
        let (read, fetched) = (self.bytes_served, self.bytes_from_origin);
        let amplification = self.read_amplification();
        writeln!(
            f,
            "bytes      {read} read, {fetched} fetched, read amplification {amplification:.2}"
        )?;
        write!(f, "cached     {} entries, {} bytes", self.entries, self.bytes)?;
        match self.capacity_bytes {
            Some(capacity) => writeln!(f, " of {capacity}")?,
            None => writeln!(f)?,
        }
        let (evictions, expirations) = (self.evictions, self.expirations);
        let invalidations = self.invalidations();
        writeln!(
            f,
            "removed    {evictions} evicted, {expirations} expired, {invalidations} invalidated"
        )?;
        write!(f, "not kept   {}, {} backend errors", self.rejections(), self.backend_errors)
    }
}

impl fmt::Display for OriginStats {
    /// Writes one line: requests by kind, those in flight, and how long reads took.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reads, puts, deletes) = (self.reads(), self.puts.requests(), self.deletes.requests());
        let lists = self.lists.requests();
        let Self { not_modified, in_flight, read_times, .. } = self;
        write!(
            f,
            "{}: {reads} reads ({not_modified} not modified; {read_times}), {puts} puts, \
                {deletes} deletes, {lists} lists; \
             {in_flight} in flight",
            self.requests(),
        )
    }
}

impl fmt::Display for Outcomes {
    /// Writes the number of requests, and how many of them did not succeed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.requests())?;
        match self.requests() - self.succeeded {
            0 => Ok(()),
            others => write!(f, " ({others} not successful)"),
        }
    }
}

impl fmt::Display for Histogram {
    /// Writes the number of spans, and their mean in milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() {
            0 => f.write_str("0"),
            count => write!(f, "{count}, mean {:.1} ms", 1e3 * self.sum_seconds() / count as f64),
        }
    }
}

impl fmt::Debug for Histogram {
    /// Shows the number of spans and their sum, and the buckets that are not empty, by index.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.buckets().iter().map(|bucket| bucket.count).enumerate();
        let counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
        write!(f, "Histogram {{ {self}, buckets: {counts:?} }}")
    }
}

impl fmt::Debug for ErrorCounts {
    /// Shows the kinds that there were errors of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some: Vec<_> = self.iter().filter(|(_, count)| *count > 0).collect();
        write!(f, "{some:?}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::AtomicHistogram;

    #[test]
    fn a_table_is_short_and_has_the_sums() {
        let times = AtomicHistogram::default();
        times.add(Duration::from_millis(3), &Stats::ORIGIN_BOUNDS);
        let mut stats = Stats { fresh: 9, fetched: 1, entries: 1, bytes: 100, ..Stats::default() };
        (stats.bytes_served, stats.bytes_from_origin) = (1000, 100);
        (stats.origin.modified, stats.origin.read_times) = (1, times.snapshot());
        let shown = stats.to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 9, "{shown}");
        assert!(lines.iter().all(|line| line.len() < 120), "{shown}");
        for words in ["reads      10: 9 fresh", "90.0 %", "1, mean 3.0 ms", "amplification 0.10"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(shown.contains("1 entries, 100 bytes\n"), "no limit: {shown}");
        assert!(shown.contains("90.0 %\n"), "no disk: {shown}");
        let disk = Stats { hits_from_disk: 4, bytes_from_disk: 70, ..stats }.to_string();
        assert!(disk.contains("90.0 %, 4 hits from disk (70 bytes)\n"), "{disk}");
        let limited = Stats { capacity_bytes: Some(200), ..stats }.to_string();
        assert!(limited.contains("100 bytes of 200"), "{limited}");
        assert!(format!("{stats:#?}").lines().count() < 90, "{stats:#?}");
    }

    #[test]
    fn read_amplification_is_zero_before_the_first_byte() {
        let of = |bytes_from_origin, bytes_served| {
            Stats { bytes_from_origin, bytes_served, ..Stats::default() }.read_amplification()
        };
        assert_eq!([of(0, 0), of(10, 0), of(0, 10), of(30, 10)], [0.0, 0.0, 0.0, 3.0]);
    }
}
