//! Another model checker counts the same worlds of the same shop, written a second time for it.
use quadrille_check::{Choreography, Network, Rules};
use quadrille_core::prelude::*;
use stateright::{Checker, Model, Property};
use std::fmt;

events! {
    from Origin::Command, about order: u32;
    pub Place = "order.place" {}
    pub Cancel = "order.cancel" {}
}
events! {
    from Origin::Service("order"), about order: u32;
    pub Placed = "order.placed" {}
    pub Cancelled = "order.cancelled" {}
}
events! {
    from Origin::Service("stock"), about order: u32;
    pub Reserved = "stock.reserved" {}
    pub Refused = "stock.refused" {}
}
messages! { pub enum ToOrder by u32 { Place, Cancel, Reserved, Refused } }
messages! { pub enum FromOrder { Placed, Cancelled } }
messages! { enum ToStock by Shelf { Placed, Cancelled } }
messages! { enum FromStock { Reserved, Refused } }

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
enum Order {
    #[default]
    Unseen,
    Waits,
    Sold,
    Dead,
}
impl Machine for Order {
    const NAME: &'static str = "order";
    type Consumes = ToOrder;
    type Publishes = FromOrder;
    type Requests = NoMessages;
    fn ended(&self) -> bool {
        false
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: ToOrder, _: &Cx) -> Transition<Self> {
        let order = message.key();
        match (message, self) {
            (ToOrder::Place(_), Self::Unseen) => becomes(Self::Waits).publish(Placed { order }),
            (ToOrder::Cancel(_), Self::Waits) => becomes(Self::Dead).publish(Cancelled { order }),
            (ToOrder::Reserved(_), Self::Waits) => becomes(Self::Sold),
            (ToOrder::Refused(_), Self::Waits) => becomes(Self::Dead),
            _ => ignore("late"),
        }
    }
}

/// One shelf for all orders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Shelf;
impl From<u32> for Shelf {
    fn from(_: u32) -> Self {
        Self
    }
}
impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("shelf")
    }
}
/// Who has the only unit, and who will never get it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Stock {
    held_by: Option<u32>,
    dead: BTreeSet<u32>,
}
impl Machine for Stock {
    const NAME: &'static str = "stock";
    type Consumes = ToStock;
    type Publishes = FromStock;
    type Requests = NoMessages;
    fn ended(&self) -> bool {
        false
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: ToStock, _: &Cx) -> Transition<Self> {
        let mut next = self.clone();
        match message {
            ToStock::Placed(Placed { order }) if self.dead.contains(&order) => ignore("dead"),
            ToStock::Placed(Placed { order }) if self.held_by.is_none() => {
                next.held_by = Some(order);
                becomes(next).publish(Reserved { order })
            }
            ToStock::Placed(Placed { order }) => becomes(next).publish(Refused { order }),
            ToStock::Cancelled(Cancelled { order }) => {
                next.held_by.take_if(|by| *by == order);
                next.dead.insert(order);
                becomes(next)
            }
        }
    }
}

/// The shop once more, as numbers and sets.
struct Shop {
    network: Network,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum What {
    Place,
    Cancel,
    Placed,
    Cancelled,
    Reserved,
    Refused,
}
/// What is on its way, about which order, and whether it has been there before.
type Letter = (What, usize, bool);
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    orders: [Order; 2],
    held_by: Option<usize>,
    dead: BTreeSet<usize>,
    copies: u32,
    letters: BTreeMap<Letter, usize>,
}

impl World {
    fn send(&mut self, what: What, order: usize) {
        *self.letters.entry((what, order, false)).or_default() += 1;
    }
    fn remove(&mut self, letter: Letter) {
        let left = self.letters[&letter] - 1;
        self.letters.insert(letter, left);
        self.letters.retain(|_, count| *count > 0);
    }
    fn hear(&mut self, what: What, order: usize) {
        match (what, self.orders[order]) {
            (What::Place, Order::Unseen) => {
                self.orders[order] = Order::Waits;
                self.send(What::Placed, order);
            }
            (What::Cancel, Order::Waits) => {
                self.orders[order] = Order::Dead;
                self.send(What::Cancelled, order);
            }
            (What::Reserved, Order::Waits) => self.orders[order] = Order::Sold,
            (What::Refused, Order::Waits) => self.orders[order] = Order::Dead,
            (What::Placed, _) if self.dead.contains(&order) => {}
            (What::Placed, _) if self.held_by.is_none() => {
                self.held_by = Some(order);
                self.send(What::Reserved, order);
            }
            (What::Placed, _) => self.send(What::Refused, order),
            (What::Cancelled, _) => {
                self.held_by.take_if(|by| *by == order);
                self.dead.insert(order);
            }
            _ => {}
        }
    }
}

impl Model for Shop {
    type State = World;
    /// A letter to deliver, and whether a copy of it is left.
    type Action = (Letter, bool);

    fn init_states(&self) -> Vec<World> {
        let copies = if let Network::Twice { most } = self.network { most } else { 0 };
        let letters = BTreeMap::new();
        let (orders, held_by, dead) = ([Order::Unseen; 2], None, BTreeSet::new());
        let mut start = World { orders, held_by, dead, copies, letters };
        for order in 0..2 {
            start.send(What::Place, order);
            start.send(What::Cancel, order);
        }
        vec![start]
    }
    fn actions(&self, world: &World, actions: &mut Vec<(Letter, bool)>) {
        for letter in world.letters.keys() {
            actions.push((*letter, false));
            if world.copies > 0 && !letter.2 {
                actions.push((*letter, true));
            }
        }
    }
    fn next_state(&self, world: &World, (letter, copied): (Letter, bool)) -> Option<World> {
        let mut next = world.clone();
        if self.network != Network::Repeating {
            next.remove(letter);
        }
        if copied {
            next.copies -= 1;
            *next.letters.entry((letter.0, letter.1, true)).or_default() += 1;
        }
        next.hear(letter.0, letter.1);
        if self.network == Network::Repeating {
            next.letters.values_mut().for_each(|count| *count = 1);
        }
        Some(next)
    }
    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("counted to the end", |_, _| true)]
    }
}

#[test]
fn another_checker_counts_the_same_worlds() {
    let networks =
        [Network::Once, Network::Twice { most: 1 }, Network::Twice { most: 2 }, Network::Repeating];
    let counted = networks.map(|network| {
        let all = Choreography::default().with::<Order>().with::<Stock>();
        let all = [0, 1]
            .into_iter()
            .fold(all, |all, order| all.given(Place { order }).perhaps(Cancel { order }));
        let ours = all.explore(network, &Rules::default()).states;
        let theirs = Shop { network }.checker().spawn_bfs().join().unique_state_count();
        assert_eq!((network, ours), (network, theirs));
        ours
    });
    assert_eq!(counted, [272, 2_590, 12_177, 192]);
}
