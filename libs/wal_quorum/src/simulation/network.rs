//! Links between computes and safekeepers: each direction keeps order, delays,
//! and once a message was lost delivers nothing more.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

use crate::proposer::ConnectionId;

/// One connection of one compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub compute: usize,
    pub connection: ConnectionId,
}

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// A side that hears nothing for this long takes the link for closed.
    pub keepalive_ms: u64,
    pub min_delay_ms: u64,
    pub max_delay_ms: u64,
    /// Probability that connecting is silently lost.
    pub connect_loss: f64,
    /// Probability that a message, and everything after it, is lost.
    pub send_loss: f64,
}

impl NetworkOptions {
    /// Quick and without losses.
    pub fn reliable() -> Self {
        Self {
            keepalive_ms: 2000,
            min_delay_ms: 1,
            max_delay_ms: 5,
            connect_loss: 0.0,
            send_loss: 0.0,
        }
    }

    /// As bad as a seed wants it.
    pub fn random(rng: &mut StdRng) -> Self {
        let keepalive_ms = rng.random_range(100..2000);
        // Every second network is quick: long delays leave no time for trouble.
        let bound_ms = if rng.random() { 2 * keepalive_ms } else { 50 };
        let max_delay_ms = rng.random_range(1..bound_ms);
        let connect_loss = rng.random_range(0.0..0.9) * rng.random_range(0.0..1.0);
        let send_loss = 0.1 * connect_loss * rng.random_range(0.0..1.0);
        Self {
            keepalive_ms,
            min_delay_ms: rng.random_range(1..=max_delay_ms),
            max_delay_ms,
            connect_loss,
            send_loss,
        }
    }
}

/// One end of a link, as far as its incoming messages go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direction {
    pub broken: bool,
    /// When the last message sent will have arrived.
    last_arrival_ms: u64,
    /// When the receiver last heard something.
    pub heard_ms: u64,
}

/// Both directions of a link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    pub to_safekeeper: Direction,
    pub to_compute: Direction,
}

/// All links that are up, and who is cut off.
#[derive(Debug)]
pub struct Network {
    pub options: NetworkOptions,
    pub links: BTreeMap<LinkId, Link>,
    /// Per safekeeper: until when nothing reaches or leaves it.
    pub cut_off_until_ms: Vec<u64>,
}

impl Network {
    pub fn new(options: NetworkOptions, safekeepers: usize) -> Self {
        Self { options, links: BTreeMap::new(), cut_off_until_ms: vec![0; safekeepers] }
    }

    pub fn delay_ms(&self, rng: &mut StdRng) -> u64 {
        rng.random_range(self.options.min_delay_ms..=self.options.max_delay_ms)
    }

    pub fn is_cut_off(&self, safekeeper: usize, now_ms: u64) -> bool {
        self.cut_off_until_ms[safekeeper] > now_ms
    }

    /// When a message sent now arrives; `None`: never.
    pub fn send(
        &mut self,
        id: LinkId,
        to_safekeeper: bool,
        now_ms: u64,
        rng: &mut StdRng,
    ) -> Option<u64> {
        let lost = rng.random_bool(self.options.send_loss)
            || self.is_cut_off(id.connection.safekeeper, now_ms);
        let delay_ms = self.delay_ms(rng);
        let link = self.links.get_mut(&id)?;
        let direction = if to_safekeeper { &mut link.to_safekeeper } else { &mut link.to_compute };
        direction.broken |= lost;
        if direction.broken {
            return None;
        }
        direction.last_arrival_ms = direction.last_arrival_ms.max(now_ms + delay_ms);
        Some(direction.last_arrival_ms)
    }
}
