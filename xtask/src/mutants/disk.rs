//! The faults of the disk tier: `cache-disk`'s `tests/sim` must find each, by its schedules or by a
//! test of its own, or else `tests/crash`.

use super::{Edit, Mutant};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "an entry that changed while it was written is shown",
        edits: &[Edit::line(
            "disk_publish_sequence",
            "            let is_current = shard.get(hash).is_some();",
        )],
    },
    Mutant {
        name: "what changed while it was read is promoted",
        edits: &[Edit::replace(
            "disk_promote_sequence",
            ".filter(|slot| slot.sequence == seen.sequence)",
            "",
        )],
    },
    Mutant {
        name: "what changed while its segment was recycled is written again",
        edits: &[Edit::replace(
            "disk_rewrite_sequence",
            "slot.sequence == sequence && slot.place() == Some(place)",
            "slot.sequence != 0",
        )],
    },
    Mutant {
        name: "at the start an older record wins",
        edits: &[Edit::replace(
            "disk_newest_wins",
            "shard.get(item.hash).is_some_and(|slot| slot.sequence >= item.sequence)",
            "false",
        )],
    },
    Mutant {
        name: "a clear while a segment is read at the start is forgotten",
        edits: &[Edit::replace(
            "disk_clear_while_starting",
            "!engine.segments.is_listed(segment.id)",
            "false",
        )],
    },
    Mutant {
        name: "a remove during the start is forgotten",
        edits: &[Edit::replace(
            "disk_tombstone",
            "self.health.phase() == Phase::Starting",
            "false",
        )],
    },
    Mutant {
        name: "an insert during the start is forgotten with its entry",
        edits: &[Edit::delete("disk_store_while_starting")],
    },
    Mutant {
        name: "two starts have one number",
        edits: &[Edit::replace("disk_start_number", "last.start + 1", "last.start")],
    },
    Mutant {
        name: "a mark is not put on the seal",
        edits: &[Edit::replace("disk_mark_seal", "slot.seal.mark_stale();", "let _ = slot;")],
    },
    Mutant {
        name: "a seal survives its entry",
        edits: &[Edit::replace(
            "disk_new_seal",
            "*old = slot;",
            "*old = Slot { seal: old.seal, ..slot };",
        )],
    },
    Mutant {
        name: "the header of a record is believed",
        edits: &[Edit::replace(
            "disk_header_checksum",
            "half(bytes, 4) != header_sum(bytes, name, offset)",
            "false",
        )],
    },
    Mutant {
        name: "the body of a record is believed",
        edits: &[Edit::replace("disk_body_checksum", "xxh3_64(body) != header.body_sum", "false")],
    },
    Mutant {
        name: "a record is shown under another key",
        edits: &[Edit::replace(
            "disk_key_compared",
            "record.key().map_err(ReadError::Fault)? != key",
            "false",
        )],
    },
    Mutant {
        name: "a footer is believed whatever the record says",
        edits: &[Edit::replace(
            "disk_key_compared",
            "record.header.sequence != slot.sequence",
            "false",
        )],
    },
    Mutant {
        name: "segments of another namespace are read",
        edits: &[Edit::replace("disk_other_namespace", "header != ours", "false")],
    },
    Mutant {
        name: "memory has an entry before the index",
        edits: &[Edit::replace(
            "disk_index_first",
            "self.engine.store(&entry, self.memory_tells, true);
        let admission = self.memory.insert_now(entry.clone());",
            "let admission = self.memory.insert_now(entry.clone());
        self.engine.store(&entry, self.memory_tells, true);",
        )],
    },
    Mutant {
        name: "readers wait for a disk that hangs",
        edits: &[Edit::replace(
            "disk_read_limit",
            "within(read_limit(place.len), done).await",
            "Some(done.await)",
        )],
    },
    Mutant {
        name: "a clear leaves the queue",
        edits: &[Edit::replace(
            "disk_clear_waiting",
            "shard.clear();",
            "for hash in shard.hashes() { shard.unplace(hash); }",
        )],
    },
    Mutant {
        name: "a removed entry stays in the queue",
        edits: &[Edit::replace(
            "disk_remove_waiting",
            "self.stop_waiting(hash).is_some()",
            "false",
        )],
    },
    Mutant {
        name: "a stamp is trusted after a restart",
        edits: &[Edit::replace(
            "disk_clear_while_starting",
            "Seal::none()",
            "{
        let key = cache_core::Key::parse(\"a\").unwrap();
        let entry = cache_core::Entry::builder(&key, bytes::Bytes::new());
        entry.validated(engine.health.now(), None).build().seal()
    }",
        )],
    },
];
