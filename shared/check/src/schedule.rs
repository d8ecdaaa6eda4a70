//! A way to a fault as data: for files, and for playing it again elsewhere.
use crate::{How, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The shortest way to one fault, so that the same deliveries can be made elsewhere, in this order.
///
/// Fields are only ever added.
///
/// ```
/// # use quadrille_check::Schedule;
/// let text = r#"{"scope": "8", "network": "twice, at most 1", "why": "stock is not conserved",
///     "steps": [{"from": "outside", "to": "inventory", "message": "stock.receive",
///         "subject": "TEA-250", "body": {"sku": "TEA-250", "units": 10, "receipt": "note-1"},
///         "repeat": false, "timer": false}]}"#;
/// let schedule: Schedule = serde_json::from_str(text).expect("as it is written");
/// assert_eq!(schedule.steps[0].to, "inventory");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Where it was found: what takes part, and what comes from outside.
    pub scope: String,
    /// What the network may do, as it is printed.
    pub network: String,
    /// What must not happen, and does after the last step.
    pub why: String,
    pub steps: Vec<Delivery>,
}

/// One step: a message delivered, unless `how` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// A service, an adapter, or `outside`.
    pub from: String,
    pub to: String,
    /// The message's wire name.
    pub message: String,
    pub subject: String,
    pub body: Value,
    /// It was delivered before, and comes again.
    pub repeat: bool,
    /// It is a timer of the service that it comes to.
    pub timer: bool,
    /// What the adapter answers, by wire name, if it has a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What else happens in this step, such as that the process dies after its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
}

impl Schedule {
    pub fn new(scope: &str, network: &str, why: &str, path: &[Step]) -> Self {
        Self {
            scope: scope.to_owned(),
            network: network.to_owned(),
            why: why.to_owned(),
            steps: path.iter().map(Delivery::new).collect(),
        }
    }
}

impl Delivery {
    fn new(step: &Step) -> Self {
        Self {
            from: step.from.to_owned(),
            to: step.to.to_owned(),
            message: step.message.to_owned(),
            subject: step.subject.clone(),
            body: serde_json::from_str(&step.json).unwrap_or(Value::Null),
            repeat: matches!(step.how, How::Again | How::Known),
            timer: step.timer,
            answer: step.answer.map(str::to_owned),
            how: step.how.words().map(str::to_owned),
        }
    }
}
