//! Which keys are asked for: each as often as the others, or a few much more often than the rest.

use super::random::Chance;

/// The largest exponent of Zipf's law that is taken.
pub const MOST_SKEW: f64 = 10.0;

/// Draws the numbers of keys.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Each as often.
    Uniform(u64),
    /// By Zipf's law.
    Zipf(Zipf),
}

impl Keys {
    /// So many keys; with an exponent, by Zipf's law.
    pub fn new(count: u64, skew: Option<f64>) -> Self {
        match skew {
            Some(skew) => Self::Zipf(Zipf::new(count, skew)),
            None => Self::Uniform(count),
        }
    }

    /// The number of a key, from 0.
    pub fn draw(&self, chance: &mut Chance) -> u64 {
        match self {
            Self::Uniform(count) => chance.below(*count),
            Self::Zipf(zipf) => zipf.draw(chance) - 1,
        }
    }
}

/// Ranks from 1, of which rank k comes as often as 1 / k^skew says. By rejection-inversion (Hörmann and
/// Derflinger 1996): no table, so a billion keys cost what ten do.
#[derive(Debug, Clone)]
pub struct Zipf {
    count: f64,
    skew: f64,
    /// The integral at its ends.
    low: f64,
    high: f64,
    /// What is so near to its rank needs no second look.
    near: f64,
}

impl Zipf {
    fn new(count: u64, skew: f64) -> Self {
        let count = count.max(1) as f64;
        let mut zipf = Self { count, skew, low: 0.0, high: 0.0, near: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(count + 0.5);
        zipf.near = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    fn draw(&self, chance: &mut Chance) -> u64 {
        loop {
            let area = self.high + chance.unit() * (self.low - self.high);
            let at = self.inverse(area);
            let rank = at.round().clamp(1.0, self.count);
            if rank - at <= self.near || area >= self.integral(rank + 0.5) - self.weight(rank) {
                return rank as u64;
            }
        }
    }

    /// How often a rank comes, against the first.
    fn weight(&self, rank: f64) -> f64 {
        (-self.skew * rank.ln()).exp()
    }

    /// The integral of [`Self::weight`] from 1.
    fn integral(&self, to: f64) -> f64 {
        let log = to.ln();
        exp_m1_over((1.0 - self.skew) * log) * log
    }

    /// What [`Self::integral`] was asked about.
    fn inverse(&self, area: f64) -> f64 {
        let t = (area * (1.0 - self.skew)).max(-1.0);
        (ln_1p_over(t) * area).exp()
    }
}

/// `(e^x - 1) / x`, also near 0.
fn exp_m1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// `ln(1 + x) / x`, also near 0.
fn ln_1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        for skew in [0.5, 0.99, 1.0, 2.0] {
            let (count, draws) = (50u64, 200_000);
            let keys = Keys::new(count, Some(skew));
            let mut chance = Chance::new(3);
            let mut seen = vec![0u64; count as usize];
            (0..draws).for_each(|_| seen[keys.draw(&mut chance) as usize] += 1);
            let total: f64 = (1..=count).map(|k| (k as f64).powf(-skew)).sum();
            for (i, seen) in seen.iter().enumerate() {
                let wanted = ((i + 1) as f64).powf(-skew) / total * f64::from(draws);
                // Five standard deviations.
                let off = (*seen as f64 - wanted).abs();
                assert!(off < 5.0 * wanted.sqrt() + 1.0, "{skew}: rank {i}: {seen}, not {wanted}");
            }
        }
    }

    #[test]
    fn every_number_is_that_of_a_key() {
        let mut chance = Chance::new(1);
        for count in [1, 2, 1_000_000_000_000] {
            for keys in
                [Keys::new(count, None), Keys::new(count, Some(0.99)), Keys::new(count, Some(10.0))]
            {
                assert!((0..1000).all(|_| keys.draw(&mut chance) < count), "{keys:?}");
            }
        }
    }

    #[test]
    fn without_skew_each_key_comes_as_often() {
        let keys = Keys::new(10, None);
        let mut chance = Chance::new(5);
        let mut seen = [0u32; 10];
        (0..10_000).for_each(|_| seen[keys.draw(&mut chance) as usize] += 1);
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
    }
}
