//! Two tiers that keep stamps apart from bytes: for each rule about them, a fault that breaks it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use cache_core::Backend;
use cache_testkit::{
    SimulatedDisk, TwoTierBackend, TwoTierFault,
    conformance::backend::{self, Capabilities, RULES, Suite},
};

use crate::broken;

/// For each rule, what must be caught by it.
pub(crate) const CASES: &[(&str, &[TwoTierFault])] = &[
    ("a_look_up_under_way_brings_nothing_back", &[TwoTierFault::PromotesUnseen]),
    ("a_removed_entry_is_not_shown", &[TwoTierFault::RemovesFromMemoryAlone]),
    ("after_a_clear_nothing_is_shown", &[TwoTierFault::ClearsMemoryAlone]),
    ("an_evicted_entry_uncovers_no_older_one", &[TwoTierFault::LeavesOlderBytes]),
    ("a_closed_backend_shows_no_stamp", &[TwoTierFault::StoresSeals, TwoTierFault::ClearsOnClose]),
    ("what_outlives_the_process_comes_back_without_a_stamp", &[TwoTierFault::StoresSeals]),
    ("a_closed_backend_keeps_to_its_word", &[TwoTierFault::StoresAfterClose]),
    (
        "a_mark_is_never_lost",
        &[
            TwoTierFault::MarksMemoryAlone,
            TwoTierFault::SealsTooEarly,
            TwoTierFault::KeepsFirstSeal,
            TwoTierFault::PromotesUnseen,
        ],
    ),
    (
        "a_stamp_is_as_the_last_call_left_it",
        &[TwoTierFault::MissesRenewals, TwoTierFault::KeepsFirstSeal],
    ),
    ("a_renewal_of_a_replaced_entry_renews_nothing", &[TwoTierFault::RenewsAnyVersion]),
];

#[tokio::test]
async fn for_each_rule_of_tiers_something_broken_is_caught() {
    for (rule, faults) in CASES {
        let checks = RULES.iter().find(|known| known.name == *rule).unwrap();
        for fault in *faults {
            broken(rule, fault, checks.run(&tiers(15, Some(*fault))).await);
        }
    }
}

#[tokio::test]
async fn two_tiers_keep_the_contract() {
    for memory_max in [0, 1, 15] {
        println!("{memory_max}: {}", backend::check(&tiers(memory_max, None)).await.unwrap());
    }
}

#[tokio::test]
async fn a_backend_that_loses_stamps_keeps_the_contract() {
    // Without its stamp, nothing tells that an entry has expired.
    let can = Capabilities::new().waits().outlives_the_process();
    let suite = opening(can, |disk| TwoTierBackend::new(5).losing_stamps().on(disk));
    println!("{}", backend::check(&suite).await.unwrap());
}

fn tiers(memory_max: usize, fault: Option<TwoTierFault>) -> Suite {
    opening(Capabilities::new().waits().outlives_the_process().sweeps(), move |disk| {
        let backend = TwoTierBackend::new(memory_max);
        let backend = match fault {
            Some(fault) => backend.fault(fault),
            None => backend,
        };
        backend.on(disk)
    })
}

fn opening(
    can: Capabilities,
    open: impl Fn(&SimulatedDisk) -> TwoTierBackend + Send + Sync + 'static,
) -> Suite {
    let disks: Mutex<HashMap<u64, SimulatedDisk>> = Mutex::default();
    Suite::new(can.max_entries(ENTRIES_MAX as u64), move |number| {
        let disk = disks.lock().unwrap().entry(number).or_default().clone();
        let backend = open(&disk).max_entries(ENTRIES_MAX);
        async move { Arc::new(backend) as Arc<dyn Backend> }
    })
}

const ENTRIES_MAX: usize = 60;
