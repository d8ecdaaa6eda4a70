//! How a process calls the world, and dies of it.
use crate::world::{Call, Entry, Life, State, World};
use std::sync::Arc;
use std::time::Duration;

/// How one process reaches the world.
#[derive(Clone, Debug)]
pub struct Port {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
}

impl Port {
    /// Calls a port: takes its time, has its effect, and comes back; unless the process dies of it.
    pub(crate) async fn call<T>(
        &self,
        call: Call,
        effect: impl FnOnce(&mut State, &Life) -> T + Send,
    ) -> T {
        let ended = match self.call_now(call, effect) {
            Ok(ended) => ended,
            Err((number, takes_ms, effect)) => {
                self.pause(takes_ms).await;
                self.finish(&mut self.world.state(), number, effect)
            }
        };
        match ended {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    /// Most calls take no time, and are done in one go: the result, or none for the dead. Others
    /// give back their number, how long they take, and what is still to be done.
    fn call_now<T, E>(&self, call: Call, effect: E) -> Result<Option<T>, (u64, u64, E)>
    where
        E: FnOnce(&mut State, &Life) -> T,
    {
        let mut state = self.world.state();
        if self.life.id == 0 {
            return Ok(Some(effect(&mut state, &self.life)));
        }
        match state.enter(&self.life, call) {
            Entry::Dead => Ok(None),
            Entry::Called(number, 0) => Ok(self.finish(&mut state, number, effect)),
            Entry::Called(number, takes_ms) => Err((number, takes_ms, effect)),
        }
    }

    /// The effect of a call, and whether the process survives it.
    fn finish<T>(
        &self,
        state: &mut State,
        number: u64,
        effect: impl FnOnce(&mut State, &Life) -> T,
    ) -> Option<T> {
        let result = effect(state, &self.life);
        (!state.leave(&self.life, number)).then_some(result)
    }

    /// The first half of a call; the dead do not come back from it.
    pub(crate) async fn enter(&self, call: Call) -> u64 {
        if self.life.id == 0 {
            return 0;
        }
        let entry = self.world.state().enter(&self.life, call);
        let Entry::Called(number, takes_ms) = entry else {
            return std::future::pending().await;
        };
        if takes_ms > 0 {
            self.pause(takes_ms).await;
        }
        number
    }

    /// The second half.
    pub(crate) async fn leave(&self, number: u64) {
        let fatal = self.world.state().leave(&self.life, number);
        if fatal {
            std::future::pending().await
        }
    }

    /// Lets time pass; the dead do not come back.
    pub(crate) async fn pause(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        if self.life.is_dead() {
            std::future::pending().await
        }
    }
}
