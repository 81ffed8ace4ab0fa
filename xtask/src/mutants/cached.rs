//! The faults of `CachedStore`, with the test that must find each: of `cache-store`'s
//! `tests/it/cached`, by file and name. With its fault in place a test has to fail: one that waits
//! for what does not come any more would hold the command up.

use super::{Edit, Mutant};

pub(super) const MUTANTS: &[(Mutant, [&str; 2])] = &[
    (
        Mutant {
            name: "missing blocks are asked for without `If-Match`",
            edits: &[Edit::replace("if_match", ".with_if_match(snapshot.e_tag())", "")],
        },
        ["get", "only_the_blocks_that_are_missing_are_fetched"],
    ),
    (
        Mutant {
            name: "an answer for a block may be of any version",
            edits: &[Edit::replace(
                "fetched_tag",
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
                "own_block",
                " && tag::is_same(shown.e_tag(), snapshot.e_tag())",
                "",
            )],
        },
        ["ranges", "all_ranges_are_of_one_version"],
    ),
    (
        Mutant {
            name: "a block of another cache is served",
            edits: &[Edit::replace("own_block", "self.is_own(&shown)\n            && ", "")],
        },
        ["get", "two_caches_on_one_backend_do_not_serve_each_other"],
    ),
    (
        Mutant {
            name: "the end of a block is kept as a block",
            edits: &[Edit::replace(
                "whole_blocks",
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
                "head_has_strong_tag",
                "            && self.settings.strength.keep(&version, sent_at, false) == Storability::Revalidatable",
                "",
            )],
        },
        [
            "malformed_responses",
            "what_has_no_tag_that_names_its_bytes_is_read_from_the_store_each_time",
        ],
    ),
    (
        Mutant {
            name: "a strong read does not ask whether the head is current",
            edits: &[Edit::replace(
                "head_freshness",
                " freshness)",
                " Some(&Freshness::immutable()))",
            )],
        },
        ["get", "what_is_cached_costs_one_head_request"],
    ),
    (
        Mutant {
            name: "a body that goes on behind its end is cut off",
            edits: &[Edit::replace("excess_body", "goes_on {", "goes_on && left == u64::MAX {")],
        },
        [
            "malformed_responses",
            "what_comes_behind_the_end_is_an_error_before_the_last_byte_is_given_out",
        ],
    ),
    (
        Mutant {
            name: "a body that ends early is asked for again",
            edits: &[Edit::replace("short_body", "Failed(torn(LENGTH))", "Replaced")],
        },
        [
            "malformed_responses",
            "a_body_that_ends_early_is_an_error_and_whole_blocks_of_it_are_kept",
        ],
    ),
    (
        Mutant {
            name: "the last piece is given out before the body has ended",
            edits: &[Edit::replace("last_chunk", " && (left > 0 || source.at_end)", "")],
        },
        [
            "malformed_responses",
            "what_comes_behind_the_end_is_an_error_before_the_last_byte_is_given_out",
        ],
    ),
    (
        Mutant {
            name: "who waits for a body that hangs waits for ever",
            edits: &[Edit::line(
                "body_timeout",
                "if is_late.is_pending() || !limit.is_zero() {\n            return Poll::Pending;\n        }",
            )],
        },
        ["malformed_responses", "a_body_that_hangs_is_an_error_for_all_who_wait"],
    ),
    (
        Mutant {
            name: "a fill that failed is joined",
            edits: &[Edit::replace("failed_fetch", "false", "true")],
        },
        ["fetches", "an_error_is_told_to_the_one_whose_request_it_is_and_the_others_ask_anew"],
    ),
    (
        Mutant {
            name: "each reader of the same blocks asks for them",
            edits: &[Edit::replace("joins_fetch", "is_alone) ", "is_alone).filter(|_| false) ")],
        },
        ["fetches", "twenty_readers_of_the_same_blocks_make_one_request"],
    ),
    (
        Mutant {
            name: "a fetch of another reader that fails is the end of those who joined it",
            edits: &[Edit::replace("joined_part", "||", "|| !self.left.is_empty() ||")],
        },
        ["joined", "a_joined_body_that_breaks_is_read_on_by_a_request_of_the_readers_own"],
    ),
    (
        Mutant {
            name: "of ranges, too",
            edits: &[Edit::replace("joined_ranges", "()", "() && self.left.is_empty()")],
        },
        ["joined", "joined_ranges_are_read_on_too"],
    ),
    (
        Mutant {
            name: "a cached block is not held until its reader gets there",
            edits: &[Edit::replace("pins_blocks", "len()) ", "len()).filter(|_| false) ")],
        },
        ["rewritten", "a_whole_read_fails_no_more_often_than_over_the_bare_store"],
    ),
    (
        Mutant {
            name: "each block of a replaced version is read from disk and fetched alone",
            edits: &[Edit::replace("mistrusts_stored", "_ => u64::MAX", "_ => range.end")],
        },
        ["restarts", "blocks_of_a_replaced_version_cost_one_look"],
    ),
    (
        Mutant {
            name: "a reader that falls behind another one of its fetch loses blocks",
            edits: &[Edit::replace("retains_for_slower", "is_some", "is_none")],
        },
        [
            "rewritten",
            "a_reader_that_shares_a_request_and_falls_behind_gets_the_version_that_it_began",
        ],
    ),
    (
        Mutant {
            name: "only the first request of a read is answered before it begins",
            edits: &[Edit::replace("opens_all_parts", "().map(", "().take(1).map(")],
        },
        ["rewritten", "a_whole_read_fails_no_more_often_than_over_the_bare_store"],
    ),
    (
        Mutant {
            name: "a small hole splits a request",
            edits: &[Edit::replace("coalesces_gap", "self.coalesce_gap", "0")],
        },
        ["rewritten", "every_fourth_block_cached_the_rest_is_one_request"],
    ),
    (
        Mutant {
            name: "far ranges wait for the head",
            edits: &[Edit::replace("far_ranges_first", " first)", " first.filter(|_| false))")],
        },
        ["ranges", "far_ranges_take_one_round_trip_where_a_head_is_cached"],
    ),
    (
        Mutant {
            name: "an invalidation leaves the blocks",
            edits: &[Edit::replace(
                "removes_blocks",
                "Arc::clone(&self.blocks).remove_all(location, size).await",
                "let _ = size",
            )],
        },
        ["malformed_responses", "an_invalidation_drops_blocks_that_came_damaged"],
    ),
    (
        Mutant {
            name: "an invalidation leaves blocks that are on their way to the backend",
            edits: &[Edit::replace("void_insert", "|| is_void ", "")],
        },
        ["malformed_responses", "an_invalidation_drops_blocks_that_came_damaged"],
    ),
    (
        Mutant {
            name: "a fetch that was sent before an invalidation is joined after it",
            edits: &[Edit::replace("joins_valid_fetch", "self.is_void() || ", "")],
        },
        ["malformed_responses", "what_comes_of_a_request_before_an_invalidation_is_not_kept"],
    ),
    (
        Mutant {
            name: "what is handed on after restarts is not looked at",
            edits: &[Edit::replace("checked_pass_through", "pass_through_checked", "pass_through")],
        },
        ["malformed_responses", "what_is_passed_through_after_a_refusal_is_as_long_as_announced"],
    ),
    (
        Mutant {
            name: "a store without ranges is asked for nothing else",
            edits: &[Edit::replace("whole_fallback", "Some(Self::Whole)", "None")],
        },
        ["refused", "a_body_that_was_begun_goes_on_by_the_whole_object"],
    ),
    (
        Mutant {
            name: "a read that begins anew asks for no new head",
            edits: &[Edit::replace(
                "restart_marks_head",
                "self.heads.mark_stale(&key_of(location)).await",
                "location",
            )],
        },
        ["versions", "nothing_given_out_the_read_begins_anew"],
    ),
    (
        Mutant {
            name: "a body that was replaced leaves the head as it is",
            edits: &[Edit::delete("replaced_marks_head")],
        },
        ["versions", "something_given_out_it_is_an_error_and_never_a_mix"],
    ),
    (
        Mutant {
            name: "what went by shows nothing",
            edits: &[Edit::replace(
                "observes_version",
                "meta) => Some(Observation::Version(version_of(meta)))",
                "_) => None",
            )],
        },
        ["policies", "what_went_by_shows_that_the_object_has_changed"],
    ),
    (
        Mutant { name: "no note is taken of a list", edits: &[Edit::delete("observes_list")] },
        ["lists", "a_list_and_a_hundred_reads_past_their_max_age_are_one_request"],
    ),
    (
        Mutant {
            name: "all pages of a list are of the first moment",
            edits: &[Edit::delete("request_before_poll")],
        },
        ["lists", "a_head_is_as_old_as_the_request_for_its_page"],
    ),
    (
        Mutant {
            name: "a page is of the moment at which it is read",
            edits: &[Edit::replace(
                "page_requested_earlier",
                "!page.is_requested_when_polled",
                "false",
            )],
        },
        ["lists", "a_head_is_as_old_as_the_request_for_its_page"],
    ),
    (
        Mutant {
            name: "a list that has failed counts as whole",
            edits: &[Edit::replace("ends_whole_lists", ".filter(|_| !self.has_failed)", "")],
        },
        ["lists", "a_list_that_fails_in_the_middle_marks_nothing_that_it_did_not_show"],
    ),
    (
        Mutant {
            name: "the marker of a folder is taken for an object of its name",
            edits: &[Edit::replace(
                "marker_of_prefix",
                "key.as_str().starts_with(prefix)",
                "!prefix.is_empty()",
            )],
        },
        ["lists", "a_marker_of_a_folder_is_not_taken_for_an_object"],
    ),
    (
        Mutant {
            name: "a list of a folder covers the names that begin as it does",
            edits: &[Edit::replace("list_scope", "&format!(\"{prefix}/\")", "prefix.as_ref()")],
        },
        ["lists", "a_list_tells_only_of_what_is_below_its_prefix"],
    ),
    (
        Mutant {
            name: "a warmed prefix is revalidated object by object",
            edits: &[Edit::replace("warm_since", "since.take()", "since.take().filter(|_| false)")],
        },
        ["lists", "warming_a_prefix_again_costs_one_list"],
    ),
    (
        Mutant {
            name: "a range that ends before it begins is handed on",
            edits: &[Edit::replace(
                "reversed_range",
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
                "reads_once",
                "read = read_once(shared, location, ranges, first, answer, &status",
                "_ = (first, answer);\n                    let read = pass_through(shared, location, ranges",
            )],
        },
        ["ranges", "what_cannot_be_held_is_one_request_for_what_is_near"],
    ),
    (
        Mutant {
            name: "a put through the cache is not fenced",
            edits: &[Edit::replace(
                "put_fence",
                "open(shared, location).await?;\n    let request = Request::send(&shared.upstream, Op::Put,",
                "None;\n    let request = Request::send(&shared.upstream, Op::Put,",
            )],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "the completion of an upload is not fenced",
            edits: &[Edit::replace(
                "complete_fence",
                "let write = open(&self.shared, &self.location).await?;",
                "let write = None;",
            )],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "a copy is not fenced",
            edits: &[Edit::replace("copy_fence", "open(shared, to).await?", "None")],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "a rename fences its target alone",
            edits: &[Edit::replace("rename_fences", "(open(shared, from).await?,", "(None,")],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "what a stream deletes is not fenced",
            edits: &[Edit::replace(
                "delete_stream_fence",
                " write))",
                " write.filter(|_| false)))",
            )],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "a stream's deletions end when they are sent",
            edits: &[Edit::replace("delete_stream_end", " write }", " write.filter(|_| false) }")],
        },
        ["writes", "a_location_whose_deletion_was_reported_is_held_again"],
    ),
    (
        Mutant {
            name: "an object that the predicate refuses is cached",
            edits: &[Edit::replace("cache_if", "cache(&answer.meta, &answer.attributes)", "true")],
        },
        ["settings", "what_the_predicate_refuses_is_read_each_time_and_not_kept"],
    ),
    (
        Mutant {
            name: "an error names an inner key",
            edits: &[Edit::replace("display_key", "self.display_key(key)", "key")],
        },
        ["errors", "an_error_names_the_objects_path"],
    ),
    (
        Mutant {
            name: "an answer that was on its way while something newer was heard is kept",
            edits: &[Edit::replace("heard_other", "false", "true")],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a read joins a request that was sent before something was heard",
            edits: &[Edit::replace("joins_by_sent_at", "running.heard.is_nothing()", "true")],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a copy of another version than an answer showed is not marked",
            edits: &[Edit::replace(
                "marks_older_copy",
                "if is_newer || observation.fits(entry) {",
                "if is_newer || observation.fits(entry) || !observation.is_gone() {",
            )],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "what is forbidden stays cached",
            edits: &[Edit::replace("observes_forbidden", "Some(Observation::Forbidden)", "None")],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a refused request for blocks is not heard",
            edits: &[Edit::replace(
                "observes_refusal",
                "self.observe(location, Observation::Forbidden).await",
                "let _ = location",
            )],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a refused condition is not heard",
            edits: &[Edit::replace("observes_condition", "false", "true")],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a copy's source is not heard",
            edits: &[Edit::replace(
                "copy_source_error",
                "shared.hear_error(from, error).await",
                "let _ = error",
            )],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "tags are compared with their quotes",
            edits: &[Edit::line("opaque_tag", "let _ = in_quotes;\n    opaque")],
        },
        ["observations", "a_list_without_quotes_or_with_finer_dates_shows_the_same_version"],
    ),
    (
        Mutant {
            name: "dates are compared to the nanosecond",
            edits: &[Edit::replace(
                "whole_second_dates",
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
                "block_permit",
                "heads) => heads.request_permit().await.map(Some",
                "_) => Ok(None",
            )],
        },
        ["limits", "no_more_requests_of_reads_are_unanswered_at_once_than_max_in_flight"],
    ),
    (
        Mutant {
            name: "waiting for a permit counts as the store's silence",
            edits: &[Edit::replace("permit_wait", "source.queue.is_some()", "false")],
        },
        ["limits", "waiting_for_a_turn_is_not_the_stores_silence"],
    ),
    (
        Mutant {
            name: "a body that ends early is a hit",
            edits: &[Edit::delete("short_read_result")],
        },
        ["results", "a_body_that_breaks_off_is_an_error_and_its_request_has_failed"],
    ),
    (
        Mutant {
            name: "a request whose body broke off is done",
            edits: &[Edit::replace(
                "body_failure",
                "source.sent.fail(error.kind()",
                "let _ = (error, source",
            )],
        },
        ["results", "a_body_that_breaks_off_is_an_error_and_its_request_has_failed"],
    ),
    (
        Mutant {
            name: "a read with fetched bytes is a hit",
            edits: &[Edit::delete("fetched_result")],
        },
        ["results", "each_read_has_one_result"],
    ),
    (
        Mutant {
            name: "what is read ahead of time counts as hit or missed",
            edits: &[Edit::delete("not_a_read")],
        },
        ["results", "what_is_read_ahead_of_time_is_no_read_and_counts_no_blocks"],
    ),
    (
        Mutant {
            name: "a validation does not bring the bytes that are missing",
            edits: &[Edit::replace("validates_with_range", "await", "await.filter(|_| false)")],
        },
        ["get", "bytes_that_are_missing_come_with_the_validation"],
    ),
    (
        Mutant {
            name: "a suffix is not widened",
            edits: &[Edit::replace(
                "widened_suffix",
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
                "own_error",
                "() {\n                ",
                "() || key.len() > 1 {\n                ",
            )],
        },
        ["conditions", "a_condition_of_one_reader_is_not_the_answer_to_another"],
    ),
    (
        Mutant {
            name: "a foreign tag is refused by a head of some age",
            edits: &[Edit::delete("older_head_tag")],
        },
        ["conditions", "if_match_is_answered_from_a_head_that_is_fresh_enough"],
    ),
    (
        Mutant {
            name: "a range past the end is judged by a head of some age",
            edits: &[Edit::replace(
                "older_head_range",
                "if !self.is_of_before() && self.snapshot.is_pinned() ",
                "",
            )],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "changed metadata do not replace a head",
            edits: &[Edit::delete("same_head")],
        },
        ["metadata", "changed_metadata_are_seen_though_the_tag_is_the_same"],
    ),
];
