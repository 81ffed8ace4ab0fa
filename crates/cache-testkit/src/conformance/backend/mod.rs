//! The contract of [`Backend`](cache_core::Backend), sentence by sentence.
//!
//! A rule opens a backend of its own, or several, calls it as `ReadThrough` would, and looks. After
//! each call a rule expects what the backend has declared: see [`Capabilities`].
//!
//! What no suite can see from outside: that `get_now` reads no clock, and counts as one use of the
//! entry. And a backend that holds nothing keeps every rule but those that want what was inserted
//! back; see [`Capabilities::forgets`].

mod begun;
mod capabilities;
mod counted;
mod evictions;
mod gone;
mod looks;
mod many;
mod probe;
mod shown;
mod stamps;
mod suite;
mod walk;

pub use self::{
    begun::{
        a_look_up_under_way_brings_nothing_back, an_entry_replaced_in_a_burst_is_not_shown,
        what_a_closed_cache_held_is_not_shown, what_is_read_after_a_clear_is_served_again,
    },
    capabilities::Capabilities,
    counted::{
        a_sweep_drops_what_has_expired, a_sweep_spares_what_has_not_expired,
        the_limits_hold_after_each_call, usage_counts_what_is_shown, whoever_left_is_counted_once,
    },
    evictions::{a_closed_backend_keeps_to_its_word, each_entry_that_leaves_is_reported_once},
    gone::{
        a_dropped_future_has_no_later_effect, a_refused_entry_drops_the_earlier_one,
        a_removed_entry_is_not_shown, a_replaced_entry_is_not_shown,
        after_a_clear_nothing_is_shown, an_evicted_entry_uncovers_no_older_one,
    },
    looks::{
        a_closed_backend_shows_no_stamp, a_peek_counts_no_use, a_peek_shows_what_is_at_hand,
        contains_agrees_with_look_ups, what_is_stored_at_once_is_shown,
    },
    many::{many_tasks_at_once_find_their_own, peek_does_not_block},
    shown::{
        a_look_up_shows_the_inserted_entry_itself, an_entry_comes_back_whole,
        each_key_shows_its_own_entry, memory_answers_in_peek_alone,
        what_outlives_the_process_comes_back_without_a_stamp,
    },
    stamps::{
        a_mark_is_never_lost, a_renewal_of_a_replaced_entry_renews_nothing,
        a_stamp_is_as_the_last_call_left_it,
    },
    suite::Suite,
};
use super::{Broken, Report, Rule, check_all, rules};

/// All rules, in the order in which [`check`] goes through them.
pub const RULES: &[Rule<Suite>] = rules![
    each_key_shows_its_own_entry,
    an_entry_comes_back_whole,
    a_look_up_shows_the_inserted_entry_itself,
    memory_answers_in_peek_alone,
    what_outlives_the_process_comes_back_without_a_stamp,
    a_peek_counts_no_use,
    a_peek_shows_what_is_at_hand,
    contains_agrees_with_look_ups,
    what_is_stored_at_once_is_shown,
    a_removed_entry_is_not_shown,
    after_a_clear_nothing_is_shown,
    a_replaced_entry_is_not_shown,
    a_refused_entry_drops_the_earlier_one,
    an_evicted_entry_uncovers_no_older_one,
    a_look_up_under_way_brings_nothing_back,
    an_entry_replaced_in_a_burst_is_not_shown,
    what_is_read_after_a_clear_is_served_again,
    what_a_closed_cache_held_is_not_shown,
    a_closed_backend_shows_no_stamp,
    a_closed_backend_keeps_to_its_word,
    a_mark_is_never_lost,
    a_stamp_is_as_the_last_call_left_it,
    a_renewal_of_a_replaced_entry_renews_nothing,
    each_entry_that_leaves_is_reported_once,
    a_dropped_future_has_no_later_effect,
    a_sweep_spares_what_has_not_expired,
    a_sweep_drops_what_has_expired,
    the_limits_hold_after_each_call,
    usage_counts_what_is_shown,
    whoever_left_is_counted_once,
    peek_does_not_block,
    many_tasks_at_once_find_their_own,
];

/// Checks all rules.
///
/// # Errors
///
/// [`Broken`], with all that are broken.
pub async fn check(suite: &Suite) -> Result<Report, Broken> {
    check_all(suite, RULES).await
}
