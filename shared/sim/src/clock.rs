//! The clock of one process: virtual time, as wrong as somebody made it.
use crate::chance::Chance;
use crate::plan::BEGINNING_MS;
use crate::port::Port;
use async_trait::async_trait;
use quadrille_runtime::clock::Clock;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Tells and spends virtual time.
#[derive(Debug)]
pub(crate) struct SimClock {
    port: Port,
    chance: Mutex<Chance>,
}

impl SimClock {
    pub(crate) fn new(port: &Port) -> Self {
        let seed = port.world.state().seed;
        let chance = Mutex::new(Chance::stream(seed, 1 << 32 | port.life.id));
        Self { port: port.clone(), chance }
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        let passed_ms = self.port.world.now_ms() as i64;
        BEGINNING_MS + passed_ms + self.port.life.clock_off_ms.load(Relaxed)
    }
    async fn sleep(&self, for_: Duration) {
        tokio::time::sleep(for_).await;
    }
    fn chance(&self) -> u64 {
        self.chance.lock().expect("nobody panics with it").number()
    }
}
