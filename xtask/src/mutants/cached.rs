//! The faults of `CachedStore`, with the test that must find each: of `cache-store`'s `tests/it/cached`, by file and name.
//! With its fault in place a test has to fail: one that waits for what does not come any more would hold the command up.

use super::{Edit, Mutant};

const BLOCKS: &str = "crates/cache-store/src/cached/blocks.rs";
const CORE_OBSERVE: &str = "crates/cache-core/src/read_through/observe.rs";
const CORE_READ: &str = "crates/cache-core/src/read_through/read.rs";
const CORE_TAG: &str = "crates/cache-core/src/tag.rs";
const FILL: &str = "crates/cache-store/src/cached/fill.rs";
const FILLS: &str = "crates/cache-store/src/cached/fills.rs";
const PLAN: &str = "crates/cache-store/src/cached/plan.rs";
const HEAD: &str = "crates/cache-store/src/cached/head.rs";
const OBSERVE: &str = "crates/cache-store/src/cached/observe.rs";
const READ: &str = "crates/cache-store/src/cached/read.rs";
const READ_METER: &str = "crates/cache-store/src/cached/read_meter.rs";
const READER: &str = "crates/cache-store/src/cached/reader.rs";
const RANGES: &str = "crates/cache-store/src/cached/ranges.rs";
const WRITE: &str = "crates/cache-store/src/cached/write.rs";

pub(super) const MUTANTS: &[(Mutant, [&str; 2])] = &[
    (
        Mutant {
            name: "missing blocks are asked for without `If-Match`",
            edits: &[Edit { path: FILLS, text: ".with_if_match(snapshot.e_tag())", replacement: "" }],
        },
        ["get", "only_the_blocks_that_are_missing_are_fetched"],
    ),
    (
        Mutant {
            name: "an answer for a block may be of any version",
            edits: &[Edit {
                path: FILL,
                text: "if !tag::is_same(answer.meta.e_tag.as_deref(), self.snapshot.e_tag())\n                    || ",
                replacement: "if ",
            }],
        },
        ["versions", "a_store_that_does_not_know_if_match_is_caught_by_the_tag"],
    ),
    (
        Mutant {
            name: "a block of another version is served",
            edits: &[Edit {
                path: BLOCKS,
                text: " && tag::is_same(entry.e_tag(), snapshot.e_tag())",
                replacement: "",
            }],
        },
        ["ranges", "all_ranges_are_of_one_version"],
    ),
    (
        Mutant {
            name: "a block of another cache is served",
            edits: &[Edit {
                path: BLOCKS,
                text: "            self.is_own(entry)\n                && tag",
                replacement: "            tag",
            }],
        },
        ["get", "two_caches_on_one_backend_do_not_serve_each_other"],
    ),
    (
        Mutant {
            name: "the end of a block is kept as a block",
            edits: &[Edit {
                path: FILL,
                text: ".filter(|_| blocks.start_of(start) == start)",
                replacement: "",
            }],
        },
        ["get", "the_end_of_a_block_is_served_and_not_kept"],
    ),
    (
        Mutant {
            name: "a head is held whatever its tag says",
            edits: &[Edit {
                path: HEAD,
                text: "            && self.settings.strength.keep(&version, sent_at, false) == Keep::Confirmable;",
                replacement: ";",
            }],
        },
        ["lies", "what_has_no_tag_that_names_its_bytes_is_read_from_the_store_each_time"],
    ),
    (
        Mutant {
            name: "a strong read does not ask whether the head is current",
            edits: &[Edit {
                path: READ,
                text: "if let Some(served) = self.heads.get_fresh(&key, freshness) {",
                replacement: "if let Some(served) = self.heads.get_fresh(&key, Some(&Freshness::immutable())) {",
            }],
        },
        ["get", "what_is_cached_costs_one_head_request"],
    ),
    (
        Mutant {
            name: "a body that goes on behind its end is cut off",
            edits: &[Edit {
                path: FILL,
                text: "if !source.goes_on {",
                replacement: "if !source.goes_on && left == u64::MAX {",
            }],
        },
        ["lies", "what_comes_behind_the_end_is_an_error_before_the_last_byte_is_given_out"],
    ),
    (
        Mutant {
            name: "a body that ends early is asked for again",
            edits: &[Edit {
                path: FILL,
                text: "None => return Poll::Ready(Err(Broken::Failed(torn(LENGTH)))),",
                replacement: "None => return Poll::Ready(Err(Broken::Replaced)),",
            }],
        },
        ["lies", "a_body_that_ends_early_is_an_error_and_whole_blocks_of_it_are_kept"],
    ),
    (
        Mutant {
            name: "the last piece is given out before the body has ended",
            edits: &[Edit {
                path: FILL,
                text: "!source.chunk.is_empty() && (left > 0 || source.at_end)",
                replacement: "!source.chunk.is_empty()",
            }],
        },
        ["lies", "what_comes_behind_the_end_is_an_error_before_the_last_byte_is_given_out"],
    ),
    (
        Mutant {
            name: "who waits for a body that hangs waits for ever",
            edits: &[Edit {
                path: FILL,
                text: "        ready!(is_late);\n",
                replacement: "        if is_late.is_pending() || !limit.is_zero() {
            return Poll::Pending;
        }\n",
            }],
        },
        ["lies", "a_body_that_hangs_is_an_error_for_all_who_wait"],
    ),
    (
        Mutant {
            name: "a fill that failed is joined",
            edits: &[Edit {
                path: FILL,
                text: "            Some(Err(_)) => false,\n",
                replacement: "            Some(Err(_)) => true,\n",
            }],
        },
        ["fills", "an_error_is_told_to_the_one_whose_request_it_is_and_the_others_ask_anew"],
    ),
    (
        Mutant {
            name: "each reader of the same blocks asks for them",
            edits: &[Edit {
                path: FILLS,
                text: "if let Some(fill) = self.join_or_add(&new, start, manner.is_alone) {",
                replacement: "if let Some(fill) = self.join_or_add(&new, start, manner.is_alone).filter(|_| false) {",
            }],
        },
        ["fills", "twenty_readers_of_the_same_blocks_make_one_request"],
    ),
    (
        Mutant {
            name: "a fetch of another reader that fails is the end of those who joined it",
            edits: &[Edit {
                path: READER,
                text: "if !broken.is_of_its_request() ||",
                replacement: "if !broken.is_of_its_request() || !self.left.is_empty() ||",
            }],
        },
        ["joined", "a_joined_body_that_breaks_is_read_on_by_a_request_of_the_readers_own"],
    ),
    (
        Mutant {
            name: "of ranges, too",
            edits: &[Edit {
                path: RANGES,
                text: "if *is_joined && broken.is_of_its_request()",
                replacement: "if *is_joined && broken.is_of_its_request() && self.left.is_empty()",
            }],
        },
        ["joined", "joined_ranges_are_read_on_too"],
    ),
    (
        Mutant {
            name: "a cached block is not held until its reader gets there",
            edits: &[Edit {
                path: PLAN,
                text: "match self.budget.pinned(block.len() as u64) {",
                replacement: "match self.budget.pinned(block.len() as u64).filter(|_| false) {",
            }],
        },
        ["rewritten", "a_whole_read_fails_no_more_often_than_over_the_bare_store"],
    ),
    (
        Mutant {
            name: "a reader that falls behind another one of its fetch loses blocks",
            edits: &[Edit {
                path: FILL,
                text: "if is_wanted && before.permit.is_some() {",
                replacement: "if is_wanted && before.permit.is_none() {",
            }],
        },
        ["rewritten", "a_reader_that_shares_a_request_and_falls_behind_gets_the_version_that_it_began"],
    ),
    (
        Mutant {
            name: "only the first request of a read is answered before it begins",
            edits: &[Edit {
                path: READER,
                text: "future::join_all(self.parts.iter().map(Part::opened))",
                replacement: "future::join_all(self.parts.iter().take(1).map(Part::opened))",
            }],
        },
        ["rewritten", "a_whole_read_fails_no_more_often_than_over_the_bare_store"],
    ),
    (
        Mutant {
            name: "a small hole splits a request",
            edits: &[Edit {
                path: PLAN,
                text: "if plan.hole_len() > self.coalesce_gap {",
                replacement: "if plan.hole_len() > 0 {",
            }],
        },
        ["rewritten", "every_fourth_block_cached_the_rest_is_one_request"],
    ),
    (
        Mutant {
            name: "far ranges wait for the head",
            edits: &[Edit {
                path: RANGES,
                text: "let far = self.begin_far_ones(location, ranges, first).await;",
                replacement: "let far = self.begin_far_ones(location, ranges, first.filter(|_| false)).await;",
            }],
        },
        ["ranges", "far_ranges_take_one_round_trip_where_a_head_is_cached"],
    ),
    (
        Mutant {
            name: "an invalidation leaves the blocks",
            edits: &[Edit {
                path: FILLS,
                text: "Arc::clone(&self.blocks).remove_all(location, size).await;",
                replacement: "let _ = size;",
            }],
        },
        ["lies", "an_invalidation_drops_blocks_that_came_damaged"],
    ),
    (
        Mutant {
            name: "an invalidation leaves blocks that are on their way to the backend",
            edits: &[Edit {
                path: BLOCKS,
                text: "if is_error || turn.is_void() {",
                replacement: "if is_error {",
            }],
        },
        ["lies", "an_invalidation_drops_blocks_that_came_damaged"],
    ),
    (
        Mutant {
            name: "a fetch that was sent before an invalidation is joined after it",
            edits: &[Edit {
                path: FILL,
                text: "if !self.is_shared || self.is_void() || !self",
                replacement: "if !self.is_shared || !self",
            }],
        },
        ["lies", "what_comes_of_a_request_before_an_invalidation_is_not_kept"],
    ),
    (
        Mutant {
            name: "what is handed on after restarts is not looked at",
            edits: &[Edit {
                path: READ,
                text: "shared.pass_checked(location, options).await",
                replacement: "shared.pass(location, options).await",
            }],
        },
        ["lies", "what_is_passed_through_after_a_refusal_is_as_long_as_announced"],
    ),
    (
        Mutant {
            name: "a store without ranges is asked for nothing else",
            edits: &[Edit {
                path: FILLS,
                text: "Self::Pinned | Self::Ranged if is_whole => Some(Self::Whole),",
                replacement: "Self::Pinned | Self::Ranged if is_whole => None,",
            }],
        },
        ["refused", "a_body_that_was_begun_goes_on_by_the_whole_object"],
    ),
    (
        Mutant {
            name: "a read that begins anew asks for no new head",
            edits: &[Edit {
                path: READ,
                text: "        let _ = self.heads.expire(&head::key_of(location)).await;\n    }",
                replacement: "        let _ = location;\n    }",
            }],
        },
        ["versions", "nothing_given_out_the_read_begins_anew"],
    ),
    (
        Mutant {
            name: "a body that was replaced leaves the head as it is",
            edits: &[Edit {
                path: READER,
                text: "let _ = self.shared.heads.expire(&head::key_of(location)).await;",
                replacement: "",
            }],
        },
        ["versions", "something_given_out_it_is_an_error_and_never_a_mix"],
    ),
    (
        Mutant {
            name: "what went by shows nothing",
            edits: &[Edit {
                path: OBSERVE,
                text: "Ok(meta) => Some(Observation::Version(version_of(meta))),",
                replacement: "Ok(_) => None,",
            }],
        },
        ["policies", "what_went_by_shows_that_the_object_has_changed"],
    ),
    (
        Mutant {
            name: "what a list shows is not heard",
            edits: &[Edit {
                path: OBSERVE,
                text: "self.observe(&object.location, shown).await;",
                replacement: "let _ = shown;",
            }],
        },
        ["lists", "what_a_list_shows_to_have_changed_is_asked_about"],
    ),
    (
        Mutant {
            name: "a range that ends before it begins is handed on",
            edits: &[Edit {
                path: RANGES,
                text: "filter(|range| range.start > range.end)",
                replacement: "filter(|range| range.start > range.end && range.is_empty() && ranges.is_empty())",
            }],
        },
        ["ranges", "a_range_that_ends_before_it_begins_is_an_error"],
    ),
    (
        Mutant {
            name: "several ranges of what cannot be held are asked for twice",
            edits: &[Edit {
                path: RANGES,
                text: "let read = read_once(shared, location, ranges, first, answer, &status).await;",
                replacement: "let _ = (first, answer);
                    let read = pass(shared, location, ranges).await;",
            }],
        },
        ["ranges", "what_cannot_be_held_is_one_request_for_what_is_near"],
    ),
    (
        Mutant {
            name: "a put through the cache is not fenced",
            edits: &[Edit {
                path: WRITE,
                text: "    let _write = open(shared, location).await?;\n    let request = Request::send(&shared.fills, Op::Put",
                replacement: "    let request = Request::send(&shared.fills, Op::Put",
            }],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "the completion of an upload is not fenced",
            edits: &[Edit {
                path: WRITE,
                text: "    async fn complete(&mut self) -> Result<PutResult> {\n        let _write = open(&self.cached.shared, &self.location).await?;\n",
                replacement: "    async fn complete(&mut self) -> Result<PutResult> {\n",
            }],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "a copy is not fenced",
            edits: &[Edit {
                path: WRITE,
                text: "    let _write = open(shared, to).await?;\n",
                replacement: "",
            }],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "a rename fences its target alone",
            edits: &[Edit {
                path: WRITE,
                text: "(open(shared, from).await?, open(shared, to).await?)",
                replacement: "open(shared, to).await?",
            }],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "what a stream deletes is not fenced",
            edits: &[Edit {
                path: WRITE,
                text: "open(&shared, &location).await.map(|write| (location, write))",
                replacement: "open(&shared, &location).await.map(|write| (location, write.filter(|_| false)))",
            }],
        },
        ["writes", "no_read_after_a_write_is_older_than_it"],
    ),
    (
        Mutant {
            name: "a stream's deletions end when they are sent",
            edits: &[Edit {
                path: WRITE,
                text: "Deletion { request: Some(request), _write: write }",
                replacement: "Deletion { request: Some(request), _write: write.filter(|_| false) }",
            }],
        },
        ["writes", "a_location_whose_deletion_was_reported_is_held_again"],
    ),
    (
        Mutant {
            name: "an object that the predicate refuses is cached",
            edits: &[Edit {
                path: HEAD,
                text: "cache(&answer.meta, &answer.attributes)",
                replacement: "true",
            }],
        },
        ["settings", "what_the_predicate_refuses_is_read_each_time_and_not_kept"],
    ),
    (
        Mutant {
            name: "an error names an inner key",
            edits: &[Edit {
                path: "crates/cache-core/src/read_through/mod.rs",
                text: "error.with_shown_key(key, self.shown(key))",
                replacement: "error.with_shown_key(key, key)",
            }],
        },
        ["errors", "an_error_names_the_objects_path"],
    ),
    (
        Mutant {
            name: "an answer that was on its way while something newer was heard is kept",
            edits: &[Edit {
                path: CORE_OBSERVE,
                text: "Self::Other => false,",
                replacement: "Self::Other => true,",
            }],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a read joins a request that was sent before something was heard",
            edits: &[Edit { path: CORE_READ, text: "running.heard.is_nothing() && ", replacement: "" }],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a copy of another version than an answer showed is not marked",
            edits: &[Edit { path: CORE_OBSERVE, text: ".inspect(Entry::mark)", replacement: "" }],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "what is forbidden stays cached",
            edits: &[Edit {
                path: OBSERVE,
                text: "E::PermissionDenied { .. } | E::Unauthenticated { .. } => Some(Observation::Forbidden),",
                replacement: "E::PermissionDenied { .. } | E::Unauthenticated { .. } => None,",
            }],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a refused request for blocks is not heard",
            edits: &[Edit {
                path: OBSERVE,
                text: "self.observe(location, Observation::Forbidden).await;",
                replacement: "let _ = location;",
            }],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a refused condition is not heard",
            edits: &[Edit {
                path: OBSERVE,
                text: "Judgement::Holds => false,",
                replacement: "Judgement::Holds => true,",
            }],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "a copy's source is not heard",
            edits: &[Edit {
                path: WRITE,
                text: "shared.hear_error(from, error).await;",
                replacement: "let _ = error;",
            }],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "tags are compared with their quotes",
            edits: &[Edit {
                path: CORE_TAG,
                text: "    in_quotes.unwrap_or(opaque)\n",
                replacement: "    let _ = in_quotes;\n    opaque\n",
            }],
        },
        ["observations", "a_list_without_quotes_or_with_finer_dates_shows_the_same_version"],
    ),
    (
        Mutant {
            name: "dates are compared to the nanosecond",
            edits: &[Edit {
                path: CORE_TAG,
                text: " || one_nanos == 0 || other_nanos == 0",
                replacement: "",
            }],
        },
        ["observations", "a_list_without_quotes_or_with_finer_dates_shows_the_same_version"],
    ),
    (
        Mutant {
            name: "requests for blocks go round max_in_flight",
            edits: &[Edit {
                path: FILLS,
                text: "Some(heads) => heads.request_permit().await.map(Some),",
                replacement: "Some(_) => Ok(None),",
            }],
        },
        ["limits", "no_more_requests_of_reads_are_unanswered_at_once_than_max_in_flight"],
    ),
    (
        Mutant {
            name: "waiting for a permit counts as the store's silence",
            edits: &[Edit { path: FILL, text: "if source.queue.is_some() {", replacement: "if false {" }],
        },
        ["limits", "waiting_for_a_turn_is_not_the_stores_silence"],
    ),
    (
        Mutant {
            name: "a body that ends early is a hit",
            edits: &[Edit {
                path: READ_METER,
                text: "None if self.left > 0 => self.end(ReadResult::Error(ErrorKind::Unavailable)),",
                replacement: "",
            }],
        },
        ["results", "a_body_that_breaks_off_is_an_error_and_its_request_has_failed"],
    ),
    (
        Mutant {
            name: "a request whose body broke off is done",
            edits: &[Edit {
                path: FILL,
                text: "source.sent.fail(error.kind());",
                replacement: "let _ = (error, source);",
            }],
        },
        ["results", "a_body_that_breaks_off_is_an_error_and_its_request_has_failed"],
    ),
    (
        Mutant {
            name: "a read with fetched bytes is a hit",
            edits: &[Edit {
                path: READ_METER,
                text: "            _ if has_fetched => ReadResult::Fetched,\n",
                replacement: "",
            }],
        },
        ["results", "each_read_has_one_result"],
    ),
    (
        Mutant {
            name: "what is read ahead of time counts as hit or missed",
            edits: &[Edit { path: READER, text: "        self.is_read = false;\n", replacement: "" }],
        },
        ["results", "what_is_read_ahead_of_time_is_no_read_and_counts_no_blocks"],
    ),
    (
        Mutant {
            name: "a validation does not bring the bytes that are missing",
            edits: &[Edit {
                path: HEAD,
                text: "let options = match self.fills.missing(&snapshot, range).await {",
                replacement: "let options = match self.fills.missing(&snapshot, range).await.filter(|_| false) {",
            }],
        },
        ["get", "bytes_that_are_missing_come_with_the_validation"],
    ),
    (
        Mutant {
            name: "a suffix is not widened",
            edits: &[Edit {
                path: HEAD,
                text: "GetRange::Suffix(len.saturating_add(blocks.bytes_of(1)))",
                replacement: "GetRange::Suffix(*len)",
            }],
        },
        ["get", "a_suffix_that_was_read_once_is_one_request_without_a_body"],
    ),
    (
        Mutant {
            name: "an error that is another reader's is this one's",
            edits: &[Edit {
                path: READ,
                text: "            if want.was_sent() {\n                self.hear",
                replacement: "            if want.was_sent() || key.len() > 1 {\n                self.hear",
            }],
        },
        ["conditions", "a_condition_of_one_reader_is_not_the_answer_to_another"],
    ),
    (
        Mutant {
            name: "a foreign tag is refused by a head of some age",
            edits: &[Edit {
                path: READ,
                text: "Some(Judgement::OtherTag) if self.is_of_before() => return Verdict::Revalidate,",
                replacement: "",
            }],
        },
        ["conditions", "if_match_is_answered_from_a_head_that_is_fresh_enough"],
    ),
    (
        Mutant {
            name: "a range past the end is judged by a head of some age",
            edits: &[Edit {
                path: READ,
                text: "Some(Err(error)) if !self.is_of_before() && self.snapshot.is_pinned() => {",
                replacement: "Some(Err(error)) => {",
            }],
        },
        ["observations", "what_any_answer_shows_is_heard_by_the_reads_after_it"],
    ),
    (
        Mutant {
            name: "changed metadata do not replace a head",
            edits: &[Edit {
                path: HEAD,
                text: "        && one.last_modified() == other.last_modified()\n",
                replacement: "",
            }],
        },
        ["metadata", "changed_metadata_are_seen_though_the_tag_is_the_same"],
    ),
];
