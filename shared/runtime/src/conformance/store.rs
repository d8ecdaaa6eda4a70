//! The claims that every [`Store`] keeps, each under its own name; `store_conformance!` makes a
//! test of each.
use crate::store::Store;
use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use std::sync::Arc;

mod commits;
mod deferred;
mod journal;
mod outbox;
mod parked;
mod reads;
mod requests;
mod rows;
mod timers;
mod units;

/// Where an implementation is tried: one stage for one claim.
#[async_trait]
pub trait Stage: Send + Sync {
    /// A new and empty store. Called once.
    async fn fresh(&self) -> Arc<dyn Store>;

    /// The same store after a restart of its process; none if nothing is meant to survive that.
    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>>;

    /// Lets so much time pass by the store's clock: by sleeping, or by moving the clock.
    async fn pass(&self, ms: u64);
}

/// A claim, and the code that tries it; it panics where the claim is broken.
pub type Claim = (&'static str, for<'a> fn(&'a dyn Stage) -> LocalBoxFuture<'a, ()>);

/// Writes the list of claims once, for [`CLAIMS`] and for the macro that makes a test of each.
macro_rules! claims {
    ($d:tt $($module:ident::$name:ident,)*) => {
        /// All claims, for harnesses of their own, such as a simulation.
        pub const CLAIMS: &[Claim] =
            &[$((stringify!($name), |stage| Box::pin($module::$name(stage))),)*];

        /// Tries one claim by its name.
        ///
        /// # Panics
        /// If the claim is broken, or there is no claim of that name.
        pub async fn check(name: &str, stage: &dyn Stage) {
            let claim = CLAIMS.iter().find(|(claim, _)| *claim == name);
            claim.expect("a name out of the list of claims").1(stage).await;
        }

        /// Makes a `#[tokio::test]` of every claim; the expression makes a new [`Stage`] for each.
        #[macro_export]
        macro_rules! store_conformance {
            ($d stage:expr) => {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $name() {
                        let stage = $d stage;
                        $d crate::conformance::store::check(stringify!($name), &stage).await;
                    }
                )*
            };
        }
    };
}

claims! { $
    commits::a_commit_writes_all_that_it_was_given,
    commits::a_commit_that_fails_writes_nothing_whatever_made_it_fail,
    commits::a_failed_commit_leaves_no_gap_in_the_positions,
    commits::an_empty_commit_has_no_position,
    commits::many_transitions_of_one_entity_fit_in_one_commit,
    commits::a_batch_of_256_messages_is_one_commit,
    commits::everything_is_still_there_after_a_restart,
    units::dropping_a_unit_changes_nothing,
    units::positions_are_dense_and_start_at_one_under_concurrent_commits,
    units::of_two_units_that_write_the_same_version_one_conflicts_and_leaves_nothing,
    units::of_two_units_with_the_same_message_one_conflicts,
    units::an_older_version_does_not_replace_a_newer_one,
    units::two_units_never_decide_on_what_the_other_is_changing,
    units::a_message_deferred_while_its_entity_moves_is_not_left_behind,
    reads::an_entity_comes_back_byte_by_byte,
    reads::what_is_unknown_is_absent,
    reads::what_was_consumed_is_seen_with_its_hash,
    reads::a_unit_may_load_several_times,
    reads::any_unicode_is_kept,
    reads::entities_are_listed_by_prefix_in_the_order_of_their_bytes,
    reads::overdue_entities_are_open_and_late_the_longest_overdue_first,
    reads::the_census_counts_what_is_there,
    journal::a_transition_comes_back_whole,
    journal::the_history_of_entities_is_in_the_order_of_positions,
    journal::the_journal_is_read_on_from_any_position,
    timers::a_timer_comes_out_whole_and_only_when_it_is_due,
    timers::a_timer_fires_once,
    timers::arming_a_timer_again_moves_it,
    timers::a_cancelled_timer_never_comes_out,
    timers::cancelling_what_is_not_there_is_harmless,
    timers::a_timer_that_fires_may_be_armed_again_in_the_same_commit,
    timers::due_work_is_not_handed_out_twice_within_its_lease,
    timers::due_work_comes_out_again_after_its_lease,
    timers::no_more_due_work_comes_out_than_asked_for,
    timers::the_wait_for_the_next_due_work_is_known,
    requests::a_request_comes_out_whole_and_counts_its_attempts,
    requests::a_request_grows_old_by_the_clock_of_the_store,
    requests::a_claimed_request_is_not_handed_out_twice_within_its_lease,
    requests::a_request_is_handed_out_again_after_its_lease,
    requests::a_released_request_comes_out_when_it_was_said,
    requests::a_request_is_answered_once,
    deferred::a_deferred_message_comes_back_whole_with_its_entity,
    deferred::a_message_that_was_taken_waits_no_more,
    deferred::a_message_is_taken_once,
    deferred::a_deferred_message_expires,
    parked::a_parked_message_comes_back_whole,
    parked::parked_messages_are_found_by_id_reason_name_and_status,
    parked::a_decision_changes_each_message_once,
    parked::a_redriven_message_comes_out_until_it_was_tried,
    parked::a_message_that_was_tried_again_is_not_handed_out_after_its_lease,
    parked::a_message_that_fails_again_is_parked_again,
    parked::a_decision_is_remembered_with_who_and_why,
    outbox::published_messages_are_listed_after_their_age_until_confirmed,
    outbox::a_commit_that_published_nothing_is_never_listed,
    outbox::unconfirmed_commits_are_listed_once_within_their_age,
    outbox::unconfirmed_commits_are_listed_oldest_first_up_to_the_limit,
    outbox::attempts_are_counted_by_message,
    outbox::purging_takes_only_what_is_old_and_says_how_much,
}
