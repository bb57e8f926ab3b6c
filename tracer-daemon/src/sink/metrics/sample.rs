use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricType};

/// Longer label values are cut: what a process is called is up to that process.
pub(super) const LONGEST_LABEL: usize = 128;

/// Labels and what was measured under them.
pub(super) struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

/// What was measured.
pub(super) enum Value {
    Number(f64),
    Histogram {
        /// Upper ends, and how many lie at or below them.
        cumulative: Vec<(f64, u64)>,
        count: u64,
        sum: f64,
    },
}

impl Sample {
    pub(super) fn new(value: f64) -> Self {
        Self::of(Value::Number(value))
    }

    /// Exact up to 2^53, as all of Prometheus.
    pub(super) fn count(value: u64) -> Self {
        Self::new(value as f64)
    }

    pub(super) const fn of(value: Value) -> Self {
        Self { labels: Vec::new(), value }
    }

    pub(super) fn label(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        self.labels.push((name, bounded(value.as_ref())));
        self
    }

    pub(super) fn into_metric(self, kind: MetricType) -> Metric {
        let mut metric = Metric::from_label(self.labels.into_iter().map(pair).collect());
        match (self.value, kind) {
            (Value::Number(value), MetricType::COUNTER) => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            (Value::Number(value), _) => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            (Value::Histogram { cumulative, count, sum }, _) => {
                let mut histogram = Histogram::default();
                histogram.set_bucket(cumulative.into_iter().map(bucket).collect());
                histogram.set_sample_count(count);
                histogram.set_sample_sum(sum);
                metric.set_histogram(histogram);
            }
        }
        metric
    }
}

fn pair((name, value): (&'static str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value);
    pair
}

fn bucket((upper, count): (f64, u64)) -> Bucket {
    let mut bucket = Bucket::default();
    bucket.set_upper_bound(upper);
    bucket.set_cumulative_count(count);
    bucket
}

/// The encoder escapes newlines, quotes and backslashes only; other control characters would
/// reach whoever looks at the text. A value that had to be changed ends in a hash of the original:
/// two series of one name would make Prometheus refuse all of them.
fn bounded(value: &str) -> String {
    let is_harmless = |character: char| character == '\n' || !character.is_control();
    if value.chars().all(is_harmless) && value.chars().nth(LONGEST_LABEL).is_none() {
        return value.to_owned();
    }
    let hash = format!("~{:016x}", fnv1a(value.as_bytes()));
    let kept = value.chars().take(LONGEST_LABEL - hash.len());
    let safe =
        kept.map(
            |character| {
                if is_harmless(character) { character } else { char::REPLACEMENT_CHARACTER }
            },
        );
    safe.chain(hash.chars()).collect()
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
