//! Shuffle sharding: a flow's hand of queues (upstream: apiserver/pkg/util/shufflesharding).
//!
//! Two flows seldom have the same hand; so a flow that floods all of its queues still leaves others one of theirs.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The largest hand.
pub(crate) const MAX_HAND: usize = 15;

/// Bits of a hash that dealing may use up; with more the last card would be dealt unevenly.
const MAX_HASH_BITS: f64 = 60.0;

/// Deals hands of so many queues out of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dealer {
    deck: usize,
    hand: usize,
}

impl Dealer {
    /// A dealer, if the numbers make sense.
    pub(crate) fn new(deck: usize, hand: usize) -> Option<Self> {
        let sound = deck > 0
            && (1..=MAX_HAND.min(deck)).contains(&hand)
            && deck <= 1 << 26
            && ((deck as f64).log2() * hand as f64).ceil() <= MAX_HASH_BITS;
        sound.then_some(Self { deck, hand })
    }

    /// The queues of a flow, each once.
    pub(crate) fn deal(self, mut hash: u64, cards: &mut [usize; MAX_HAND]) -> &[usize] {
        for (index, card) in cards.iter_mut().enumerate().take(self.hand) {
            let left = (self.deck - index) as u64;
            *card = (hash % left) as usize;
            hash /= left;
        }
        // Each is a place among the cards that were left: make room for those dealt before.
        let remainders = *cards;
        for (index, card) in cards.iter_mut().enumerate().take(self.hand) {
            for remainder in remainders[..index].iter().rev() {
                if *card >= *remainder {
                    *card += 1;
                }
            }
        }
        &cards[..self.hand]
    }
}

/// The hash of a flow: its schema and what distinguishes it there.
pub(crate) fn flow_hash(schema: &str, distinguisher: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (schema, distinguisher).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn hands_have_no_doubles_and_reach_every_queue() {
        for (deck, hand) in [(128, 6), (64, 6), (16, 4), (8, 8), (1, 1)] {
            let dealer = Dealer::new(deck, hand).expect("sound");
            let mut seen = BTreeSet::new();
            for flow in 0..2000 {
                let mut cards = [0; MAX_HAND];
                let dealt = dealer.deal(flow_hash("schema", &flow.to_string()), &mut cards);
                let distinct: BTreeSet<usize> = dealt.iter().copied().collect();
                assert_eq!(distinct.len(), hand, "{dealt:?}");
                assert!(dealt.iter().all(|card| *card < deck), "{dealt:?}");
                seen.extend(distinct);
            }
            assert_eq!(seen.len(), deck);
        }
    }

    #[test]
    fn senseless_numbers_have_no_dealer() {
        for (deck, hand) in [(0, 1), (4, 0), (4, 5), (1 << 27, 1), (1 << 20, 4), (128, 16)] {
            assert_eq!(Dealer::new(deck, hand), None, "{deck} {hand}");
        }
    }
}
