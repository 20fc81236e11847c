//! The bytes of published messages between members: a request holds any number of these, integers
//! big-endian.
//! ```text
//! target:u8 channel_bytes:u32 message_bytes:u32 channel message      target 0: channel, 1: shard
//! ```

use super::Target;

const HEAD_BYTES: usize = 1 + 4 + 4;

/// How many bytes a message takes.
pub fn len(channel: &[u8], message: &[u8]) -> usize {
    HEAD_BYTES + channel.len() + message.len()
}

/// Appends a message. Its parts are below 4 GiB, as every argument of a command is.
pub fn put(out: &mut Vec<u8>, target: Target, channel: &[u8], message: &[u8]) {
    out.reserve(len(channel, message));
    out.push(match target {
        Target::Channel => 0,
        Target::Shard => 1,
    });
    out.extend_from_slice(&(channel.len() as u32).to_be_bytes());
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(channel);
    out.extend_from_slice(message);
}

/// What does not read as messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("published messages are cut short or of an unknown kind")]
pub struct Malformed;

/// One published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published<'a> {
    /// Where it goes.
    pub target: Target,
    /// The channel's name.
    pub channel: &'a [u8],
    /// What it says.
    pub message: &'a [u8],
}

/// The message at `at`, and where the next one begins.
///
/// # Errors
/// [`Malformed`].
pub fn message_at(bytes: &[u8], at: usize) -> Result<(Published<'_>, usize), Malformed> {
    let rest = bytes.get(at..).ok_or(Malformed)?;
    let (head, rest) = rest.split_first_chunk::<HEAD_BYTES>().ok_or(Malformed)?;
    let [target, a, b, c, d, e, f, g, h] = *head;
    let target = match target {
        0 => Target::Channel,
        1 => Target::Shard,
        _ => return Err(Malformed),
    };
    let channel_bytes = u32::from_be_bytes([a, b, c, d]) as usize;
    let message_bytes = u32::from_be_bytes([e, f, g, h]) as usize;
    let (channel, rest) = rest.split_at_checked(channel_bytes).ok_or(Malformed)?;
    let (message, _) = rest.split_at_checked(message_bytes).ok_or(Malformed)?;
    Ok((Published { target, channel, message }, at + len(channel, message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_and_nothing_else_does() {
        let mut bytes = Vec::new();
        put(&mut bytes, Target::Channel, b"news", b"\r\n\0");
        put(&mut bytes, Target::Shard, b"", b"");
        let (first, next) = message_at(&bytes, 0).unwrap();
        let wanted = Published { target: Target::Channel, channel: b"news", message: b"\r\n\0" };
        assert_eq!(first, wanted);
        let (second, end) = message_at(&bytes, next).unwrap();
        assert_eq!(second, Published { target: Target::Shard, channel: b"", message: b"" });
        assert_eq!(end, bytes.len());
        for cut in 0..next {
            assert_eq!(message_at(&bytes[..cut], 0), Err(Malformed));
        }
        assert_eq!(message_at(&bytes, end + 1), Err(Malformed));
        bytes[0] = 7;
        assert_eq!(message_at(&bytes, 0), Err(Malformed));
    }
}
