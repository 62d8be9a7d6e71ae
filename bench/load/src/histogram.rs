//! Latencies in buckets of a constant relative width, so that recording one is an addition.

/// Each power of two is cut into this many buckets: a bucket is at most 1/32 (3 %) wide.
const STEPS_LOG2: u32 = 5;
const STEPS: usize = 1 << STEPS_LOG2;
/// 2^40 ns are 18 minutes, longer than any run.
const POWERS: usize = 40 - STEPS_LOG2 as usize;

/// A histogram of nanoseconds.
pub struct Histogram {
    counts: Box<[u64]>,
    max: u64,
}

impl Histogram {
    /// Creates an empty histogram.
    pub fn new() -> Self {
        Histogram { counts: vec![0; (POWERS + 1) * STEPS].into_boxed_slice(), max: 0 }
    }

    /// Adds one value.
    pub fn record(&mut self, nanoseconds: u64) {
        let last = self.counts.len() - 1;
        self.counts[bucket_of(nanoseconds).min(last)] += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// Returns the largest value.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns the value that `quantile` (0 to 1) of all values do not exceed; 0 without values.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = ((total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end_of(bucket).min(self.max);
            }
        }
        self.max
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// Values below STEPS have a bucket each; above, the leading bits choose it.
fn bucket_of(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let power = value.ilog2() - STEPS_LOG2;
    (power as usize + 1) * STEPS + (value >> power) as usize - STEPS
}

fn upper_end_of(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let power = bucket / STEPS - 1;
    let step = (bucket % STEPS + STEPS) as u64;
    ((step + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_the_bucket_is_narrow() {
        for value in (0..100_000).chain([1 << 30, (1 << 39) - 1]) {
            let end = upper_end_of(bucket_of(value));
            assert!(end >= value && end <= value + value / 32 + 1, "{value} {end}");
        }
    }

    #[test]
    fn quantiles_of_a_uniform_range_are_its_positions() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|value| histogram.record(value));
        let median = histogram.quantile(0.5);
        assert!((5_000..5_200).contains(&median));
        assert_eq!(histogram.quantile(1.0), 10_000);
        assert_eq!(histogram.max(), 10_000);
    }
}
