//! Calls of few rows that come at the same moment, scored as one batch.
//!
//! A forest scores a row among many for a fraction of what it takes alone. Calls are not held back for that: on a thread
//! that serves connections, those whose bodies lie there already are read first, and then scored together. Where few come
//! together, as with a single caller, most calls are scored alone at once and only now and then one looks for others.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use headgate_contract::Kind;
use headgate_engine::{Batch, Outputs, Want};
use tokio::sync::oneshot;

use crate::compute::with_desk;
use crate::decode::Asked;
use crate::encode;
use crate::predict::{Answer, Desk};
use crate::refusal::Refusal;
use crate::servable::Servable;

/// Rows of a call that may join others: more are a batch of their own.
const CALL_ROWS_MAX: usize = 16;
/// Rows that are scored together at most: the forests' widest block.
const ROWS_MAX: usize = 96;
/// What scoring them may take: no longer than other calls on the thread would notice.
const COST_MAX: Duration = Duration::from_micros(400);
/// Groups of a thread at a moment: calls beyond are scored alone.
const GROUPS_MAX: usize = 8;
/// Calls that came together by which it was worth it: where there are two, there are soon more.
const WORTH: usize = 2;
/// How often what has come meanwhile is read, at most, before all is scored.
const PASSES_MAX: usize = 4;
/// Calls that go alone, at most, after one that looked for others in vain.
const ALONE_MAX: u32 = 64;

thread_local! {
    static GATHERED: RefCell<Option<Gathered>> = const { RefCell::new(None) };
}

/// What a thread has gathered.
#[derive(Debug, Default)]
struct Gathered {
    groups: Vec<Group>,
    /// Calls that go alone before one looks for others again, and how many it was the last time.
    alone: u32,
    alone_last: u32,
}

/// Calls for the same results of the same version.
#[derive(Debug)]
struct Group {
    servable: Arc<Servable>,
    want: Want,
    /// Row-major.
    values: Vec<f64>,
    rows: usize,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    asked: Asked,
    rows: usize,
    answer: oneshot::Sender<Result<Answer, Refusal>>,
}

/// An answer on its way.
pub type Joined = oneshot::Receiver<Result<Answer, Refusal>>;

/// What became of a call that may join others.
#[derive(Debug)]
pub enum Place {
    /// It is scored with others.
    Among(Joined),
    /// It is to be scored alone.
    Alone(Asked),
}

/// Lets calls on this thread be gathered: all of them must run on it to their end.
pub fn here() {
    GATHERED.set(Some(Gathered::default()));
}

/// Joins a call, whose rows are on the desk, to others of this moment where it may.
pub fn join(desk: &mut Desk, servable: &Arc<Servable>, asked: Asked) -> Place {
    let batch = desk.batch();
    let rows = batch.rows();
    if rows == 0 || rows > CALL_ROWS_MAX || asked.contributions || !batch.texts().is_empty() {
        return Place::Alone(asked);
    }
    GATHERED.with_borrow_mut(|gathered| match gathered {
        Some(gathered) => gathered.join(servable, asked, batch),
        None => Place::Alone(asked),
    })
}

/// Waits for the answer of a call that was joined to others.
pub async fn answer(joined: Joined) -> Result<Answer, Refusal> {
    joined.await.unwrap_or_else(|_| Err(Refusal::new(Kind::Internal, "scoring it panicked")))
}

impl Gathered {
    fn join(&mut self, servable: &Arc<Servable>, asked: Asked, batch: &Batch) -> Place {
        if self.alone > 0 {
            self.alone -= 1;
            return Place::Alone(asked);
        }
        let want = encode::want(&servable.schema, &asked);
        let rows = batch.rows();
        let is_its = |group: &Group| Arc::ptr_eq(&group.servable, servable) && group.want == want;
        let at = self.groups.iter().position(|group| is_its(group) && group.has_room(rows));
        let at = match at {
            Some(at) => at,
            None if self.groups.len() < GROUPS_MAX => {
                self.groups.push(Group::new(Arc::clone(servable), want));
                if self.groups.len() == 1 {
                    tokio::spawn(score_all());
                }
                self.groups.len() - 1
            }
            None => return Place::Alone(asked),
        };
        Place::Among(self.groups[at].add(asked, batch))
    }

    fn calls(&self) -> usize {
        self.groups.iter().map(|group| group.members.len()).sum()
    }

    /// Learns from how many calls came together.
    fn learn(&mut self, most: usize) {
        self.alone_last = if most >= WORTH { 0 } else { (2 * self.alone_last).clamp(1, ALONE_MAX) };
        self.alone = self.alone_last;
    }
}

/// Scores what this thread has gathered, once all calls that are there were read.
async fn score_all() {
    // Behind all tasks that can run now, and those whose bytes have come meanwhile; again for as long as more come.
    let mut before = 0;
    for _ in 0..PASSES_MAX {
        tokio::task::yield_now().await;
        let now = GATHERED.with_borrow(|gathered| gathered.as_ref().map_or(0, Gathered::calls));
        if now == before {
            break;
        }
        before = now;
    }
    let groups = GATHERED.with_borrow_mut(|gathered| {
        let Some(gathered) = gathered else { return Vec::new() };
        let groups = std::mem::take(&mut gathered.groups);
        gathered.learn(groups.iter().map(|group| group.members.len()).max().unwrap_or(WORTH));
        groups
    });
    for group in groups {
        group.score();
        // Between groups others get their turn.
        tokio::task::yield_now().await;
    }
}

impl Group {
    fn new(servable: Arc<Servable>, want: Want) -> Self {
        Self { servable, want, values: Vec::new(), rows: 0, members: Vec::new() }
    }

    fn has_room(&self, rows: usize) -> bool {
        let all = self.rows + rows;
        all <= ROWS_MAX && self.servable.cost_ns(all, false) <= COST_MAX.as_nanos() as f64
    }

    fn add(&mut self, asked: Asked, batch: &Batch) -> Joined {
        for row in 0..batch.rows() {
            self.values.extend((0..batch.columns()).map(|column| batch.value(row, column)));
        }
        self.rows += batch.rows();
        let (answer, joined) = oneshot::channel();
        self.members.push(Member { asked, rows: batch.rows(), answer });
        joined
    }

    /// Scores all rows and answers each call.
    fn score(self) {
        with_desk(|desk| {
            let scored = desk.rows_from(&self.values, self.rows).score(&self.servable, self.want);
            let scores = match scored {
                Ok(scores) => scores,
                Err(refusal) => {
                    for member in self.members {
                        let _ = member.answer.send(Err(refusal.clone()));
                    }
                    return;
                }
            };
            let (mut first, mut part) = (0, Outputs { texts: scores.texts.clone(), ..Outputs::default() });
            for member in self.members {
                let rows = first..first + member.rows;
                first = rows.end;
                // Its caller may have gone meanwhile.
                if !member.answer.is_closed() {
                    take(&scores.margins, self.rows, rows.clone(), &mut part.margins);
                    take(&scores.values, self.rows, rows, &mut part.values);
                    let _ = member.answer.send(Ok(Answer::new(&self.servable, member.asked, &part)));
                }
            }
        });
    }
}

/// The results of some of all rows.
fn take(from: &[f64], all: usize, rows: Range<usize>, to: &mut Vec<f64>) {
    let width = from.len() / all;
    to.clear();
    to.extend_from_slice(&from[rows.start * width..rows.end * width]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::future::join_all;

    use super::*;
    use crate::decode::{Bounds, Form};
    use crate::dispatch::tests::servable;

    /// What a call's answer says.
    type Said = Result<String, String>;

    async fn call(servable: &Arc<Servable>, body: &str) -> (bool, Said) {
        let (mut desk, bounds) = (Desk::default(), Bounds { rows_max: 1000, strict: false });
        let asked = desk.read(servable, Form::V1, body.as_bytes(), bounds).unwrap();
        let (among, answered) = match join(&mut desk, servable, asked) {
            Place::Among(joined) => (true, answer(joined).await),
            Place::Alone(asked) => (false, desk.answer(servable, asked)),
        };
        let said = answered.map(|answer| String::from_utf8(answer.body.bytes).unwrap());
        (among, said.map_err(|refusal| refusal.message))
    }

    fn sum(row: [usize; 2], rows: usize) -> Said {
        let score = (row[0] + row[1] + 1) as f64;
        Ok(serde_json::json!({"predictions": vec![score; rows]}).to_string())
    }

    fn body(row: [usize; 2], rows: usize) -> String {
        serde_json::json!({"instances": vec![row; rows]}).to_string()
    }

    #[tokio::test]
    async fn calls_of_a_moment_are_scored_together_each_with_its_own_answer() {
        let servables = [servable(2), servable(2), servable(2)];
        let calls = || {
            (0..200).map(|n| {
                let (row, rows) = ([n, n % 7], 1 + n % 20);
                let servable = &servables[n % 3];
                async move {
                    let (among, said) = call(servable, &body(row, rows)).await;
                    assert_eq!(said, sum(row, rows), "{n}");
                    (among, rows)
                }
            })
        };
        // No thread gathers that was not told to.
        assert!(join_all(calls()).await.iter().all(|(among, _)| !among));
        here();
        for _ in 0..3 {
            let all = join_all(calls()).await;
            assert!(all.iter().filter(|(among, _)| *among).count() > 60, "{all:?}");
            assert!(all.iter().all(|(among, rows)| !among || *rows <= CALL_ROWS_MAX));
        }
    }

    #[tokio::test]
    async fn one_that_finds_no_others_mostly_goes_alone() {
        here();
        let servable = servable(2);
        let mut among = 0;
        for n in 0..1000 {
            let (joined, said) = call(&servable, &body([n, 1], 1)).await;
            assert_eq!(said, sum([n, 1], 1));
            among += usize::from(joined);
        }
        assert!((10..30).contains(&among), "{among}");
        // Once there are others they are found again.
        let (first, many) = ([1, 1], body([1, 1], 1));
        for _ in 0..=ALONE_MAX {
            join_all((0..10).map(|_| call(&servable, &many))).await;
        }
        let all = join_all((0..10).map(|_| call(&servable, &many))).await;
        assert!(all.iter().all(|(among, said)| *among && *said == sum(first, 1)), "{all:?}");
    }

    #[tokio::test]
    async fn a_caller_that_goes_takes_nothing_from_the_others() {
        here();
        let servable = servable(2);
        let mut first = Box::pin(call(&servable, "{\"instances\":[[5,6]]}"));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut others: Vec<_> = (0..10)
            .map(|n| {
                Box::pin({
                    let servable = &servable;
                    async move { call(servable, &body([n, 2], 2)).await.1 }
                })
            })
            .collect();
        for other in &mut others {
            assert!(futures_util::poll!(other).is_pending());
        }
        // The one that began it all.
        drop(first);
        drop(others.remove(4));
        let said = join_all(others).await;
        let expected = (0..10).filter(|n| *n != 4).map(|n| sum([n, 2], 2));
        assert_eq!(said, expected.collect::<Vec<_>>());
    }
}
