//! The faults of the validator and its probe, with the test that must find each: of `cache-store`'s
//! `tests/it`, by file and name.

use super::{Edit, Mutant};

const ERROR: &str = "crates/cache-store/src/error.rs";
const PROBE: &str = "crates/cache-store/src/probe.rs";
const VALIDATOR: &str = "crates/cache-store/src/validator.rs";
const VERIFY: &str = "crates/cache-store/src/verify.rs";

pub(super) const MUTANTS: &[(Mutant, [&str; 2])] = &[
    (
        Mutant {
            name: "a conflict of writers says that the object exists",
            edits: &[Edit {
                path: ERROR,
                text: "E::AlreadyExists { .. } if is_conflict(error) => CONFLICT,",
                replacement: "",
            }],
        },
        ["conflicts", "a_conflict_of_writers_does_not_say_that_the_object_exists"],
    ),
    (
        Mutant {
            name: "the path of an object is searched for a conflict",
            edits: &[Edit {
                path: ERROR,
                text: "error.to_string().strip_prefix(STATUS_409)",
                replacement: "error.to_string().replace(\"%20\", \" \").split_once(STATUS_409).map(|(_, code)| code)",
            }],
        },
        ["conflicts", "a_path_that_looks_like_a_conflict_is_none"],
    ),
    (
        Mutant {
            name: "a failed probe is repeated by each read",
            edits: &[Edit {
                path: VERIFY,
                text: ".filter(|last| verifier.clock.now() < last.until)",
                replacement: ".filter(|_| false)",
            }],
        },
        ["verify", "a_credential_that_may_not_put_is_told_which_right_is_missing_and_where"],
    ),
    (
        Mutant {
            name: "the pause after a failed probe does not grow",
            edits: &[Edit { path: VERIFY, text: "(last.pause * 2)", replacement: "last.pause" }],
        },
        ["verify", "a_probe_that_failed_is_made_again_after_a_pause_that_doubles"],
    ),
    (
        Mutant {
            name: "each probe has objects of its own",
            edits: &[Edit {
                path: VERIFY,
                text: "&self.name, Some(self.limit)",
                replacement: "&unique_name(&self.prefix), Some(self.limit)",
            }],
        },
        ["verify", "a_probe_that_is_dropped_is_taken_over"],
    ),
    (
        Mutant {
            name: "a request of the probe may take for ever",
            edits: &[Edit {
                path: VERIFY,
                text: "&self.name, Some(self.limit)",
                replacement: "&self.name, Some(self.limit.saturating_mul(1000))",
            }],
        },
        ["verify", "a_store_that_hangs_is_not_probed_by_each_reader"],
    ),
    (
        Mutant {
            name: "an object that may not be deleted is taken for an absent one",
            edits: &[Edit {
                path: PROBE,
                text: "                Err(_) => {}\n            }\n        }\n        let name",
                replacement: "                Err(_) => return Ok((last.clone(), true)),\n            }\n        }\n        let name",
            }],
        },
        ["verify", "a_credential_that_may_not_delete_reads_and_leaves_one_object"],
    ),
    (
        Mutant {
            name: "metadata beside the date is not compared",
            edits: &[Edit {
                path: VALIDATOR,
                text: "            && *held.attributes() == attributes\n",
                replacement: "",
            }],
        },
        ["metadata", "what_was_put_is_unchanged_until_there_is_metadata"],
    ),
    (
        Mutant {
            name: "a date of another write confirms the metadata",
            edits: &[Edit {
                path: VALIDATOR,
                text: "is_none_or(|date| Some(date) == version.last_modified)",
                replacement: "is_none_or(|_| true)",
            }],
        },
        ["metadata", "another_date_is_another_entry"],
    ),
    (
        Mutant {
            name: "a tag made of a timestamp names the bytes of two dates",
            edits: &[Edit {
                path: VALIDATOR,
                text: "held.e_tag().is_some() && self.strength == ValidatorStrength::Strong",
                replacement: "held.e_tag().is_some()",
            }],
        },
        ["metadata", "a_tag_made_of_a_timestamp_names_no_bytes_across_two_dates"],
    ),
    (
        Mutant {
            name: "one tag names bodies of two lengths",
            edits: &[Edit {
                path: VALIDATOR,
                text: "            && held.body().len() as u64 == version.size\n",
                replacement: "",
            }],
        },
        ["metadata", "other_bytes_are_fetched_without_a_condition"],
    ),
    (
        Mutant {
            name: "the GET behind a HEAD is conditional",
            edits: &[Edit { path: VALIDATOR, text: "None => held = None,", replacement: "None => {}" }],
        },
        ["metadata", "other_bytes_are_fetched_without_a_condition"],
    ),
    (
        Mutant {
            name: "a HEAD's weak tag confirms a strong one",
            edits: &[Edit {
                path: VALIDATOR,
                text: " && tag::is_weak(held) == tag::is_weak(now)",
                replacement: "",
            }],
        },
        ["metadata", "a_weak_tag_is_the_same_only_where_weak_tags_are_accepted"],
    ),
    (
        Mutant {
            name: "an entry has the tag as a HEAD spells it",
            edits: &[Edit {
                path: VALIDATOR,
                text: "        version.e_tag = held.e_tag().map(Into::into);\n",
                replacement: "",
            }],
        },
        ["metadata", "a_tag_without_quotes_is_the_same_tag"],
    ),
];
