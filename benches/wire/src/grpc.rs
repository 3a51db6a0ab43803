//! The shape of a unary gRPC call: one message each way, in a frame of its own, and a status in the trailers.

/// The path that load calls and the upstream answers as a call.
pub(crate) const PATH: &str = "/bench.Echo/Unary";

/// Bytes before a message: whether it is compressed, and its length.
pub(crate) const HEAD: usize = 5;

/// A message of `length` bytes in its frame.
pub(crate) fn message(length: usize) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(&(length as u32).to_be_bytes());
    message.resize(HEAD + length, b'x');
    message
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_says_its_length() {
        assert_eq!(super::message(258)[..7], [0, 0, 0, 1, 2, b'x', b'x']);
        assert_eq!(super::message(0).len(), super::HEAD);
    }
}
