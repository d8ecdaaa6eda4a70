//! A proxy before each service.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use quadrille::everyone::SERVICES;
use quadrille_proxy::{Counts, Protocol, Proxy};

pub(super) struct Proxies(Vec<(&'static str, Proxy)>);

impl Proxies {
    pub(super) async fn before(server: SocketAddr, protocol: Protocol) -> Result<Proxies> {
        let mut all = Vec::new();
        for service in SERVICES {
            let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
            all.push((service, Proxy::start(anywhere, server, protocol).await?));
        }
        Ok(Proxies(all))
    }

    /// For a stage.
    pub(super) fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.0.iter().map(|(service, proxy)| (*service, proxy.address())).collect()
    }

    pub(super) fn of(&self, service: &str) -> &Proxy {
        let found = self.0.iter().find(|(whose, _)| *whose == service);
        &found.expect("every service has one").1
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Proxy> {
        self.0.iter().map(|(_, proxy)| proxy)
    }

    /// The same rule for all; an empty one for none.
    pub(super) fn set(&self, rule: &str) -> Result<()> {
        let rules = if rule.is_empty() { vec![] } else { vec![rule.parse()?] };
        self.all().for_each(|proxy| proxy.set(&rules));
        Ok(())
    }

    /// Of something, over all.
    pub(super) fn sum(&self, of: impl Fn(Counts) -> u64) -> u64 {
        self.all().map(|proxy| of(proxy.counts())).sum()
    }
}
