//! The faults of the bus, and of what reads and writes make of it.

use super::{Edit, Mutant};

pub(super) const MUTANTS: &[Mutant] = &[
    // Since when a cache listens.
    Mutant {
        name: "the cache listens from the connection on, without a heartbeat",
        edits: &[Edit::replace(
            "forgets_numbers",
            "self.peers.clear();\n",
            "self.peers.clear();\n\
                (self.since, self.until) = (Some(now), now.saturating_add(PROOF));\n\
                listening.set(now, self.until);\n",
        )],
    },
    Mutant {
        name: "gaps of the numbers of a sender are ignored",
        edits: &[Edit::replace("sequence_gap", "noticed.gap &&", "false &&")],
    },
    Mutant {
        name: "all caches have one node number",
        edits: &[Edit::replace("node_is_drawn", "(random(), ", "(namespace.bits(), ")],
    },
    Mutant {
        name: "the first heartbeat of a sender is believed",
        edits: &[Edit::replace("first_heartbeat", "last_seq == 0", "true")],
    },
    Mutant {
        name: "the first message of a sender is believed",
        edits: &[Edit::replace("first_message", "message.seq == 1", "true")],
    },
    Mutant {
        name: "own heartbeats count from their arrival",
        edits: &[Edit::replace("beat_by_sending", "sent_at.saturating_add", "now.saturating_add")],
    },
    Mutant {
        name: "a heartbeat that was sent before a loss is a proof",
        edits: &[Edit::replace("beat_after_loss", " || beat < self.first_beat", "")],
    },
    Mutant {
        name: "the cache listens since its heartbeat was sent",
        edits: &[Edit::replace(
            "listens_from_proof",
            "get_or_insert(now)",
            "get_or_insert(sent_at)",
        )],
    },
    Mutant {
        name: "a heartbeat counts as sent a second later",
        edits: &[Edit::replace(
            "beat_sent_at",
            ".beat(now)",
            ".beat(now.saturating_add(BEAT_EVERY))",
        )],
    },
    Mutant {
        name: "a gap that the bus reports is ignored",
        edits: &[Edit::replace("forgets_numbers", "                self.lose(listening);\n", "")],
    },
    Mutant {
        name: "a new connection keeps the numbers of the one before",
        edits: &[Edit::delete("forgets_numbers")],
    },
    Mutant {
        name: "a heartbeat that shows one missed message is no gap",
        edits: &[Edit::replace("first_message", "u64::from(!is_heartbeat)", "1")],
    },
    Mutant { name: "a stream that ends is no gap", edits: &[Edit::delete("ended_stream")] },
    // What readers test.
    Mutant {
        name: "the end of the proof is left to the listener",
        edits: &[Edit::replace("reader_tests_proof", "now.as_nanos() < until", "until > 0")],
    },
    Mutant {
        name: "an entry that was validated at the moment of `since` is covered",
        edits: &[Edit::replace("strictly_before", "since < validated_at", "since <= validated_at")],
    },
    Mutant {
        name: "an entry that was validated before `since` is covered",
        edits: &[Edit::replace(
            "proof_before_since",
            "self.since.load(Ordering::Relaxed)",
            "self.since.load(Ordering::Relaxed) * 0",
        )],
    },
    Mutant {
        name: "the fast path does not test whether the cache listens",
        edits: &[Edit::replace("fast_path_listens", "self.is_notified &&", "false &&")],
    },
    Mutant {
        name: "the slow path does not test whether the cache listens",
        edits: &[Edit::replace("slow_path_listens", "!self.is_notified || has_listened", "true")],
    },
    Mutant {
        name: "a flight is joined while the cache is disconnected",
        edits: &[Edit::replace(
            "joins_while_disconnected",
            "shared.resolved(freshness, Some(sent_at), now).accepts",
            "freshness.accepts",
        )],
    },
    // Messages.
    Mutant {
        name: "a put is announced before the origin has acknowledged it",
        edits: &[
            Edit::replace(
                "put_drops",
                "let sent_at = shared.clock.now();",
                "let sent_at = shared.clock.now();\n        drop(shared.written(&key, None));",
            ),
            Edit::replace("announces_after_ack", "Some(version.e_tag.as_deref())", "None"),
        ],
    },
    Mutant {
        name: "a put is not announced",
        edits: &[Edit::replace("announces_after_ack", "Some(version.e_tag.as_deref())", "None")],
    },
    Mutant {
        name: "a delete is not announced",
        edits: &[Edit::replace("delete_drops", "Some(None)", "None")],
    },
    Mutant {
        name: "a write of unknown outcome is not announced",
        edits: &[Edit::replace("announces_unknown", "Some(None)", "None")],
    },
    Mutant {
        name: "a dropped write is not announced",
        edits: &[Edit::replace("dropped_is_announced", "self.is_announced", "false")],
    },
    Mutant {
        name: "a task that was replaced is heard",
        edits: &[Edit::replace("current_task", "self.task == task", "self.task >= task")],
    },
    Mutant {
        name: "announcements that there is no room for are dropped",
        edits: &[Edit::replace(
            "overflow_announces_all",
            "(Some(Change::All), waiting)",
            "(None, waiting)",
        )],
    },
    Mutant {
        name: "a message does not fence the flight of its key",
        edits: &[Edit::replace(
            "fences_before_look",
            "tracked.as_ref().is_some_and",
            "tracked.as_ref().filter(|_| !is_hint).is_some_and",
        )],
    },
    Mutant {
        name: "a list does not fence the flights of what it shows",
        edits: &[Edit::replace(
            "fences_before_look",
            "tracked.as_ref().is_some_and",
            "tracked.as_ref().filter(|_| request.is_none()).is_some_and",
        )],
    },
    Mutant {
        name: "the tag is compared before the flight is fenced",
        edits: &[
            Edit::replace(
                "fences_before_look",
                "    let tracked",
                "let looked = match is_hint {\n\
                true => shared.peek(key).map(|shown| shared.own(shown)),\n\
                false => shared.find(key).await,\n\
                };\n\
                let tracked",
            ),
            Edit::replace(
                "looks_after_fence",
                "match is_hint {\n            \
                true => shared.peek(key).map(|shown| shared.own(shown)),\n            \
                false => shared.find(key).await,\n        }",
                "looked",
            ),
        ],
    },
    Mutant {
        name: "a message does not mark what is in a lower tier",
        edits: &[Edit::replace(
            "looks_after_fence",
            "None if !is_hint || shared.has_none(key)",
            "None",
        )],
    },
    Mutant {
        name: "a message with a weak tag does not mark entries with that tag",
        edits: &[Edit::replace("hint_is_strong", " if !tag::is_weak(e_tag)", "")],
    },
    Mutant {
        name: "a message about a prefix marks nothing",
        edits: &[Edit::delete("message_marks_all")],
    },
];
