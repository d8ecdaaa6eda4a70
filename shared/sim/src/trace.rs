//! What happened in a run, as one number, and as text if somebody wants to read it.
use std::fmt::Write;

/// The last lines kept for a reader; a run has hundreds of thousands.
const LINES_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Every port call and what it came to. Two runs of one seed have the same.
#[derive(Debug)]
pub(crate) struct Trace {
    digest: u64,
    text: Option<String>,
}

impl Trace {
    pub(crate) fn new(told: bool) -> Self {
        Self { digest: 0xcbf2_9ce4_8422_2325, text: told.then(String::new) }
    }

    pub(crate) fn mix(&mut self, number: u64) {
        let mixed = (self.digest ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.digest = mixed.rotate_left(29) ^ (mixed >> 17);
    }

    pub(crate) fn mix_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }

    /// A line for readers; only told if somebody reads.
    pub(crate) fn tell(&mut self, at_ms: u64, who: &str, what: impl FnOnce() -> String) {
        let Some(text) = &mut self.text else { return };
        if text.len() < LINES_MAX_BYTES {
            writeln!(text, "{at_ms:>8} {who:<14} {}", what()).expect("a String takes all");
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}
