//! The faults.

use super::{Edit, Mutant};

// A write that takes its fence down again as soon as it runs, and puts up none at its end.

const SILENT: Edit = Edit::replace(
    "a_write_made_silent_by_a_planted_fault_3",
    "/// The backend is being changed.\n    changing",
    "changing: bool,\n    silent",
);

const SILENT_AT_BEGIN: Edit = Edit::replace(
    "a_write_made_silent_by_a_planted_fault_2",
    " })",
    ", silent: false })\n    }\n\n    fn silence(&mut self) {\n        let mut state = self.tracked.lock();\n        state.generation -= 1;\n        state.writes -= 1;\n        self.silent = true;",
);

const SILENT_AT_END: Edit = Edit::replace(
    "a_write_made_silent_by_a_planted_fault",
    "state.fence();\n        state.writes -= 1;",
    "if !self.silent {\n            state.fence();\n            state.writes -= 1;\n        }",
);

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a strong reader joins a running flight",
        edits: &[Edit::replace("a_strong_reader_joins_a_running_flight", "is_some_and", "is_none_or")],
    },
    Mutant {
        name: "the join compares with `<=`, for strong readers too",
        edits: &[
            Edit::replace(
                "a_strong_reader_joins_a_running_flight",
                "now.is_some_and(|now| freshness.accepts(sent_at, now",
                "freshness.accepts(sent_at, now.unwrap_or_else(|| shared.clock.now()",
            ),
            Edit::replace(
                "the_join_compares_with_for_strong_readers_too",
                " now) < self.max_age\n",
                " now) <= self.max_age\n",
            ),
        ],
    },
    Mutant {
        name: "a fenced flight is joined",
        edits: &[Edit::replace("a_fenced_flight_is_joined", "unfenced", "(unfenced || now.is_some())")],
    },
    Mutant {
        name: "a write fences at its begin only",
        edits: &[Edit::replace("a_write_made_silent_by_a_planted_fault", "fence();\n        state.", "")],
    },
    Mutant {
        name: "a write fences at its end only",
        edits: &[Edit::replace("a_write_fences_at_its_end_only", "fence();\n        state.", "")],
    },
    Mutant {
        name: "an open write does not hold a flight back",
        edits: &[Edit::delete("an_open_write_does_not_hold_a_flight_back")],
    },
    Mutant {
        name: "no fence on put",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit::replace("no_fence_on_put", ".drop_held", ".silence();\n        write.drop_held"),
        ],
    },
    Mutant {
        name: "no fence on delete",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit::replace(
                "no_fence_on_delete",
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
                "no_fence_on_invalidate",
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
            Edit::replace("no_fence_on_expire", ".mark_held", ".silence();\n        write.mark_held"),
        ],
    },
    Mutant {
        name: "no fence on an open write",
        edits: &[
            SILENT,
            SILENT_AT_BEGIN,
            SILENT_AT_END,
            Edit::replace("no_fence_on_an_open_write", ".drop_held", ".silence();\n        write.drop_held"),
        ],
    },
    Mutant {
        name: "no fence on clear",
        edits: &[Edit::replace(
            "no_fence_on_clear",
            "    shared.epochs.raise_whole();\n    let _end = WholeFence(&shared.epochs);\n",
            "",
        )],
    },
    Mutant {
        name: "clear fences at its begin only",
        edits: &[Edit::replace("no_fence_on_clear", "    let _end = WholeFence(&shared.epochs);\n", "")],
    },
    Mutant { name: "no fence on invalidate_prefix", edits: &[Edit::delete("no_fence_on_invalidate_prefix")] },
    Mutant {
        name: "a floor covers no key below its prefix",
        edits: &[Edit::replace(
            "a_floor_covers_no_key_below_its_prefix",
            "key.starts_with(&**prefix)",
            "**prefix == *key",
        )],
    },
    Mutant {
        name: "a void entry is served",
        edits: &[Edit::replace("a_void_entry_is_served", "self.epochs.is_void(&entry) || ", "")],
    },
    Mutant {
        name: "a caller that goes away puts up no fence",
        edits: &[Edit::delete("a_caller_that_goes_away_puts_up_no_fence")],
    },
    Mutant {
        name: "a caller that goes away before its remove is done leaves the entry",
        edits: &[Edit::replace(
            "a_caller_that_goes_away_puts_up_no_fence",
            "!self.bare.load(Ordering::Acquire)",
            "false",
        )],
    },
    Mutant {
        name: "waiters are woken before the answer is published",
        edits: &[Edit::replace(
            "waiters_are_woken_before_the_answer_is_published",
            "        let landed = match",
            "        if let Ok(Validation::Changed(entry)) = &answer {\n            if let Some(running) = self.tracked.lock().flight(self.seq) {\n                running.tell(&Landed::Entry(entry.clone(), Status::Fetched, question.asked_at));\n            }\n        }\n        let landed = match",
        )],
    },
    Mutant {
        name: "a fenced flight that brings news leaves an older entry held",
        edits: &[Edit::line(
            "a_fenced_flight_that_brings_news_leaves_an_older",
            "if !fenced {\n            forget(shared, key, Count::InvalidatedChanged).await;\n        }",
        )],
    },
    Mutant {
        name: "a fenced flight publishes",
        edits: &[Edit::replace("a_fenced_flight_publishes", "fenced || ", "")],
    },
    Mutant {
        name: "another flight is started beside a fenced one",
        edits: &[
            Edit::replace(
                "another_flight_is_started_beside_a_fenced_one",
                "    let running",
                "    if state.running.as_ref().is_some_and(|it| it.generation != state.generation) {\n        let displaced = state.running.take();\n        state.displaced.extend(displaced);\n        hand_on(parked);\n        return None;\n    }\n    let running",
            ),
            Edit::replace(
                "another_flight_is_started_beside_a_fenced_one_2",
                "match state.waiting.take()",
                "let waiting = if state.running.is_none() { state.waiting.take() } else { None };\n    match waiting",
            ),
            Edit::replace(
                "another_flight_is_started_beside_a_fenced_one_5",
                ">,\n",
                ">,\n    pub(super) displaced: Vec<Running>,\n",
            ),
            Edit::replace(
                "another_flight_is_started_beside_a_fenced_one_4",
                "self.running.take()",
                "match self.displaced.iter().position(|running| running.seq == seq) {\n            Some(at) => Some(self.displaced.remove(at)),\n            None => self.running.take(),\n        }",
            ),
            Edit::replace(
                "another_flight_is_started_beside_a_fenced_one_3",
                "as_mut().filter",
                "iter_mut().chain(&mut self.displaced).find",
            ),
        ],
    },
    Mutant {
        name: "an answer without a tag leaves the old entry",
        edits: &[Edit::line(
            "a_fenced_flight_that_brings_news_leaves_an_older",
            "if fenced {\n            forget(shared, key, Count::InvalidatedChanged).await;\n        }",
        )],
    },
    Mutant { name: "a failed remove is ignored", edits: &[Edit::delete("a_failed_remove_is_ignored")] },
    Mutant {
        name: "an insert that lands after a clear passes for newer",
        edits: &[Edit::replace(
            "an_insert_that_lands_after_a_clear_passes_for",
            ";\n        if",
            ";\n        entry.outlive(shared.epochs.latest());\n        if",
        )],
    },
    Mutant {
        name: "two answers race to be kept: a flight takes no turn",
        edits: &[Edit::replace(
            "waiters_are_woken_before_the_answer_is_published",
            "self.tracked.turn(shared.settings.turn_limit()).await",
            "Some(())",
        )],
    },
    Mutant {
        name: "a put's entry is kept although a flight was in the air",
        edits: &[
            Edit::replace("a_put_s_entry_is_kept_although_a_flight", "running.is_none() && state.", ""),
            Edit::replace(
                "a_put_s_entry_is_kept_although_a_flight_2",
                "self.seq,\n            landings: self.landings",
                "0,\n            landings: 0",
            ),
        ],
    },
    Mutant {
        name: "a put's entry is kept although another write overlapped",
        edits: &[
            Edit::replace("a_put_s_entry_is_kept_although_a_flight", " && state.writes == 1", ""),
            Edit::delete("a_put_s_entry_is_kept_although_another_write"),
        ],
    },
    Mutant {
        name: "an answer is vouched for when it came, not when it was asked for",
        edits: &[Edit::replace(
            "an_answer_is_vouched_for_when_it_came_not",
            "let question",
            "let (asked_at, _) = self.shared.clock.window();\n        let question",
        )],
    },
    Mutant {
        name: "a put's entry is vouched for when the answer came",
        edits: &[Edit::replace(
            "a_put_s_entry_is_vouched_for_when_the",
            "write.publish(entry, sent_at",
            "let _ = sent_at;\n                write.publish(entry, shared.clock.now()",
        )],
    },
    Mutant {
        name: "a \"not modified\" renews although a fence went up",
        edits: &[Edit::replace("a_not_modified_renews_although_a_fence_went_up", "false", "_")],
    },
    Mutant {
        name: "a \"not modified\" to a question without a tag passes for \"gone\"",
        edits: &[Edit::replace(
            "a_not_modified_to_a_question_without_a_tag",
            "is_none() => ",
            "is_none() && question.void => ",
        )],
    },
    Mutant {
        name: "a 403 is treated as an outage",
        edits: &[
            Edit::replace(
                "a_403_is_treated_as_an_outage_2",
                "Unavailable",
                "Unavailable | ErrorKind::PermissionDenied",
            ),
            Edit::replace(
                "a_403_is_treated_as_an_outage",
                "PermissionDenied | Unauthenticated | TooLarge)",
                "Unauthenticated | TooLarge) && self.kind() != PermissionDenied",
            ),
        ],
    },
    Mutant {
        name: "stale_if_error has no end",
        edits: &[Edit::replace(
            "stale_if_error_has_no_end",
            "self.max_age.saturating_add(self.stale_if_error)",
            "FOREVER",
        )],
    },
    Mutant {
        name: "stale_while_revalidate has no end",
        edits: &[Edit::replace(
            "stale_while_revalidate_has_no_end",
            "freshness.max_age.saturating_add(freshness.stale_while_revalidate)",
            "FOREVER && freshness.stale_while_revalidate != 0",
        )],
    },
    Mutant {
        name: "the time to live is not looked at",
        edits: &[Edit::replace("the_mark_of_expire_is_not_looked_at", ".min(self.time_to_live.nanos())", "")],
    },
    Mutant {
        name: "the mark of expire is not looked at",
        edits: &[Edit::replace(
            "the_mark_of_expire_is_not_looked_at",
            "let is_vouched_for = self.vouched & MARK == 0;\n        is_vouched_for && self.age(now",
            "self.vouched_at().is_some() && now.as_nanos().saturating_sub(self.vouched & !MARK",
        )],
    },
    Mutant {
        name: "what a medium brings back passes for vouched for",
        edits: &[Edit::replace("what_a_medium_brings_back_passes_for_vouched_for", "NEVER", "0")],
    },
    Mutant {
        name: "a copy of another store is served",
        edits: &[Edit::replace(
            "a_copy_of_another_store_is_served",
            " == Some(self.settings.identity)",
            ".is_some() || true",
        )],
    },
    Mutant {
        name: "a reader that is not polled keeps its place",
        edits: &[Edit::replace(
            "a_reader_that_is_not_polled_keeps_its_place",
            " && !self.shared.places.are_wanted()",
            "",
        )],
    },
    Mutant {
        name: "a place is never given back",
        edits: &[Edit::replace(
            "a_place_is_never_given_back",
            "fetch_sub(1, Ordering::AcqRel",
            "load(Ordering::Acquire",
        )],
    },
    Mutant {
        name: "a place is given back after those who wait are woken",
        edits: &[
            Edit::replace("a_place_is_given_back_after_those_who_wait_2", "permit.free()", "let _ = permit"),
            Edit::replace(
                "a_place_is_given_back_after_those_who_wait",
                "drop(permit);\n    running.tell(&landed",
                "running.tell(&landed);\n    drop(permit",
            ),
        ],
    },
    Mutant {
        name: "a place is given back after the next flight of the key may have begun",
        edits: &[Edit::replace(
            "a_place_is_given_back_after_those_who_wait_2",
            "permit.free()",
            "let _ = permit",
        )],
    },
    Mutant {
        name: "one that waits for a place keeps all that are free",
        edits: &[Edit::replace(
            "one_that_waits_for_a_place_keeps_all_that",
            "% WAITING + word / WAITING ",
            "",
        )],
    },
    Mutant {
        name: "a place that nobody takes is left to a flight that is not polled",
        edits: &[Edit::replace("a_place_that_nobody_takes_is_left_to_a", "places.take_waiting()", "false")],
    },
    Mutant {
        name: "a flight on a runtime that is not driven is waited for",
        edits: &[Edit::replace(
            "a_flight_on_a_runtime_that_is_not_driven",
            "replace(shared, &tracked, state, seq, &runtime",
            "let _ = (replace::<V>, seq);\n    drop(state",
        )],
    },
    Mutant {
        name: "a timer stays in the runtime that it was made in",
        edits: &[Edit::replace(
            "a_timer_stays_in_the_runtime_that_it_was",
            "home, made)) if *home == here",
            "_, made))",
        )],
    },
    Mutant {
        name: "a flight that was vacated publishes",
        edits: &[
            Edit::replace(
                "a_flight_that_was_vacated_publishes_4",
                "tracked.lock().flight(seq).is_none()",
                "false",
            ),
            Edit::delete("a_flight_that_was_vacated_publishes_3"),
            Edit::replace(
                "a_flight_that_was_vacated_publishes_2",
                "shown)?;",
                "shown).unwrap_or((false, shared.epochs.latest()));",
            ),
            Edit::delete("a_flight_that_was_vacated_publishes"),
        ],
    },
    Mutant {
        name: "what a call of the backend leaves that was stuck is served",
        edits: &[
            Edit::delete("what_a_call_of_the_backend_leaves_that_was"),
            Edit::delete("what_a_call_of_the_backend_leaves_that_was_2"),
            Edit::delete("a_flight_that_was_vacated_publishes"),
        ],
    },
    Mutant {
        name: "a reader does not join a flight that publishes",
        edits: &[Edit::replace(
            "a_reader_does_not_join_a_flight_that_publishes",
            "Asked(sent_at) | Phase::Landing",
            "Landing(_) => false,\n        Phase::Asked",
        )],
    },
    Mutant {
        name: "a stale copy is served without a turn for its refresh",
        edits: &[Edit::delete("a_stale_copy_is_served_without_a_turn_for")],
    },
    Mutant {
        name: "what an earlier process stored is void by epoch",
        edits: &[Edit::replace("what_an_earlier_process_stored_is_void_by_epoch", "== NO_EPOCH", "> latest")],
    },
    Mutant {
        name: "a merged floor is not the highest of its parts",
        edits: &[Edit::replace("a_merged_floor_is_not_the_highest_of_its", "max", "min")],
    },
    Mutant {
        name: "the sweep stays on a runtime that is not driven",
        edits: &[Edit::replace("the_sweep_stays_on_a_runtime_that_is_not", ">= expected_by", "== u64::MAX")],
    },
    Mutant {
        name: "more negative entries are kept although none was swept",
        edits: &[Edit::replace(
            "more_negative_entries_are_kept_although_none_was_swept",
            "older == 0 && self.",
            "",
        )],
    },
    Mutant {
        name: "the copy of an object that is gone is not dropped",
        edits: &[Edit::replace(
            "the_copy_of_an_object_that_is_gone_is",
            "= forget(shared, key, Count::InvalidatedGone).await;",
            "= Dropped::Nothing;",
        )],
    },
    Mutant {
        name: "a missing object is remembered although a fence went up",
        edits: &[Edit::replace(
            "a_missing_object_is_remembered_although_a_fence_went",
            "if fenced ||",
            "let _ = fenced;\n    if",
        )],
    },
    Mutant {
        name: "a key's state is left in the table",
        edits: &[Edit::delete("a_key_s_state_is_left_in_the_table")],
    },
    Mutant {
        name: "a coalesced request is counted twice",
        edits: &[Edit::replace(
            "a_coalesced_request_is_counted_twice",
            "        if let Some",
            "        if self.is_awaited() {\n            self.shared.count(Count::OriginUnchanged);\n        }\n        if let Some",
        )],
    },
    Mutant {
        name: "a void negative entry counts as a copy",
        edits: &[Edit::replace("a_void_negative_entry_counts_as_a_copy", ": !entry.is_absent()", ": true")],
    },
    Mutant {
        name: "clears that overlap count each copy twice",
        edits: &[Edit::replace(
            "clears_that_overlap_count_each_copy_twice",
            "if let (Ok(n_copies), Some(cause), Ok(_)) = (&cleared, cause, is_counting",
            "drop(is_counting);\n        if let (Ok(n_copies), Some(cause)) = (&cleared, cause",
        )],
    },
    Mutant {
        name: "a decoder calls itself for ever where nothing is kept",
        edits: &[Edit::replace(
            "a_decoder_calls_itself_for_ever_where_nothing_is",
            "is_same_object",
            "is_same_object && false",
        )],
    },
    Mutant {
        name: "a decoder that has ended counts as running",
        edits: &[Edit::delete("a_decoder_that_has_ended_counts_as_running")],
    },
    Mutant {
        name: "a prefix without a rule hides the rule of a shorter one",
        edits: &[Edit::replace("a_prefix_without_a_rule_hides_the_rule_of", ".or(found)", "")],
    },
];
