//! CPU time a row of 40 texts over 2^24 mapped weights, by batch size, in nanoseconds: `cargo bench -p headgate-engine --bench linear`.
#![allow(unsafe_code)]

use std::io::Write as _;
use std::time::Instant;

use headgate_engine::{Batch, Engine, Limits, Outputs, Scratch, Want, linear};
use memmap2::Mmap;

const BITS: u32 = 24;
const FIELDS: usize = 40;
/// So many that their weights do not all fit the caches: 2.4 million reads of 64 MiB.
const ROWS: usize = 60_000;

fn main() {
    let file = write().expect("a file can be written");
    for round in ["first", "again"] {
        let started = Instant::now();
        // SAFETY: the file is ours alone, and not written again.
        let mapped = unsafe { Mmap::map(&file) }.expect("a file can be mapped");
        let engine = linear::open(Box::new(mapped), &Limits::default()).expect("a valid model");
        println!("{round} loaded in {:.1?}, {} KiB", started.elapsed(), engine.memory_bytes() / 1024);
        if round == "again" {
            println!("{:.0} ns a row by its own estimate", engine.cost_ns_per_row());
            [1, 8, 64, 1000].into_iter().for_each(|rows| bench(engine.as_ref(), rows));
        }
    }
}

fn write() -> std::io::Result<std::fs::File> {
    let fields: Vec<String> = (0..FIELDS).map(|at| format!(r#"{{"kind":"category","input":"c{at}"}}"#)).collect();
    let header = format!(
        r#"{{"hash":"sklearn","link":"logistic","buckets":{},"weights":"f32","bias":[0.0],"fields":[{}]}}"#,
        1 << BITS,
        fields.join(",")
    );
    let mut bytes = b"HGLINEAR\x02\0\0\0".to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend((1u64 << BITS).to_le_bytes());
    bytes.extend(header.into_bytes());
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    let mut random = Random(7);
    (0..1 << BITS).for_each(|_| bytes.extend((random.next() as f32 / u64::MAX as f32 - 0.5).to_le_bytes()));
    let mut file = tempfile::tempfile()?;
    file.write_all(&bytes)?;
    Ok(file)
}

fn bench(engine: &dyn Engine, rows: usize) {
    let mut random = Random(88_172_645_463_325_252);
    let batches: Vec<Batch> = (0..ROWS / rows)
        .map(|_| {
            let mut batch = Batch::new(FIELDS, rows);
            for row in 0..rows {
                for column in 0..FIELDS {
                    let place = batch.texts_mut().push(&format!("{:x}", random.next() >> (20 + 4 * (column % 5))));
                    batch.set(row, column, place as f64);
                }
            }
            batch
        })
        .collect();
    let (mut scratch, mut out) = (Scratch::default(), Outputs::default());
    // Over some thousand rows each: the best, which nothing beside us disturbed, and the middle.
    let mut costs = Vec::new();
    for _ in 0..5 {
        for batches in batches.chunks(4000 / rows) {
            let started = cpu_ns();
            for batch in batches {
                let want = Want { margins: false, outputs: true, contributions: false };
                engine.score(batch, &mut scratch, &mut out, want).expect("a batch of the model's shape");
            }
            costs.push((cpu_ns() - started) / (batches.len() * rows) as f64);
        }
    }
    costs.sort_by(f64::total_cmp);
    println!("  batch {rows:>4}: {:>5.0} ns a row, {:.0} in the middle", costs[0], costs[costs.len() / 2]);
}

/// CPU time of this thread.
fn cpu_ns() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
