//! The faults.

use super::{Edit, Mutant};

// A write that takes its fence down again as soon as it runs, and puts up none at its end.

const SILENT: Edit = Edit::replace(
    "write_fields",
    "/// The backend is being changed.\n    backend_dirty",
    "backend_dirty: bool,\n    silent",
);

const SILENT_AT_BEGIN: Edit = Edit::replace(
    "write_new",
    " })",
    ", silent: false })\n    }\n\n    fn silence(&mut self) {\n        let mut state = self.tracked.lock();\n        state.generation -= 1;\n        state.writes -= 1;\n        self.silent = true;",
);

const SILENT_AT_END: Edit = Edit::replace(
    "write_end",
    "state.fence();\n        state.writes -= 1;",
    "if !self.silent {\n            state.fence();\n            state.writes -= 1;\n        }",
);

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a strong reader joins a running flight",
        edits: &[Edit::replace("joins_by_sent_at", "is_some_and", "is_none_or")],
    },
    Mutant {
        name: "the join compares with `<=`, for strong readers too",
        edits: &[
            Edit::replace(
                "joins_by_sent_at",
                "now.is_some_and(|now| freshness.accepts(sent_at, now",
                "freshness.accepts(sent_at, now.unwrap_or_else(|| shared.clock.now()",
            ),
            Edit::replace(
                "accepts_sent_request",
                " now) < self.max_age\n",
                " now) <= self.max_age\n",
            ),
        ],
    },
    Mutant {
        name: "a fenced flight is joined",
        edits: &[Edit::replace("joins_unfenced", "unfenced", "(unfenced || now.is_some())")],
    },
    Mutant {
        name: "a write fences at its begin only",
        edits: &[Edit::replace("write_end", "fence();\n        state.", "")],
    },
    Mutant {
        name: "a write fences at its end only",
        edits: &[Edit::replace("write_begin", "fence();\n        state.", "")],
    },
    Mutant {
        name: "an open write does not hold a flight back",
        edits: &[Edit::delete("open_write_fences")],
    },
    Mutant {
        name: "no fence on put",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit::replace("put_drops", ".drop_held", ".silence();\n        write.drop_held"),
        ],
    },
    Mutant {
        name: "no fence on delete",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit::replace(
                "delete_drops",
                "        write.drop_held(Count::InvalidatedByWrite",
                "        write.silence();\n        write.drop_held(Count::InvalidatedByWrite",
            ),
        ],
    },
    Mutant {
        name: "no fence on invalidate",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit::replace(
                "invalidate_drops",
                "        write.drop_held(Count::InvalidatedByApi",
                "        write.silence();\n        write.drop_held(Count::InvalidatedByApi",
            ),
        ],
    },
    Mutant {
        name: "no fence on expire",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit::replace("expire_marks", ".mark_held", ".silence();\n        write.mark_held"),
        ],
    },
    Mutant {
        name: "no fence on an open write",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit::replace("open_write_drops", ".drop_held", ".silence();\n        write.drop_held"),
        ],
    },
    Mutant {
        name: "no fence on clear",
        edits: &[Edit::replace(
            "clear_fences",
            "    shared.epochs.void_all();\n    let _end = WholeFence(&shared.epochs);\n",
            "",
        )],
    },
    Mutant {
        name: "clear fences at its begin only",
        edits: &[Edit::replace("clear_fences", "    let _end = WholeFence(&shared.epochs);\n", "")],
    },
    Mutant { name: "no fence on invalidate_prefix", edits: &[Edit::delete("prefix_fence")] },
    Mutant {
        name: "a floor covers no key below its prefix",
        edits: &[Edit::replace("prefix_floor", "key.starts_with(&**prefix)", "**prefix == *key")],
    },
    Mutant {
        name: "a void entry is served",
        edits: &[Edit::replace(
            "fast_path_not_void",
            "self.epochs.standing(&entry) != Standing::Valid || ",
            "",
        )],
    },
    Mutant { name: "no floor on mark_stale_prefix", edits: &[Edit::delete("soft_prefix_floor")] },
    Mutant {
        name: "a look lifts an entry above a soft floor",
        edits: &[Edit::replace(
            "soft_floor_stays",
            "Standing::Stale => return Standing::Stale",
            "Standing::Stale => {}",
        )],
    },
    Mutant {
        name: "an entry under a soft floor is served at the second look",
        edits: &[Edit::replace(
            "stale_is_not_servable",
            "standing(&entry) != Standing::Valid",
            "is_void(&entry)",
        )],
    },
    Mutant {
        name: "a reader joins a request sent before a soft floor",
        edits: &[Edit::replace("joins_above_floors", "predates_a_floor", "voids")],
    },
    Mutant {
        name: "a caller that goes away puts up no fence",
        edits: &[Edit::delete("dropped_write")],
    },
    Mutant {
        name: "a caller that goes away before its remove is done leaves the entry",
        edits: &[Edit::replace("dropped_write", "!self.cleared.load(Ordering::Acquire)", "false")],
    },
    Mutant {
        name: "waiters are woken before the answer is published",
        edits: &[Edit::replace(
            "publishes_then_wakes",
            "        let landed = match",
            "        if let Ok(Validation::Modified(entry)) = &answer {\n            if let Some(running) = self.tracked.lock().flight(self.seq) {\n                running.tell(&FlightOutcome::Entry(entry.clone(), Status::Fetched, None, question.sent_at));\n            }\n        }\n        let landed = match",
        )],
    },
    Mutant {
        name: "a fenced flight that brings news leaves an older entry held",
        edits: &[Edit::line(
            "drops_replaced",
            "if !fenced {\n            forget(shared, key, Count::InvalidatedModified).await;\n        }",
        )],
    },
    Mutant {
        name: "a fenced flight publishes",
        edits: &[Edit::replace("stores_unfenced", "fenced || ", "")],
    },
    Mutant {
        name: "another flight is started beside a fenced one",
        edits: &[
            Edit::replace(
                "one_flight_per_key",
                "    let running",
                "    if state.current.as_ref().is_some_and(|it| it.generation != state.generation) {\n        let displaced = state.current.take();\n        state.displaced.extend(displaced);\n        spawn_parked(parked);\n        return None;\n    }\n    let running",
            ),
            Edit::replace(
                "next_after_current",
                "match state.next.take()",
                "let waiting = if state.current.is_none() { state.next.take() } else { None };\n    match waiting",
            ),
            Edit::replace(
                "key_state_fields",
                ">,\n",
                ">,\n    pub(super) displaced: Vec<Running>,\n",
            ),
            Edit::replace(
                "takes_current",
                "self.current.take()",
                "match self.displaced.iter().position(|running| running.seq == seq) {\n            Some(at) => Some(self.displaced.remove(at)),\n            None => self.current.take(),\n        }",
            ),
            Edit::replace(
                "flight_by_seq",
                "as_mut().filter",
                "iter_mut().chain(&mut self.displaced).find",
            ),
        ],
    },
    Mutant {
        name: "an answer without a tag leaves the old entry",
        edits: &[Edit::line(
            "drops_replaced",
            "if fenced {\n            forget(shared, key, Count::InvalidatedModified).await;\n        }",
        )],
    },
    Mutant { name: "a failed remove is ignored", edits: &[Edit::delete("failed_remove_voids")] },
    Mutant {
        name: "an insert that lands after a clear passes for newer",
        edits: &[Edit::replace(
            "insert_keeps_epoch",
            ";\n        if",
            ";\n        entry.outlive(shared.epochs.latest());\n        if",
        )],
    },
    Mutant {
        name: "two answers race to be kept: a flight takes no turn",
        edits: &[Edit::replace(
            "publishes_then_wakes",
            "self.tracked.lock_backend(shared.settings.backend_lock_limit()).await",
            "Some(())",
        )],
    },
    Mutant {
        name: "a put's entry is kept although a flight was in the air",
        edits: &[
            Edit::replace("put_is_alone", "current.is_none() && state.", ""),
            Edit::replace(
                "stamp_fields",
                "self.seq,\n            n_finished: self.n_finished",
                "0,\n            n_finished: 0",
            ),
        ],
    },
    Mutant {
        name: "a put's entry is kept although another write overlapped",
        edits: &[
            Edit::replace("put_is_alone", " && state.writes == 1", ""),
            Edit::delete("put_was_alone"),
        ],
    },
    Mutant {
        name: "an answer is validated when it came, not when it was asked for",
        edits: &[Edit::replace(
            "validated_at_sending",
            "let question",
            "let (sent_at, _) = self.shared.clock.window();\n        let question",
        )],
    },
    Mutant {
        name: "a put's entry is validated when the answer came",
        edits: &[Edit::replace(
            "put_validated_at_sending",
            "write.publish(entry, sent_at",
            "let _ = sent_at;\n                write.publish(entry, shared.clock.now()",
        )],
    },
    Mutant {
        name: "a \"not modified\" renews although a fence went up",
        edits: &[Edit::replace("renews_unfenced", "false", "_")],
    },
    Mutant {
        name: "a \"not modified\" to a question without a tag passes for \"gone\"",
        edits: &[Edit::replace(
            "unasked_not_modified",
            "is_none() => ",
            "is_none() && question.void => ",
        )],
    },
    Mutant {
        name: "a 403 is treated as an outage",
        edits: &[
            Edit::replace(
                "outage_kinds",
                "Unavailable",
                "Unavailable | ErrorKind::PermissionDenied",
            ),
            Edit::replace(
                "answer_kinds",
                "PermissionDenied | Unauthenticated | TooLarge)",
                "Unauthenticated | TooLarge) && self.kind() != PermissionDenied",
            ),
        ],
    },
    Mutant {
        name: "stale_if_error has no end",
        edits: &[Edit::replace(
            "stale_if_error_end",
            "self.max_age.saturating_add(self.stale_if_error)",
            "FOREVER",
        )],
    },
    Mutant {
        name: "stale_while_revalidate has no end",
        edits: &[Edit::replace(
            "stale_while_revalidate_end",
            "self.max_age.saturating_add(self.stale_while_revalidate)",
            "FOREVER && freshness.stale_while_revalidate != 0",
        )],
    },
    Mutant {
        name: "the time to live is not looked at",
        edits: &[Edit::replace("must_revalidate_mark", ".min(self.time_to_live.nanos())", "")],
    },
    Mutant {
        name: "the mark of expire is not looked at",
        edits: &[Edit::replace(
            "must_revalidate_mark",
            "let is_validated = self.validated & MUST_REVALIDATE == 0;\n        is_validated && self.age(now",
            "self.validated_at().is_some() && now.as_nanos().saturating_sub(self.validated & !MARK",
        )],
    },
    Mutant {
        name: "what a medium brings back passes for validated",
        edits: &[Edit::replace("no_stamp_by_default", "NEVER", "0")],
    },
    Mutant {
        name: "a copy of another store is served",
        edits: &[Edit::replace(
            "own_namespace",
            " == Some(self.settings.identity)",
            ".is_some() || true",
        )],
    },
    Mutant {
        name: "a reader that is not polled keeps its place",
        edits: &[Edit::replace(
            "parks_when_permits_wanted",
            " && !self.shared.limiter.has_waiters()",
            "",
        )],
    },
    Mutant {
        name: "a place is never given back",
        edits: &[Edit::replace(
            "permit_released",
            "fetch_sub(1, Ordering::AcqRel",
            "load(Ordering::Acquire",
        )],
    },
    Mutant {
        name: "a place is given back after those who wait are woken",
        edits: &[
            Edit::replace("frees_before_next", "permit.free()", "let _ = permit"),
            Edit::replace(
                "frees_before_waking",
                "drop(permit);\n    running.tell(&landed",
                "running.tell(&landed);\n    drop(permit",
            ),
        ],
    },
    Mutant {
        name: "a place is given back after the next flight of the key may have begun",
        edits: &[Edit::replace("frees_before_next", "permit.free()", "let _ = permit")],
    },
    Mutant {
        name: "one that waits for a place keeps all that are free",
        edits: &[Edit::replace("waiters_count", "% WAITING + word / WAITING ", "")],
    },
    Mutant {
        name: "a place that nobody takes is left to a flight that is not polled",
        edits: &[Edit::replace("unclaimed_permit", "limiter.take_waiting()", "false")],
    },
    Mutant {
        name: "a flight on a runtime that is not driven is waited for",
        edits: &[Edit::replace(
            "replaces_stuck_flight",
            "replace(shared, &tracked, state, seq, &runtime",
            "let _ = (replace::<V>, seq);\n    drop(state",
        )],
    },
    Mutant {
        name: "a timer stays in the runtime that it was made in",
        edits: &[Edit::replace("timer_runtime", "home, made)) if *home == here", "_, made))")],
    },
    Mutant {
        name: "a flight that was vacated publishes",
        edits: &[
            Edit::replace(
                "replaced_before_sending",
                "tracked.lock().flight(seq).is_none()",
                "false",
            ),
            Edit::delete("replaced_before_publishing"),
            Edit::replace(
                "replaced_at_lock",
                "shown)?;",
                "shown).unwrap_or((false, shared.epochs.latest()));",
            ),
            Edit::delete("replaced_while_publishing"),
        ],
    },
    Mutant {
        name: "what a call of the backend leaves that was stuck is served",
        edits: &[
            Edit::delete("stuck_turn_voids"),
            Edit::delete("stuck_call_voids"),
            Edit::delete("replaced_while_publishing"),
        ],
    },
    Mutant {
        name: "a reader does not join a flight that publishes",
        edits: &[Edit::replace(
            "joins_publishing",
            "Sent(sent_at) | Phase::Publishing",
            "Publishing(_) => false,\n        Phase::Sent",
        )],
    },
    Mutant {
        name: "a stale copy is served without a turn for its refresh",
        edits: &[Edit::delete("yields_to_refresh")],
    },
    Mutant {
        name: "what an earlier process stored is void by epoch",
        edits: &[Edit::replace("unstamped_is_not_void", "== Epoch::NONE", "> latest")],
    },
    Mutant {
        name: "a mark reaches the handle that a look-up shows, and no other tier",
        edits: &[Edit::replace(
            "marks_every_tier",
            "shared.backend_call(async { shared.backend.mark_stale(key).await }).await.is_err()",
            "shared.find(key).await.map(|it| it.iter().for_each(crate::Entry::mark_stale)).is_err()",
        )],
    },
    Mutant {
        name: "a renewal is not passed on to the backend",
        edits: &[Edit::delete("renews_every_tier")],
    },
    Mutant {
        name: "a merged floor is not the highest of its parts",
        edits: &[Edit::replace("merged_floor", "max", "min")],
    },
    Mutant {
        name: "the sweep stays on a runtime that is not driven",
        edits: &[Edit::replace("sweep_overdue", ">= expected_by", "== u64::MAX")],
    },
    Mutant {
        name: "more negative entries are kept although none was swept",
        edits: &[Edit::replace("swept_negatives", "older == 0 && self.", "")],
    },
    Mutant {
        name: "the copy of an object that is gone is not dropped",
        edits: &[Edit::replace(
            "drops_not_found",
            "= forget(shared, key, Count::InvalidatedNotFound).await;",
            "= Dropped::Nothing;",
        )],
    },
    Mutant {
        name: "a missing object is remembered although a fence went up",
        edits: &[Edit::replace("absence_unfenced", "if fenced ||", "let _ = fenced;\n    if")],
    },
    Mutant { name: "a key's state is left in the table", edits: &[Edit::delete("key_users")] },
    Mutant {
        name: "a coalesced request is counted twice",
        edits: &[Edit::replace(
            "counts_once",
            "        if let Some",
            "        if self.is_awaited() {\n            self.shared.count(Count::OriginNotModified);\n        }\n        if let Some",
        )],
    },
    Mutant {
        name: "a void negative entry counts as a copy",
        edits: &[Edit::replace("void_copy", ": !entry.is_negative()", ": true")],
    },
    Mutant {
        name: "clears that overlap count each copy twice",
        edits: &[Edit::replace(
            "one_clear_counts",
            "if let (Ok(n_copies), Ok(_)) = (&cleared, is_counting",
            "drop(is_counting);\n        if let (Ok(n_copies), true) = (&cleared, true",
        )],
    },
    Mutant {
        name: "a decoder calls itself for ever where nothing is kept",
        edits: &[Edit::replace("same_object", "is_same_object", "is_same_object && false")],
    },
    Mutant {
        name: "a decoder that has ended counts as running",
        edits: &[Edit::delete("decoder_ends")],
    },
    Mutant {
        name: "a prefix without a rule hides the rule of a shorter one",
        edits: &[Edit::replace("longest_rule", ".or(found)", "")],
    },
    // Lists.
    Mutant {
        name: "the first list of a prefix does not mark the entries below it",
        edits: &[Edit::replace(
            "marks_unindexed",
            "shared.epochs.mark_stale_prefix(prefix)",
            "let _ = prefix",
        )],
    },
    Mutant {
        name: "a list that is out of order is believed",
        edits: &[Edit::replace("list_order", "self.is_out_of_order = true;", "")],
    },
    Mutant {
        name: "a page of an unordered list leaves out the keys before its last one",
        edits: &[Edit::replace("page_range", "            && self.scope.is_ordered\n", "")],
    },
    Mutant {
        name: "the end of a list that was out of order marks nothing",
        edits: &[Edit::delete("marks_out_of_order")],
    },
    Mutant {
        name: "a flight of a key that a list leaves out is not fenced",
        edits: &[Edit::replace(
            "fences_left_out",
            "range.contains(key) && ",
            "key.is_empty() && range.contains(key) && ",
        )],
    },
    Mutant {
        name: "a first list renews an entry that another one leaves out",
        edits: &[Edit::delete("notes_left_out")],
    },
    Mutant {
        name: "a list that loses its index of keys marks nothing",
        edits: &[Edit::replace("index_generation", ".0 + 1", ".0")],
    },
    Mutant {
        name: "an entry that a list renews is not noted in the index",
        edits: &[Edit::replace("notes_renewed", "self.note_key(entry.key())", "true")],
    },
    Mutant {
        name: "an entry that its own request renews is not noted in the index",
        edits: &[Edit::delete("notes_confirmed")],
    },
    Mutant {
        name: "a list lifts a mark of the moment of its request",
        edits: &[Edit::replace("younger_mark", "*at >= sent_at", "*at > sent_at")],
    },
    Mutant { name: "a mark by an observation is not noted", edits: &[Edit::delete("notes_marks")] },
    Mutant {
        name: "a mark by `mark_stale` is not noted",
        edits: &[Edit::delete("notes_marked_stale")],
    },
    Mutant {
        name: "a list lifts younger marks",
        edits: &[Edit::replace(
            "lifts_older_marks",
            "marks.has_younger(entry.key(), request.sent_at)",
            "false",
        )],
    },
    Mutant {
        name: "a list renews a void entry",
        edits: &[Edit::replace("list_renews_void", "self.epochs.is_void(entry)", "false")],
    },
    Mutant {
        name: "a page counts as requested when it was polled for, also if it was not",
        edits: &[Edit::replace("page_sent_at", "list.revoke_request();", "")],
    },
    Mutant {
        name: "a read of a prefix is served an entry that was not validated since it began",
        edits: &[Edit::replace("validated_since", "at >= since", "at >= since || true")],
    },
    Mutant {
        name: "a list renews by a weak tag of its own",
        edits: &[Edit::replace(
            "list_renews_strong",
            "names_bytes(version)",
            "version.e_tag.is_some()",
        )],
    },
    Mutant {
        name: "a list renews an entry with a weak tag",
        edits: &[
            Edit::replace("list_renews_strong", "!tag::is_weak(e_tag)", "!e_tag.is_empty()"),
            Edit::replace(
                "list_renews_strong",
                "entry.storability() == Storability::Revalidatable",
                "entry.storability() != Storability::NoStore",
            ),
        ],
    },
    Mutant {
        name: "a page of a list for each of many keys that are far apart",
        edits: &[Edit::replace(
            "skips_sparse",
            "saturating_sub(self.n_skipped)",
            "min(usize::MAX)",
        )],
    },
];
