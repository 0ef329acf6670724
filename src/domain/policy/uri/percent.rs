//! Percent-encoding, taken off and put into its normal form.

/// How often percent-encoding is taken off; nobody encodes deeper.
const MAX_DECODINGS: usize = 8;

/// Percent-encoding in its normal form: off where the character needs none, in upper-case digits
/// elsewhere, and put on every byte that can't stand in a URI.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2.2>
pub(super) fn respell(text: &[u8]) -> Vec<u8> {
    const UNRESERVED: &[u8] = b"-._~";
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    while i < text.len() {
        let (byte, encoded) = match triplet(text, i) {
            Some(byte) => (byte, true),
            None => (text[i], false),
        };
        i += if encoded { 3 } else { 1 };
        let unreserved = byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte);
        let foreign = byte <= b' ' || byte >= 0x7f || b"\"<>\\^`{|}".contains(&byte);
        if unreserved || (!encoded && !foreign) {
            out.push(byte);
        } else {
            out.extend(format!("%{byte:02X}").bytes());
        }
    }
    out
}

/// Takes percent-encoding off until nothing is left of it.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..MAX_DECODINGS {
        let once = decode_once(&text);
        if once.len() == text.len() {
            break;
        }
        text = once;
    }
    text
}

pub(super) fn decode_once(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    while i < text.len() {
        if let Some(byte) = triplet(text, i) {
            out.push(byte);
            i += 3;
        } else {
            out.push(text[i]);
            i += 1;
        }
    }
    out
}

/// The byte that is percent-encoded at this offset, if one is.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>
pub(super) fn triplet(text: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = text.get(at..at + 3)? else { return None };
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? * 16 + digit(low)?)
}
