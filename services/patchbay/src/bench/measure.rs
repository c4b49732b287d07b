//! Measures calls: so many at once, after a warm-up, with latencies, throughput and CPU time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use hdrhistogram::Histogram;
use lifecycle::Tasks;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

/// Makes one call and checks its answer.
pub(super) type Call = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// What was measured of one way to make a call.
#[derive(Debug)]
pub(super) struct Measured {
    /// Nanoseconds per call.
    latencies: Histogram<u64>,
    wall: Duration,
    cpu: Duration,
}

impl Measured {
    pub(super) fn nothing() -> anyhow::Result<Self> {
        Ok(Self {
            latencies: histogram()?,
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
        })
    }

    /// Adds a later measurement of the same.
    pub(super) fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.latencies.add(&other.latencies)?;
        self.wall += other.wall;
        self.cpu += other.cpu;
        Ok(())
    }

    /// The latency that this share of the calls did not exceed, in milliseconds.
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        Duration::from_nanos(self.latencies.value_at_quantile(quantile)).as_secs_f64() * 1e3
    }

    pub(super) fn calls_per_second(&self) -> f64 {
        per(self.latencies.len(), self.wall)
    }

    /// CPU time of this process for each call, in milliseconds.
    pub(super) fn cpu_ms_per_call(&self) -> f64 {
        match self.latencies.len() {
            0 => 0.0,
            calls => self.cpu.as_secs_f64() * 1e3 / as_f64(calls),
        }
    }
}

/// How often, per second.
pub(super) fn per(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        as_f64(count) / time.as_secs_f64()
    }
}

fn as_f64(count: u64) -> f64 {
    // Exact up to four thousand million.
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).context("the histogram's bounds")
}

/// Makes `calls` calls, `concurrency` at once. The first failure ends it.
pub(super) async fn measure(call: &Call, calls: u64, concurrency: u64) -> anyhow::Result<Measured> {
    let tasks = Tasks::new("bench");
    let left = Arc::new(AtomicU64::new(calls));
    let workers = usize::try_from(concurrency)?;
    let (sender, mut results) = mpsc::channel(workers);
    let (cpu, started) = (cpu_time(), Instant::now());
    for _ in 0..workers {
        let (call, left, sender) = (Arc::clone(call), Arc::clone(&left), sender.clone());
        tasks.spawn_job("worker", async move {
            // Nobody listens any more once another worker has failed.
            drop(sender.send(work(&call, &left).await).await);
        });
    }
    drop(sender);
    let mut latencies = histogram()?;
    while let Some(result) = results.recv().await {
        latencies.add(&result?)?;
    }
    let (wall, cpu) = (started.elapsed(), cpu_time().saturating_sub(cpu));
    Ok(Measured {
        latencies,
        wall,
        cpu,
    })
}

async fn work(call: &Call, left: &AtomicU64) -> anyhow::Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let take = |left: u64| left.checked_sub(1);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .is_ok()
    {
        let started = Instant::now();
        call().await?;
        let took = u64::try_from(started.elapsed().as_nanos())?;
        latencies.saturating_record(took);
    }
    Ok(latencies)
}

/// CPU time of this process, all threads.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(calls: &Arc<AtomicU64>, fail_at: u64) -> Call {
        let calls = Arc::clone(calls);
        Arc::new(move || {
            let calls = Arc::clone(&calls);
            Box::pin(async move {
                let number = calls.fetch_add(1, Ordering::Relaxed) + 1;
                anyhow::ensure!(number != fail_at, "call {number} failed");
                Ok(())
            })
        })
    }

    #[tokio::test]
    async fn exactly_the_asked_calls_are_made_and_counted() {
        let calls = Arc::new(AtomicU64::new(0));
        let mut all = Measured::nothing().unwrap();
        for concurrency in [1, 16] {
            all.add(
                measure(&counting(&calls, u64::MAX), 100, concurrency)
                    .await
                    .unwrap(),
            )
            .unwrap();
        }
        assert_eq!(calls.load(Ordering::Relaxed), 200);
        assert_eq!(all.latencies.len(), 200);
        assert!(all.calls_per_second() > 0.0 && all.quantile_ms(0.99) >= all.quantile_ms(0.5));
    }

    #[tokio::test]
    async fn a_failed_call_fails_the_measurement() {
        let calls = Arc::new(AtomicU64::new(0));
        let error = measure(&counting(&calls, 50), 100, 4).await.unwrap_err();
        assert_eq!(error.to_string(), "call 50 failed");
    }
}
