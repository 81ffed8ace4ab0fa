//! The faults of the validator and its probe, with the test that must find each: of `cache-store`'s
//! `tests/it`, by file and name.

use super::{Edit, Mutant};

const ERROR: &str = "crates/cache-store/src/error.rs";
const PROBE: &str = "crates/cache-store/src/probe.rs";
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
];
