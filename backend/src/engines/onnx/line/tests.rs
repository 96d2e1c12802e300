#![allow(clippy::unwrap_used)]
use std::sync::mpsc;

use super::*;

/// Gives back each row's first value, and says how many calls each run had. Refuses 13 alone, breaks with 66 in any run,
/// waits where told.
struct Echo {
    runs: mpsc::Sender<usize>,
    hold: Mutex<mpsc::Receiver<()>>,
}

impl Work for Echo {
    fn check(&self, batch: &Batch) -> Result<(), Refusal> {
        match batch.column(0).contains(&13.0) {
            true => Err(Refusal::invalid("13 came")),
            false => Ok(()),
        }
    }

    fn score(&self, calls: &[&Batch], stop: &Stop) -> Result<Vec<Outputs>, Refusal> {
        let _ = self.runs.send(calls.len());
        if calls.iter().any(|batch| batch.column(0).contains(&1000.0)) {
            let _ = self.hold.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        let asked = if stop.is_asked() { 1.0 } else { 0.0 };
        match calls.iter().any(|batch| batch.column(0).contains(&66.0)) {
            true => Err(Refusal::invalid("66 came")),
            false => Ok(calls.iter().map(|b| outputs(b.column(0).iter().map(|v| v + asked).collect())).collect()),
        }
    }
}

/// A line with what tells of its runs, and what ends one that waits.
struct Rig {
    gang: Arc<Gang>,
    line: Arc<Line>,
    runs: mpsc::Receiver<usize>,
    release: mpsc::Sender<()>,
}

impl Rig {
    fn new(rows_max: usize, waiting_max: usize) -> Self {
        let ((tell, runs), (release, hold)) = (mpsc::channel(), mpsc::channel());
        let work = Box::new(Echo { runs: tell, hold: Mutex::new(hold) });
        let bounds = Bounds { rows_max, delay: Duration::ZERO, waiting_max };
        Self { gang: Arc::new(Gang::new(1).unwrap()), line: Line::new(work, bounds), runs, release }
    }

    fn ask(&self, values: &[f64]) -> tokio::task::JoinHandle<Result<Outputs, Refusal>> {
        let (gang, line) = (Arc::clone(&self.gang), Arc::clone(&self.line));
        let batch = Batch::from_rows(1, &values.iter().map(|v| [*v]).collect::<Vec<_>>());
        tokio::spawn(async move { line.score(&gang, batch, Instant::now() + Duration::from_secs(60)).await })
    }

    /// A run that has begun, and ends when released.
    fn busy(&self) -> tokio::task::JoinHandle<Result<Outputs, Refusal>> {
        let call = self.ask(&[1000.0]);
        tokio::task::block_in_place(|| assert_eq!(self.runs.recv().unwrap(), 1));
        call
    }

    async fn waiting(&self, rows: usize) {
        while self.line.lock().rows_waiting < rows {
            tokio::task::yield_now().await;
        }
    }
}

fn outputs(values: Vec<f64>) -> Outputs {
    Outputs { values, ..Outputs::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_during_a_run_is_the_next_one() {
    let rig = Rig::new(4, 100);
    let first = rig.busy();
    let calls = [rig.ask(&[1.0]), rig.ask(&[2.0, 3.0]), rig.ask(&[4.0])];
    rig.waiting(4).await;
    // Beyond the rows of one run.
    let last = rig.ask(&[5.0, 6.0, 7.0, 8.0, 9.0]);
    rig.waiting(9).await;
    rig.release.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), outputs(vec![1000.0]));
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap().unwrap().values);
    }
    answers.sort_by(|a, b| a[0].total_cmp(&b[0]));
    assert_eq!(answers, [vec![1.0], vec![2.0, 3.0], vec![4.0]]);
    assert_eq!(last.await.unwrap().unwrap().values.len(), 5);
    assert_eq!((rig.runs.recv().unwrap(), rig.runs.recv().unwrap()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_calls_fail_alone() {
    let rig = Rig::new(100, 100);
    let first = rig.busy();
    let calls = [rig.ask(&[1.0]), rig.ask(&[13.0]), rig.ask(&[66.0]), rig.ask(&[2.0])];
    rig.waiting(4).await;
    rig.release.send(()).unwrap();
    first.await.unwrap().unwrap();
    let [one, refused, broken, two] = calls;
    assert_eq!(one.await.unwrap().unwrap().values, [1.0]);
    assert_eq!(refused.await.unwrap().unwrap_err().message, "13 came");
    assert_eq!(broken.await.unwrap().unwrap_err().message, "66 came");
    assert_eq!(two.await.unwrap().unwrap().values, [2.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_late_or_finds_no_room_is_refused_at_once() {
    let rig = Rig::new(100, 2);
    // A row costs 60 s, as far as is known.
    rig.line.row_ns.store(60_000_000_000, Ordering::Relaxed);
    let first = rig.busy();
    let late = rig.ask(&[1.0]).await.unwrap().unwrap_err();
    assert!(late.kind == Kind::Overloaded && late.message.contains("deadline"), "{late}");
    rig.line.row_ns.store(0, Ordering::Relaxed);
    let waiting = rig.ask(&[1.0, 2.0]);
    rig.waiting(2).await;
    let full = rig.ask(&[3.0]).await.unwrap().unwrap_err();
    assert!(full.kind == Kind::Overloaded && full.message.contains("2 rows wait"), "{full}");
    rig.release.send(()).unwrap();
    first.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_given_up_is_not_scored() {
    let rig = Rig::new(100, 100);
    let first = rig.busy();
    let dropped = rig.ask(&[66.0]);
    rig.waiting(1).await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let kept = rig.ask(&[2.0]);
    rig.waiting(2).await;
    rig.release.send(()).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(kept.await.unwrap().unwrap().values, [2.0]);
    assert_eq!(rig.runs.recv().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_asked_to_end_when_its_last_caller_has_gone() {
    let (one, two) = (Arc::new(Ticket::default()), Arc::new(Ticket::default()));
    let (first, second) = (one.hold(), two.hold());
    let stop = Stop::of([&*one, &*two].into_iter());
    let (tell, told) = mpsc::channel();
    stop.by(move || tell.send(()).unwrap());
    drop(first);
    assert!(!stop.is_asked() && told.try_recv().is_err());
    drop(second);
    assert!(stop.is_asked() && told.try_recv().is_ok());
    // Who has gone before it begins does not hold it up.
    assert!(Stop::of([&*one].into_iter()).is_asked());
}
