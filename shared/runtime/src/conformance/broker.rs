//! The claims that every [`Broker`] keeps, each under its own name; `broker_conformance!` makes a
//! test of each.
use crate::broker::Broker;
use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use std::sync::Arc;

mod publishing;
mod receiving;
mod rows;

/// Where an implementation is tried: one stage for one claim.
#[async_trait]
pub trait Stage: Send + Sync {
    /// A broker without exchanges and queues. Called once.
    async fn fresh(&self) -> Arc<dyn Broker>;
}

/// A claim, and the code that tries it; it panics where the claim is broken.
pub type Claim = (&'static str, for<'a> fn(&'a dyn Broker) -> LocalBoxFuture<'a, ()>);

/// Writes the list of claims once, for [`CLAIMS`] and for the macro that makes a test of each.
macro_rules! claims {
    ($d:tt $($module:ident::$name:ident,)*) => {
        /// All claims, for harnesses of their own, such as a simulation.
        pub const CLAIMS: &[Claim] =
            &[$((stringify!($name), |broker| Box::pin($module::$name(broker))),)*];

        /// Tries one claim by its name, and closes the broker.
        ///
        /// # Panics
        /// If the claim is broken, or there is no claim of that name.
        pub async fn check(name: &str, stage: &dyn Stage) {
            let claim = CLAIMS.iter().find(|(claim, _)| *claim == name);
            let broker = stage.fresh().await;
            claim.expect("a name out of the list of claims").1(&*broker).await;
            broker.close().await;
        }

        /// Makes a `#[tokio::test]` of every claim; the expression makes a new [`Stage`] for each.
        #[macro_export]
        macro_rules! broker_conformance {
            ($d stage:expr) => {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $name() {
                        let stage = $d stage;
                        $d crate::conformance::broker::check(stringify!($name), &stage).await;
                    }
                )*
            };
        }
    };
}

claims! { $
    publishing::a_message_reaches_every_queue_bound_to_its_key,
    publishing::a_queue_gets_only_what_it_is_bound_to,
    publishing::a_batch_arrives_in_its_order,
    publishing::a_message_arrives_as_it_was_sent,
    publishing::a_body_of_256_kib_arrives_whole,
    publishing::a_bundle_is_one_delivery,
    publishing::an_unroutable_bundle_is_told_with_all_its_messages,
    publishing::what_no_queue_wants_is_told_per_message_in_a_batch_of_500,
    publishing::a_missing_exchange_refuses_only_what_was_sent_there,
    publishing::eight_tasks_publish_at_once_and_each_gets_its_own_answers,
    publishing::an_empty_batch_is_confirmed,
    publishing::declaring_twice_is_harmless,
    publishing::a_binding_declared_later_routes_from_then_on,
    publishing::depth_counts_what_waits,
    publishing::a_queue_that_is_not_there_is_refused,
    receiving::what_was_not_acknowledged_comes_again_in_order_and_flagged,
    receiving::an_acknowledgement_settles_all_before_it_and_may_be_repeated,
    receiving::tags_grow_by_one_from_one_for_each_consumer,
    receiving::no_more_than_the_prefetch_is_out,
    receiving::receive_takes_what_is_there_up_to_max,
    receiving::receive_waits_for_the_first_delivery,
    receiving::giving_up_a_receive_loses_nothing,
    receiving::two_consumers_share_a_queue,
    receiving::closing_gives_back_what_was_out,
    receiving::a_consumer_of_a_closed_broker_fails,
}
