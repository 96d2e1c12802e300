//! A hashed linear model whose prelude is right, so that its header and its texts get the changes: it loads within its
//! bounds or is refused, and what loads scores a row alone as among others.
#![no_main]

use headgate_engine::{Batch, Engine, Limits, Outputs, Scratch, Want, linear};
use libfuzzer_sys::fuzz_target;

const WANT: Want = Want { margins: true, outputs: true, contributions: true };

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |b| *b == 0);
    let (header, texts) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let weights = parts.next().unwrap_or_default();
    // The header says how wide they are: either may be right.
    for width in [4, 8] {
        let limits = Limits { max_memory_bytes: 64 << 20, max_features: 4096, max_outputs: 256, ..Limits::default() };
        let Ok(engine) = linear::open(Box::new(file(header, weights, width)), &limits) else { continue };
        score(engine.as_ref(), &String::from_utf8_lossy(texts));
    }
});

fn file(header: &[u8], weights: &[u8], width: usize) -> Vec<u8> {
    let mut file = b"HGLINEAR\x02\0\0\0".to_vec();
    file.extend((header.len() as u32).to_le_bytes());
    file.extend((weights.len() as u64 / width as u64).to_le_bytes());
    file.extend(header);
    file.resize(file.len().next_multiple_of(64), 0);
    file.extend(&weights[..weights.len() / width * width]);
    file
}

fn score(engine: &dyn Engine, text: &str) {
    let fill = |batch: &mut Batch, row: usize, at: usize| {
        for column in 0..engine.inputs() {
            let value = match engine.takes_text(column) {
                true => batch.texts_mut().push(text.get(at..).unwrap_or(text)) as f64,
                false => at as f64 - 1.5,
            };
            batch.set(row, column, value);
        }
    };
    let (mut batch, mut alone) = (Batch::new(engine.inputs(), 3), Batch::new(engine.inputs(), 1));
    // The last row misses everything.
    (0..2).for_each(|row| fill(&mut batch, row, row));
    fill(&mut alone, 0, 1);
    let (mut scratch, mut whole, mut one) = (Scratch::default(), Outputs::default(), Outputs::default());
    engine.score(&batch, &mut scratch, &mut whole, WANT).expect("rows of the model's shape");
    engine.score(&alone, &mut scratch, &mut one, WANT).expect("a row of the model's shape");
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let width = engine.margin_width();
    assert_eq!(bits(&whole.margins[width..2 * width]), bits(&one.margins));
    assert_eq!(bits(&whole.values[width..2 * width]), bits(&one.values));
}
