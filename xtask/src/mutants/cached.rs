//! The faults of `CachedStore`, with the test that must find each: of `cache-store`'s `tests/it/cached`, by file and name.
//! With its fault in place a test has to fail: one that waits for what does not come any more would hold the command up.

use super::{Edit, Mutant};

pub(super) const MUTANTS: &[(Mutant, [&str; 2])] = &[
    (
        Mutant {
            name: "missing blocks are asked for without `If-Match`",
            edits: &[Edit::replace(
                "missing_blocks_are_asked_for_without_if_match",
                ".with_if_match(snapshot.e_tag())",
                "",
            )],
        },
        ["get", "only_the_blocks_that_are_missing_are_fetched"],
    ),
    (
        Mutant {
            name: "an answer for a block may be of any version",
            edits: &[Edit::replace(
                "an_answer_for_a_block_may_be_of_any",
                "!tag::is_same(answer.meta.e_tag.as_deref(), self.snapshot.e_tag())\n                    || ",
                "",
            )],
        },
        ["versions", "a_store_that_does_not_know_if_match_is_caught_by_the_tag"],
    ),
    (
        Mutant {
            name: "a block of another version is served",
            edits: &[Edit::replace(
                "a_block_of_another_cache_is_served",
                " && tag::is_same(entry.e_tag(), snapshot.e_tag())",
                "",
            )],
        },
        ["ranges", "all_ranges_are_of_one_version"],
    ),
    (
        Mutant {
            name: "a block of another cache is served",
            edits: &[Edit::replace(
                "a_block_of_another_cache_is_served",
                "self.is_own(entry)\n                && ",
                "",
            )],
        },
        ["get", "two_caches_on_one_backend_do_not_serve_each_other"],
    ),
    (
        Mutant {
            name: "the end of a block is kept as a block",
            edits: &[Edit::replace(
                "the_end_of_a_block_is_kept_as_a",
                ".filter(|_| blocks.start_of(start) == start)",
                "",
            )],
        },
        ["get", "the_end_of_a_block_is_served_and_not_kept"],
    ),
    (
        Mutant {
            name: "a head is held whatever its tag says",
            edits: &[Edit::replace(
                "a_head_is_held_whatever_its_tag_says",
                "            && self.settings.strength.keep(&version, sent_at, false) == Keep::Confirmable",
                "",
            )],
        },
        ["lies", "what_has_no_tag_that_names_its_bytes_is_read_from_the_store_each_time"],
    ),
    (
        Mutant {
            name: "a strong read does not ask whether the head is current",
            edits: &[Edit::replace(
                "a_strong_read_does_not_ask_whether_the_head",
                " freshness)",
                " Some(&Freshness::immutable()))",
            )],
        },
        ["get", "what_is_cached_costs_one_head_request"],
    ),
    (
        Mutant {
            name: "a body that goes on behind its end is cut off",
            edits: &[Edit::replace(
                "a_body_that_goes_on_behind_its_end_is",
                "goes_on {",
                "goes_on && left == u64::MAX {",
            )],
        },
        ["lies", "what_comes_behind_the_end_is_an_error_before_the_last_byte_is_given_out"],
    ),
    (
        Mutant {
            name: "a body that ends early is asked for again",
            edits: &[Edit::replace(
                "a_body_that_ends_early_is_asked_for_again",
                "Failed(torn(LENGTH))",
                "Replaced",
            )],
        },
        ["lies", "a_body_that_ends_early_is_an_error_and_whole_blocks_of_it_are_kept"],
    ),
    (
        Mutant {
            name: "the last piece is given out before the body has ended",
            edits: &[Edit::replace(
                "the_last_piece_is_given_out_before_the_body",
                " && (left > 0 || source.at_end)",
                "",
            )],
        },
        ["lies", "what_comes_behind_the_end_is_an_error_before_the_last_byte_is_given_out"],
    ),
    (
        Mutant {
            name: "who waits for a body that hangs waits for ever",
            edits: &[Edit::line(
                "who_waits_for_a_body_that_hangs_waits_for",
                "if is_late.is_pending() || !limit.is_zero() {\n            return Poll::Pending;\n        }",
            )],
        },
        ["lies", "a_body_that_hangs_is_an_error_for_all_who_wait"],
    ),
    (
        Mutant {
            name: "a fill that failed is joined",
            edits: &[Edit::replace("a_fill_that_failed_is_joined", "false", "true")],
        },
        ["fills", "an_error_is_told_to_the_one_whose_request_it_is_and_the_others_ask_anew"],
    ),
    (
        Mutant {
            name: "each reader of the same blocks asks for them",
            edits: &[Edit::replace(
                "each_reader_of_the_same_blocks_asks_for_them",
                "is_alone) ",
                "is_alone).filter(|_| false) ",
            )],
        },
        ["fills", "twenty_readers_of_the_same_blocks_make_one_request"],
    ),
    (
        Mutant {
            name: "a fetch of another reader that fails is the end of those who joined it",
            edits: &[Edit::replace(
                "a_fetch_of_another_reader_that_fails_is_the",
                "||",
                "|| !self.left.is_empty() ||",
            )],
        },
        ["joined", "a_joined_body_that_breaks_is_read_on_by_a_request_of_the_readers_own"],
    ),
    (
        Mutant {
            name: "of ranges, too",
            edits: &[Edit::replace("of_ranges_too", "()", "() && self.left.is_empty()")],
        },
        ["joined", "joined_ranges_are_read_on_too"],
    ),
    (
        Mutant {
            name: "a cached block is not held until its reader gets there",
            edits: &[Edit::replace(
                "a_cached_block_is_not_held_until_its_reader",
                "u64) ",
                "u64).filter(|_| false) ",
            )],
        },
        ["rewritten", "a_whole_read_fails_no_more_often_than_over_the_bare_store"],
    ),
    (
        Mutant {
            name: "a reader that falls behind another one of its fetch loses blocks",
            edits: &[Edit::replace("a_reader_that_falls_behind_another_one_of_its", "is_some", "is_none")],
        },
        ["rewritten", "a_reader_that_shares_a_request_and_falls_behind_gets_the_version_that_it_began"],
    ),
    (
        Mutant {
            name: "only the first request of a read is answered before it begins",
            edits: &[Edit::replace(
                "only_the_first_request_of_a_read_is_answered",
                "().map(",
                "().take(1).map(",
            )],
        },
        ["rewritten", "a_whole_read_fails_no_more_often_than_over_the_bare_store"],
    ),
    (
        Mutant {
            name: "a small hole splits a request",
            edits: &[Edit::replace("a_small_hole_splits_a_request", "self.coalesce_gap", "0")],
        },
        ["rewritten", "every_fourth_block_cached_the_rest_is_one_request"],
    ),
    (
        Mutant {
            name: "far ranges wait for the head",
            edits: &[Edit::replace("far_ranges_wait_for_the_head", " first)", " first.filter(|_| false))")],
        },
        ["ranges", "far_ranges_take_one_round_trip_where_a_head_is_cached"],
    ),
    (
        Mutant {
            name: "an invalidation leaves the blocks",
            edits: &[Edit::replace(
                "an_invalidation_leaves_the_blocks",
                "Arc::clone(&self.blocks).remove_all(location, size).await",
                "let _ = size",
            )],
        },
        ["lies", "an_invalidation_drops_blocks_that_came_damaged"],
    ),
    (
        Mutant {
            name: "an invalidation leaves blocks that are on their way to the backend",
            edits: &[Edit::replace(
                "an_invalidation_leaves_blocks_that_are_on_their_way",
                "|| turn.is_void() ",
                "",
            )],
        },
        ["lies", "an_invalidation_drops_blocks_that_came_damaged"],
    ),
    (
        Mutant {
            name: "a fetch that was sent before an invalidation is joined after it",
            edits: &[Edit::replace(
                "a_fetch_that_was_sent_before_an_invalidation_is",
                "self.is_void() || ",
                "",
            )],
        },
        ["lies", "what_comes_of_a_request_before_an_invalidation_is_not_kept"],
    ),
    (
        Mutant {
            name: "what is handed on after restarts is not looked at",
            edits: &[Edit::replace("what_is_handed_on_after_restarts_is_not_looked", "pass_checked", "pass")],
        },
        ["lies", "what_is_passed_through_after_a_refusal_is_as_long_as_announced"],
    ),
    (
        Mutant {
            name: "a store without ranges is asked for nothing else",
            edits: &[Edit::replace(
                "a_store_without_ranges_is_asked_for_nothing_else",
                "Some(Self::Whole)",
                "None",
            )],
        },
        ["refused", "a_body_that_was_begun_goes_on_by_the_whole_object"],
    ),
    (
        Mutant {
            name: "a read that begins anew asks for no new head",
            edits: &[Edit::replace(
                "a_read_that_begins_anew_asks_for_no_new",
                "self.heads.expire(&head::key_of(location)).await",
                "location",
            )],
        },
        ["versions", "nothing_given_out_the_read_begins_anew"],
    ),
    (
        Mutant {
            name: "a body that was replaced leaves the head as it is",
            edits: &[Edit::delete("a_body_that_was_replaced_leaves_the_head_as")],
        },
        ["versions", "something_given_out_it_is_an_error_and_never_a_mix"],
    ),
    (
        Mutant {
            name: "what went by shows nothing",
            edits: &[Edit::replace(
                "what_went_by_shows_nothing",
                "meta) => Some(Observation::Version(version_of(meta)))",
                "_) => None",
            )],
        },
        ["policies", "what_went_by_shows_that_the_object_has_changed"],
    ),
    (
        Mutant {
            name: "what a list shows is not heard",
            edits: &[Edit::replace(
                "what_a_list_shows_is_not_heard",
                "self.observe(&object.location, shown).await",
                "let _ = shown",
            )],
        },
        ["lists", "what_a_list_shows_to_have_changed_is_asked_about"],
    ),
    (
        Mutant {
            name: "a range that ends before it begins is handed on",
            edits: &[Edit::replace(
                "a_range_that_ends_before_it_begins_is_handed",
                "end",
                "end && range.is_empty() && ranges.is_empty()",
            )],
        },
        ["ranges", "a_range_that_ends_before_it_begins_is_an_error"],
    ),
    (
        Mutant {
            name: "several ranges of what cannot be held are asked for twice",
            edits: &[Edit::replace(
                "several_ranges_of_what_cannot_be_held_are_asked",
                "read = read_once(shared, location, ranges, first, answer, &status",
                "_ = (first, answer);\n                    let read = pass(shared, location, ranges",
            )],
        },
        ["ranges", "what_cannot_be_held_is_one_request_for_what_is_near"],
    ),
    (
        Mutant {
            name: "a put through the cache is not fenced",
            edits: &[Edit::replace(
                "a_put_through_the_cache_is_not_fenced",
                "    let _write = open(shared, location).await?;\n    let request = Request::send(&shared.fills, Op::Put",
                "    let request = Request::send(&shared.fills, Op::Put",
            )],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "the completion of an upload is not fenced",
            edits: &[Edit::replace(
                "the_completion_of_an_upload_is_not_fenced",
                "{\n        let _write = open(&self.cached.shared, &self.location).await?;",
                "{",
            )],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant { name: "a copy is not fenced", edits: &[Edit::delete("a_copy_is_not_fenced")] },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "a rename fences its target alone",
            edits: &[Edit::replace(
                "a_rename_fences_its_target_alone",
                "(open(shared, from).await?, open(shared, to).await?)",
                "open(shared, to).await?",
            )],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "what a stream deletes is not fenced",
            edits: &[Edit::replace(
                "what_a_stream_deletes_is_not_fenced",
                " write))",
                " write.filter(|_| false)))",
            )],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "a stream's deletions end when they are sent",
            edits: &[Edit::replace(
                "a_stream_s_deletions_end_when_they_are_sent",
                " write }",
                " write.filter(|_| false) }",
            )],
        },
        ["writes", "a_location_whose_deletion_was_reported_is_held_again"],
    ),
    (
        Mutant {
            name: "an object that the predicate refuses is cached",
            edits: &[Edit::replace(
                "an_object_that_the_predicate_refuses_is_cached",
                "cache(&answer.meta, &answer.attributes)",
                "true",
            )],
        },
        ["settings", "what_the_predicate_refuses_is_read_each_time_and_not_kept"],
    ),
    (
        Mutant {
            name: "an error names an inner key",
            edits: &[Edit::replace("an_error_names_an_inner_key", "self.shown(key)", "key")],
        },
        ["errors", "an_error_names_the_objects_path"],
    ),
    (
        Mutant {
            name: "an answer that was on its way while something newer was heard is kept",
            edits: &[Edit::replace("an_answer_that_was_on_its_way_while_something", "false", "true")],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a read joins a request that was sent before something was heard",
            edits: &[Edit::replace(
                "a_strong_reader_joins_a_running_flight",
                "running.heard.is_nothing() && ",
                "",
            )],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a copy of another version than an answer showed is not marked",
            edits: &[Edit::replace(
                "a_copy_of_another_version_than_an_answer_showed",
                ".inspect(Entry::mark)",
                "",
            )],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "what is forbidden stays cached",
            edits: &[Edit::replace("what_is_forbidden_stays_cached", "Some(Observation::Forbidden)", "None")],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a refused request for blocks is not heard",
            edits: &[Edit::replace(
                "a_refused_request_for_blocks_is_not_heard",
                "self.observe(location, Observation::Forbidden).await",
                "let _ = location",
            )],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a refused condition is not heard",
            edits: &[Edit::replace("a_refused_condition_is_not_heard", "false", "true")],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a copy's source is not heard",
            edits: &[Edit::replace(
                "a_copy_s_source_is_not_heard",
                "shared.hear_error(from, error).await",
                "let _ = error",
            )],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "tags are compared with their quotes",
            edits: &[Edit::line("tags_are_compared_with_their_quotes", "let _ = in_quotes;\n    opaque")],
        },
        ["observations", "a_list_without_quotes_or_with_finer_dates_shows_the_same_version"],
    ),
    (
        Mutant {
            name: "dates are compared to the nanosecond",
            edits: &[Edit::replace(
                "dates_are_compared_to_the_nanosecond",
                " || one_nanos == 0 || other_nanos == 0",
                "",
            )],
        },
        ["observations", "a_list_without_quotes_or_with_finer_dates_shows_the_same_version"],
    ),
    (
        Mutant {
            name: "requests for blocks go round max_in_flight",
            edits: &[Edit::replace(
                "requests_for_blocks_go_round_max_in_flight",
                "heads) => heads.request_permit().await.map(Some",
                "_) => Ok(None",
            )],
        },
        ["limits", "no_more_requests_of_reads_are_unanswered_at_once_than_max_in_flight"],
    ),
    (
        Mutant {
            name: "waiting for a permit counts as the store's silence",
            edits: &[Edit::replace(
                "waiting_for_a_permit_counts_as_the_store_s",
                "source.queue.is_some()",
                "false",
            )],
        },
        ["limits", "waiting_for_a_turn_is_not_the_stores_silence"],
    ),
    (
        Mutant {
            name: "a body that ends early is a hit",
            edits: &[Edit::delete("a_body_that_ends_early_is_a_hit")],
        },
        ["results", "a_body_that_breaks_off_is_an_error_and_its_request_has_failed"],
    ),
    (
        Mutant {
            name: "a request whose body broke off is done",
            edits: &[Edit::replace(
                "a_request_whose_body_broke_off_is_done",
                "source.sent.fail(error.kind()",
                "let _ = (error, source",
            )],
        },
        ["results", "a_body_that_breaks_off_is_an_error_and_its_request_has_failed"],
    ),
    (
        Mutant {
            name: "a read with fetched bytes is a hit",
            edits: &[Edit::delete("a_read_with_fetched_bytes_is_a_hit")],
        },
        ["results", "each_read_has_one_result"],
    ),
    (
        Mutant {
            name: "what is read ahead of time counts as hit or missed",
            edits: &[Edit::delete("what_is_read_ahead_of_time_counts_as_hit")],
        },
        ["results", "what_is_read_ahead_of_time_is_no_read_and_counts_no_blocks"],
    ),
    (
        Mutant {
            name: "a validation does not bring the bytes that are missing",
            edits: &[Edit::replace(
                "a_validation_does_not_bring_the_bytes_that_are",
                "await",
                "await.filter(|_| false)",
            )],
        },
        ["get", "bytes_that_are_missing_come_with_the_validation"],
    ),
    (
        Mutant {
            name: "a suffix is not widened",
            edits: &[Edit::replace(
                "a_suffix_is_not_widened",
                "len.saturating_add(blocks.bytes_of(1))",
                "*len",
            )],
        },
        ["get", "a_suffix_that_was_read_once_is_one_request_without_a_body"],
    ),
    (
        Mutant {
            name: "an error that is another reader's is this one's",
            edits: &[Edit::replace(
                "an_error_that_is_another_reader_s_is_this",
                "() {\n                ",
                "() || key.len() > 1 {\n                ",
            )],
        },
        ["conditions", "a_condition_of_one_reader_is_not_the_answer_to_another"],
    ),
    (
        Mutant {
            name: "a foreign tag is refused by a head of some age",
            edits: &[Edit::delete("a_foreign_tag_is_refused_by_a_head_of")],
        },
        ["conditions", "if_match_is_answered_from_a_head_that_is_fresh_enough"],
    ),
    (
        Mutant {
            name: "a range past the end is judged by a head of some age",
            edits: &[Edit::replace(
                "a_range_past_the_end_is_judged_by_a",
                "if !self.is_of_before() && self.snapshot.is_pinned() ",
                "",
            )],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "changed metadata do not replace a head",
            edits: &[Edit::delete("changed_metadata_do_not_replace_a_head")],
        },
        ["metadata", "changed_metadata_are_seen_though_the_tag_is_the_same"],
    ),
];
