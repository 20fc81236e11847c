//! What a heap block really costs: jemalloc hands out blocks of certain sizes only.

/// The size of the block that jemalloc gives for `size` bytes; 0 for none. Size classes: 8, then
/// multiples of 16 up to 128, then four classes for every doubling (jemalloc(3), "size classes").
#[inline]
pub const fn block_bytes(size: usize) -> usize {
    match size {
        0 => 0,
        1..=8 => 8,
        9..=128 => (size + 15) & !15,
        _ => {
            let log = (size - 1).ilog2();
            let step = 1usize << (log - 2);
            (size + step - 1) & !(step - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::block_bytes;

    #[test]
    fn sizes_are_rounded_to_the_classes_of_jemalloc() {
        for (size, block) in [
            (0, 0),
            (1, 8),
            (8, 8),
            (9, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (256, 256),
            (257, 320),
            (512, 512),
            (513, 640),
            (4096, 4096),
            (4097, 5120),
            (16384, 16384),
            (16385, 20480),
            (1 << 20, 1 << 20),
        ] {
            assert_eq!(block_bytes(size), block, "{size}");
        }
    }
}
