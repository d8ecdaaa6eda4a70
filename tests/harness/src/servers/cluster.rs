//! Three nodes of RabbitMQ on loopback, one of which can be parted from the others.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::rabbitmq::RabbitMq;

/// How long the nodes may take to agree on a leader.
const ELECTION: Duration = Duration::from_secs(60);

/// Between two questions.
const POLL: Duration = Duration::from_millis(500);

/// The least with a majority when one is missing.
const NODES: usize = 3;

/// A cluster of one test. It pauses whoever is in the minority.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<RabbitMq>,
}

impl Cluster {
    /// Starts the nodes one after the other and joins them; about half a minute.
    pub fn start() -> Result<Cluster> {
        let first = RabbitMq::start()?;
        let mut nodes = vec![first];
        while nodes.len() < NODES {
            let next = RabbitMq::start_beside(Some(&nodes[0]))?;
            next.stop_app()?;
            next.rabbitmqctl(&["join_cluster", &nodes[0].node_name()])?;
            next.start_app()?;
            nodes.push(next);
        }
        Ok(Cluster { nodes })
    }

    /// All nodes, of which the first makes virtual hosts.
    pub fn nodes(&self) -> &[RabbitMq] {
        &self.nodes
    }

    /// The node that leads a quorum queue.
    pub fn leader(&self, vhost: &str, queue: &str) -> Result<usize> {
        let asked = ["list_queues", "-p", vhost, "--no-table-headers", "name", "leader"];
        let until = Instant::now() + ELECTION;
        loop {
            // A node that was parted may know less than the others for a while.
            let told = self.nodes.iter().filter_map(|node| node.rabbitmqctl(&asked).ok());
            let line = format!("{queue}\t");
            let leader =
                told.flat_map(|told| told.lines().map(ToOwned::to_owned).collect::<Vec<_>>());
            let leader = leader.filter_map(|told| told.strip_prefix(&line).map(ToOwned::to_owned));
            let mut found = leader.filter_map(|leader| {
                self.nodes.iter().position(|node| node.node_name() == leader.trim())
            });
            if let Some(found) = found.next() {
                return Ok(found);
            }
            ensure!(Instant::now() < until, "nobody leads {queue} after {ELECTION:?}");
            std::thread::sleep(POLL);
        }
    }

    /// Parts one node from the others: they refuse each other from now on.
    pub fn part(&self, one: usize) -> Result<()> {
        // Whom one gives another cookie one cannot reach any more, nor be reached by.
        self.each_pair(one, "erlang:set_cookie(N, parted), erlang:disconnect_node(N)")?;
        let sees = self.nodes[one].rabbitmqctl(&["eval", "length(nodes())."])?;
        ensure!(sees.trim() == "0", "the node that was parted still sees {} others", sees.trim());
        Ok(())
    }

    /// Lets it find the others again.
    pub fn heal(&self, one: usize) -> Result<()> {
        self.each_pair(one, "erlang:set_cookie(N, erlang:get_cookie()), net_adm:ping(N)")
    }

    fn each_pair(&self, one: usize, expression: &str) -> Result<()> {
        let apart = &self.nodes[one];
        for other in self.nodes.iter().filter(|node| node.node_name() != apart.node_name()) {
            // At one side alone: the same wrong cookie at both would be a right one.
            let told = format!("begin N = '{}', {expression} end.", other.node_name());
            apart.rabbitmqctl(&["eval", &told])?;
        }
        Ok(())
    }
}
