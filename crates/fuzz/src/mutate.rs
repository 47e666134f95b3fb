//! Nearly the same input: a few changes of the kinds that find faults, from repeatable numbers.

/// Repeatable numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The numbers of one round of a run.
    pub fn of(seed: u64, round: u64) -> Self {
        Self(seed ^ round.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// Bytes at which parsers think twice.
const BYTES: &[u8] = b"\x00\x01\x7f\x80\xfe\xff\n \"'\\{}[]()<>,:;.-+=!%&/?@$*09azAZ";

/// The input after one to eight changes; `other` gives pieces, `words` are what the target knows.
pub fn mutate(numbers: &mut Numbers, input: &[u8], other: &[u8], words: &[&str], limit: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(3) + numbers.below(3) + numbers.below(4) {
        change(numbers, &mut bytes, other, words);
        bytes.truncate(limit);
    }
    bytes
}

fn change(numbers: &mut Numbers, bytes: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    let at = numbers.below(bytes.len() + 1);
    let end = (at + 1 + numbers.below(16)).min(bytes.len());
    match numbers.below(10) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << numbers.below(8);
            }
        }
        1 => {
            let new = numbers.pick(BYTES).copied().unwrap_or_default();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = new;
            }
        }
        2 => bytes.insert(at, numbers.pick(BYTES).copied().unwrap_or_default()),
        3 if at < end => drop(bytes.drain(at..end)),
        4 if at < end => {
            // The same again, and now and then a hundred times.
            let piece = bytes[at..end].to_vec();
            let times = if numbers.below(4) == 0 { 100 } else { 1 };
            drop(bytes.splice(at..at, piece.repeat(times)));
        }
        5 if !other.is_empty() => {
            let from = numbers.below(other.len());
            let to = (from + 1 + numbers.below(64)).min(other.len());
            drop(bytes.splice(at..at, other[from..to].iter().copied()));
        }
        6 | 7 if !words.is_empty() => {
            let word = numbers.pick(words).map_or(&b""[..], |word| word.as_bytes());
            let gone = if numbers.below(2) == 0 { at..at } else { at..(at + word.len()).min(bytes.len()) };
            drop(bytes.splice(gone, word.iter().copied()));
        }
        8 if at < bytes.len() => {
            let bit = numbers.below(256) as u8;
            bytes[at] = bytes[at].wrapping_add(bit);
        }
        _ => {
            let from = numbers.below(bytes.len().max(1));
            let to = (from + numbers.below(8)).min(bytes.len());
            let piece = bytes.get(from..to).unwrap_or_default().to_vec();
            drop(bytes.splice(at..at, piece));
        }
    }
}
