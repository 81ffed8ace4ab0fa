//! The faults of the validator and its probe, with the test that must find each: of `cache-store`'s
//! `tests/it`, by file and name.

use super::{Edit, Mutant};

pub(super) const MUTANTS: &[(Mutant, [&str; 2])] = &[
    (
        Mutant {
            name: "a conflict of writers says that the object exists",
            edits: &[Edit::delete("writer_conflict")],
        },
        ["conflicts", "a_conflict_of_writers_does_not_say_that_the_object_exists"],
    ),
    (
        Mutant {
            name: "the path of an object is searched for a conflict",
            edits: &[Edit::replace(
                "conflict_prefix",
                "strip_prefix(STATUS_409",
                "replace(\"%20\", \" \").split_once(STATUS_409).map(|(_, code)| code",
            )],
        },
        ["conflicts", "a_path_that_looks_like_a_conflict_is_none"],
    ),
    (
        Mutant {
            name: "a failed probe is repeated by each read",
            edits: &[Edit::replace(
                "probe_pause",
                "last| verifier.clock.now() < last.until",
                "_| false",
            )],
        },
        ["verify", "a_credential_that_may_not_put_is_told_which_right_is_missing_and_where"],
    ),
    (
        Mutant {
            name: "the pause after a failed probe does not grow",
            edits: &[Edit::replace("probe_backoff", "(last.pause * 2)", "last.pause")],
        },
        ["verify", "a_probe_that_failed_is_made_again_after_a_pause_that_doubles"],
    ),
    (
        Mutant {
            name: "each probe has objects of its own",
            edits: &[Edit::replace("probe_arguments", "self.name", "unique_name(&self.prefix)")],
        },
        ["verify", "a_probe_that_is_dropped_is_taken_over"],
    ),
    (
        Mutant {
            name: "a request of the probe may take for ever",
            edits: &[Edit::replace("probe_arguments", "limit", "limit.saturating_mul(1000)")],
        },
        ["verify", "a_store_that_hangs_is_not_probed_by_each_reader"],
    ),
    (
        Mutant {
            name: "an object that may not be deleted is taken for an absent one",
            edits: &[Edit::replace(
                "undeletable_object",
                " {}",
                " return Ok((last.clone(), true)),",
            )],
        },
        ["verify", "a_credential_that_may_not_delete_reads_and_leaves_one_object"],
    ),
    (
        Mutant {
            name: "metadata beside the date is not compared",
            edits: &[Edit::delete("same_attributes")],
        },
        ["metadata", "what_was_put_is_unchanged_until_there_is_metadata"],
    ),
    (
        Mutant {
            name: "a date of another write confirms the metadata",
            edits: &[Edit::replace(
                "same_date",
                "date| Some(date) == version.last_modified",
                "_| true",
            )],
        },
        ["metadata", "another_date_is_another_entry"],
    ),
    (
        Mutant {
            name: "a tag made of a timestamp names the bytes of two dates",
            edits: &[Edit::replace(
                "tag_names_bytes",
                " && self.strength == ValidatorStrength::Strong",
                "",
            )],
        },
        ["metadata", "a_tag_made_of_a_timestamp_names_no_bytes_across_two_dates"],
    ),
    (
        Mutant { name: "one tag names bodies of two lengths", edits: &[Edit::delete("same_size")] },
        ["metadata", "other_bytes_are_fetched_without_a_condition"],
    ),
    (
        Mutant {
            name: "the GET behind a HEAD is conditional",
            edits: &[Edit::replace("get_unconditional", "held = None,", "{}")],
        },
        ["metadata", "other_bytes_are_fetched_without_a_condition"],
    ),
    (
        Mutant {
            name: "a HEAD's weak tag confirms a strong one",
            edits: &[Edit::replace(
                "same_weakness",
                " && tag::is_weak(held) == tag::is_weak(now)",
                "",
            )],
        },
        ["metadata", "a_weak_tag_is_the_same_only_where_weak_tags_are_accepted"],
    ),
    (
        Mutant {
            name: "an entry has the tag as a HEAD spells it",
            edits: &[Edit::delete("tag_spelling")],
        },
        ["metadata", "a_tag_without_quotes_is_the_same_tag"],
    ),
    (
        Mutant {
            name: "a directory bucket lists in order",
            edits: &[Edit::replace(
                "directory_buckets",
                "!bucket.ends_with(\"--x-s3\") && !bucket.ends_with(\"--xa-s3\")",
                "!bucket.is_empty()",
            )],
        },
        ["lists", "a_directory_bucket_may_list_in_any_order"],
    ),
    (
        Mutant {
            name: "a part of a page counts as requested when it is polled",
            edits: &[Edit::replace("requested_when_polled", " && has_waited", "")],
        },
        ["lists", "a_part_of_a_page_is_of_the_moment_of_the_whole"],
    ),
    (
        Mutant {
            name: "a page counts as requested when it is waited for",
            edits: &[Edit::replace("requested_when_polled", " && !was_requested", "")],
        },
        ["lists", "a_part_of_a_page_is_of_the_moment_of_the_whole"],
    ),
    (
        Mutant {
            name: "the next page of a list is requested ahead",
            edits: &[Edit::replace("whole_pages", "objects.len() == PAGE", "objects.len() > PAGE")],
        },
        ["lists", "a_part_of_a_page_is_of_the_moment_of_the_whole"],
    ),
    (
        Mutant {
            name: "the marker of a folder misorders a list",
            edits: &[Edit::replace("markers", "object.size == 0", "object.size == 1")],
        },
        ["lists", "markers_of_folders_do_not_misorder_a_list"],
    ),
    (
        Mutant {
            name: "a list renews by a tag that counts as weak",
            edits: &[Edit::replace(
                "lists_weak",
                "strength == ValidatorStrength::Weak",
                "strength == ValidatorStrength::None",
            )],
        },
        ["lists", "weak_tags_renew_nothing"],
    ),
    (
        Mutant {
            name: "a list begins behind its prefix",
            edits: &[Edit::replace("list_offset", "last - 1", "last")],
        },
        ["lists", "a_prefix_is_meant_byte_for_byte"],
    ),
    (
        Mutant {
            name: "a list has all that is in the folder of its prefix",
            edits: &[Edit::replace(
                "prefix_by_bytes",
                "path.starts_with(&*self.prefix) && self",
                "self",
            )],
        },
        ["lists", "a_prefix_is_meant_byte_for_byte"],
    ),
    (
        Mutant {
            name: "the probe takes a missing object on a list for none",
            edits: &[Edit::replace(
                "lists_lag",
                "= listed else { return Ok(Support::Racy)",
                "= listed else { return Ok(Support::Honored)",
            )],
        },
        ["probe", "lists_that_lag_behind_are_found"],
    ),
];
