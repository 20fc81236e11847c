//! The slot of a key: `CRC16(hash tag or key) mod 16384`, as the Redis Cluster specification has it.

/// How many slots there are.
pub const SLOTS: u16 = 16384;

/// A slot's number, below [`SLOTS`].
pub type Slot = u16;

/// `TABLES[n][byte]`: what a byte does to the checksum when `n` bytes follow it.
const TABLES: [[u16; 256]; 8] = {
    let mut tables = [[0u16; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut i = 0;
        while i < 256 {
            let crc = tables[n - 1][i];
            tables[n][i] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            i += 1;
        }
        n += 1;
    }
    tables
};

/// CRC-16/XMODEM (polynomial 0x1021, initial value 0), which Redis Cluster uses; eight bytes at a
/// time by as many tables ("slicing-by-8", Kounavis and Berry 2008), as each byte alone would
/// wait for the one before it.
fn crc16(bytes: &[u8]) -> u16 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let crc = chunks.iter().fold(0u16, |crc, chunk| {
        let [high, low] = crc.to_be_bytes();
        TABLES[7][usize::from(chunk[0] ^ high)]
            ^ TABLES[6][usize::from(chunk[1] ^ low)]
            ^ TABLES[5][usize::from(chunk[2])]
            ^ TABLES[4][usize::from(chunk[3])]
            ^ TABLES[3][usize::from(chunk[4])]
            ^ TABLES[2][usize::from(chunk[5])]
            ^ TABLES[1][usize::from(chunk[6])]
            ^ TABLES[0][usize::from(chunk[7])]
    });
    rest.iter().fold(crc, |crc, &byte| (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)])
}

/// The part of a key that is hashed: what stands between the first `{` and the first `}` after
/// it, if that is not empty; else the whole key.
pub fn hash_tag(key: &[u8]) -> &[u8] {
    if let Some(open) = memchr::memchr(b'{', key) {
        let rest = &key[open + 1..];
        if let Some(close) = memchr::memchr(b'}', rest)
            && close > 0
        {
            return &rest[..close];
        }
    }
    key
}

/// The slot that a key belongs to.
pub fn slot_of(key: &[u8]) -> Slot {
    crc16(hash_tag(key)) & (SLOTS - 1)
}

/// Slots as runs `first..=last` of them; they come in order.
pub fn slot_runs(slots: impl IntoIterator<Item = Slot>) -> Vec<(Slot, Slot)> {
    let mut runs: Vec<(Slot, Slot)> = Vec::new();
    for slot in slots {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(slot) => *last = slot,
            _ => runs.push((slot, slot)),
        }
    }
    runs
}

/// The slots of runs, those that there are; of no more runs than there are slots.
pub fn slots_in(runs: &[(Slot, Slot)]) -> impl Iterator<Item = Slot> + '_ {
    runs.iter().take(usize::from(SLOTS)).flat_map(|(first, last)| *first..=(*last).min(SLOTS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_runs_are_the_same() {
        let some = [0, 1, 2, 7, 16382, 16383];
        assert_eq!(slot_runs(some), [(0, 2), (7, 7), (16382, 16383)]);
        assert_eq!(slots_in(&slot_runs(some)).collect::<Vec<_>>(), some);
        assert_eq!(slots_in(&[(16380, u16::MAX)]).count(), 4);
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(slot_of(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
    }

    #[test]
    fn eight_bytes_at_a_time_give_what_one_at_a_time_gives() {
        let plain = |bytes: &[u8]| {
            bytes.iter().fold(0u16, |crc, &byte| {
                (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]
            })
        };
        let bytes: Vec<u8> = (0..100u8).map(|i| i.wrapping_mul(37) ^ 0x5a).collect();
        for len in 0..bytes.len() {
            assert_eq!(crc16(&bytes[..len]), plain(&bytes[..len]), "{len}");
        }
    }

    #[test]
    fn an_empty_tag_hashes_the_whole_key() {
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
    }
}
