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

/// The size of a block for `size` bytes that will soon be given back for a larger one. jemalloc
/// keeps blocks of seven eighths of a power of two in runs of 28 KiB: what many small tables have
/// grown out of would leave most of these nearly empty.
#[inline]
pub const fn passing_block_bytes(size: usize) -> usize {
    let block = block_bytes(size);
    if block.is_multiple_of(7) && (block / 7).is_power_of_two() && block > 112 {
        block_bytes(block + 1)
    } else {
        block
    }
}

#[cfg(test)]
mod tests {
    use super::{block_bytes, passing_block_bytes};

    #[test]
    fn passing_blocks_are_of_sizes_that_stand_in_short_runs() {
        for (size, block) in [(0, 0), (100, 112), (200, 256), (385, 512), (640, 640), (800, 1024)] {
            assert_eq!(passing_block_bytes(size), block, "{size}");
            assert_eq!(block_bytes(block), block);
        }
    }

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
