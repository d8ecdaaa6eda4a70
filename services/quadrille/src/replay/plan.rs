//! How the steps of a schedule come about among those who take part.
use super::caller::Expected;
use super::turn::Way;
use anyhow::{Result, bail};
use quadrille_check::{Delivery, How};
use quadrille_core::{Descriptor, Wiring};
use std::collections::HashMap;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) all: &'static [Wiring],
}

impl Plan {
    fn find(&self, name: &str) -> Option<&Wiring> {
        self.all.iter().find(|wiring| wiring.name == name)
    }

    /// An adapter that one of the services calls; others are the adapters's own.
    fn is_called(&self, name: &str) -> bool {
        let asked = |d: &Descriptor| {
            self.all.iter().any(|wiring| wiring.requests.iter().any(|r| r.name == d.name))
        };
        self.find(name).is_some_and(|found| found.adapter && found.consumes.iter().all(asked))
    }

    fn is_service(&self, name: &str) -> bool {
        self.find(name).is_some_and(|found| !found.adapter)
    }

    /// None: it happens outside. An error: the runtime has no such step.
    pub(super) fn way(&self, step: &Delivery) -> Result<Option<Way>, &'static str> {
        let how = step.how.as_deref();
        let is = |what: How| how == what.words();
        let called = self.is_called(&step.to);
        Ok(match () {
            () if !called && !self.is_service(&step.to) => None,
            // The outbox does it by itself, and the inbox too.
            () if is(How::Republished) => None,
            () if called && step.repeat => {
                return Err("a request is a row, and is answered once");
            }
            () if called => Some(Way::Request),
            () if self.is_called(&step.from) && step.repeat => {
                return Err("an answer ends its request, and comes once");
            }
            () if self.is_called(&step.from) => Some(Way::Answer),
            () if step.timer && step.repeat => {
                return Err("a timer is a row, and fires once");
            }
            () if step.timer => Some(Way::Timer),
            () if step.repeat => Some(Way::Redelivery),
            () => Some(Way::Delivery),
        })
    }

    /// How replicas take turns cannot be forced from outside.
    pub(super) fn needs_replicas(&self, step: &Delivery) -> bool {
        let how = step.how.as_deref();
        how.is_some() && [How::Taken, How::Committed].iter().any(|what| how == what.words())
    }

    pub(super) fn comes_from_outside(&self, step: &Delivery) -> bool {
        !step.repeat && !step.timer && !self.is_service(&step.from) && !self.is_called(&step.from)
    }

    /// True if the service decides on it in this step.
    pub(super) fn is_decided(&self, step: &Delivery) -> bool {
        let how = step.how.as_deref();
        [How::Delivered, How::Unpublished, How::Unacknowledged].iter().any(|h| how == h.words())
    }

    pub(super) fn version(&self, step: &Delivery) -> Result<u16> {
        let consumed = self.find(&step.to).map_or(&[][..], |wiring| wiring.consumes);
        match consumed.iter().find(|d| d.name == step.message) {
            Some(descriptor) => Ok(descriptor.version),
            None => bail!(
                "{} consumes no {}: replay with the version that wrote the schedule",
                step.to,
                step.message
            ),
        }
    }

    /// Of each request: which answer the schedule has for it.
    pub(super) fn answers(&self, steps: &[Delivery]) -> Result<HashMap<usize, Expected>> {
        let mut answers: HashMap<usize, Expected> = HashMap::new();
        for (asked, request) in steps.iter().enumerate() {
            if self.way(request) != Ok(Some(Way::Request)) {
                continue;
            }
            let taken: Vec<usize> = answers.values().map(|answer| answer.number).collect();
            let mut later = steps.iter().enumerate().skip(asked);
            let fits = later.find(|(number, step)| {
                step.from == request.to
                    && self.is_service(&step.to)
                    && step.subject == request.subject
                    && request.answer.as_deref().is_none_or(|answer| answer == step.message)
                    && !step.repeat
                    && !taken.contains(number)
            });
            if let Some((number, step)) = fits {
                let (message, body) = (step.message.clone(), step.body.clone());
                let version = self.version(step)?;
                answers.insert(asked, Expected { number, message, version, body });
            }
        }
        Ok(answers)
    }
}
