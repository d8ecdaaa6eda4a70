//! A secret that cannot be printed by accident.
use std::fmt;
use zeroize::Zeroizing;

/// A password or key. It prints as `***`, compares with nothing, and is wiped when dropped.
///
/// ```
/// use quadrille_runtime::secret::Secret;
/// let key = Secret::new("sk_test_canary\n").expect("printable");
/// assert_eq!(format!("{key} {key:?}"), "*** ***");
/// assert_eq!(key.expose(), "sk_test_canary");
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// The text cannot be a secret. It is not quoted, as it may well be one with a typing error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret must be 1 to {MAX_BYTES} printable ASCII characters: check its file or variable")]
pub struct NotASecret;

/// Longer than any key or password that is meant, shorter than a file named by mistake.
pub const MAX_BYTES: usize = 4096;

impl Secret {
    /// White space around it is cut off, as files end with a line feed. What is left must fit in
    /// an HTTP header.
    pub fn new(text: &str) -> Result<Self, NotASecret> {
        let text = text.trim();
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if text.is_empty() || text.len() > MAX_BYTES || !printable {
            return Err(NotASecret);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text with the secret struck out, for what others wrote and we print.
    pub fn redact(&self, text: &str) -> String {
        text.replace(self.expose(), "***")
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("***")
    }
}
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new(" s3cret\n").unwrap();
        assert_eq!(format!("{secret} {secret:?} {secret:#?} {secret:>9}"), "*** *** *** ***");
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(secret.redact("key s3cret was refused"), "key *** was refused");
    }

    #[test]
    fn what_cannot_be_a_header_is_refused_without_being_quoted() {
        for text in ["", " \n", "a\nb", "a\0b", "caf\u{e9}", &"x".repeat(MAX_BYTES + 1)] {
            let error = Secret::new(text).unwrap_err();
            assert!(!error.to_string().contains("caf"), "{error}");
        }
    }
}
