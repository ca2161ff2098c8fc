//! Random programs of call, poll, drop, `mem::forget`, `forget`, complete, panic and time out, held against a
//! reference model after every step: what a flight is, in fifty lines without concurrency. With threads:
//! `linearisable`.

use std::collections::HashMap;
use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use reducer_core::{ReduceError, Reduced, Reducer, Role};
use reducer_tests::{ByHand, Count, Dice, DropCounts, programs};
use tokio::runtime::Runtime;

const KEYS: usize = 3;
const STEPS: usize = 120;
/// What a flight has, in milliseconds, where time is limited.
const PATIENCE: u64 = 5;
/// More callers than these may move a flight to a task of its own, which the model does not know.
const CROWD: usize = 16;

/// What the work of one flight does when it is polled next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cue {
    Wait,
    Complete,
    Panic,
    /// Nothing, but its time is over.
    TimeOut,
}

/// The works' side: cues given and wakers left, by flight.
#[derive(Clone, Default)]
struct Stage(Arc<Mutex<Vec<Part>>>);

/// One work: what it shall do, and whom to tell.
type Part = (Cue, Option<Waker>);

impl Stage {
    /// The work of the next flight; its value is the flight's number.
    fn work(&self, dropped: &Count) -> impl Future<Output = usize> + Send + use<> {
        let flight = {
            let mut cues = self.0.lock().unwrap();
            cues.push((Cue::Wait, None));
            cues.len() - 1
        };
        let (stage, guard) = (self.clone(), DropCounts(dropped.clone()));
        poll_fn(move |cx| {
            let _guard = &guard;
            let mut cues = stage.0.lock().unwrap();
            let (cue, waker) = &mut cues[flight];
            match *cue {
                Cue::Wait => {
                    *waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                Cue::Complete => Poll::Ready(flight),
                Cue::Panic => {
                    drop(cues);
                    resume_unwind(Box::new("on cue"))
                }
                Cue::TimeOut => unreachable!("never given"),
            }
        })
    }

    fn give(&self, flight: usize, cue: Cue) {
        let waker = {
            let mut cues = self.0.lock().unwrap();
            cues[flight].0 = cue;
            cues[flight].1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The reference: what flights there are, and who is aboard.
#[derive(Default)]
struct Model {
    rows: HashMap<usize, usize>,
    flights: Vec<ModelFlight>,
    patience: Option<u64>,
    now: u64,
}

struct ModelFlight {
    key: usize,
    callers: usize,
    cue: Cue,
    deadline: Option<u64>,
    over: bool,
}

impl ModelFlight {
    fn is_late(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl Model {
    /// A call is polled for the first time.
    fn board(&mut self, key: usize) -> (usize, Role) {
        if let Some(&flight) = self.rows.get(&key) {
            self.flights[flight].callers += 1;
            return (flight, Role::Joined);
        }
        let flight = self.flights.len();
        let deadline = self.patience.map(|patience| self.now + patience);
        let cue = Cue::Wait;
        self.flights.push(ModelFlight { key, callers: 1, cue, deadline, over: false });
        self.rows.insert(key, flight);
        (flight, Role::Led)
    }

    /// Whether the work has been told something that it has not seen.
    fn is_awake(&self, flight: usize) -> bool {
        let flight = &self.flights[flight];
        flight.cue != Cue::Wait || flight.is_late(self.now)
    }

    /// A caller that is aboard is polled: whether the flight is over by the end of the poll.
    fn poll(&mut self, flight: usize) -> Option<Cue> {
        let cue = match &self.flights[flight] {
            ModelFlight { cue: Cue::Wait, .. } if self.flights[flight].is_late(self.now) => {
                Cue::TimeOut
            }
            ModelFlight { cue: Cue::Wait, .. } => return None,
            ModelFlight { cue, .. } => *cue,
        };
        self.flights[flight].cue = cue;
        self.end(flight);
        Some(cue)
    }

    fn leave(&mut self, flight: usize) {
        self.flights[flight].callers -= 1;
        if self.flights[flight].callers == 0 {
            self.end(flight);
        }
    }

    fn end(&mut self, flight: usize) {
        let ModelFlight { key, over, .. } = &mut self.flights[flight];
        *over = true;
        if self.rows.get(key) == Some(&flight) {
            self.rows.remove(key);
        }
    }
}

type Tried<'r> = ByHand<BoxFuture<'r, Result<Reduced<usize>, ReduceError>>>;

struct Caller<'r> {
    key: usize,
    task: Tried<'r>,
    aboard: Option<(usize, Role)>,
}

/// tokio's clock, paused: it goes on when it is told.
fn clock() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn run(seed: u64) {
    let patience = seed.is_multiple_of(2).then_some(PATIENCE);
    let clock = patience.map(|_| clock());
    let _entered = clock.as_ref().map(Runtime::enter);
    let reducer = Reducer::builder();
    let reducer = match patience {
        Some(patience) => reducer.timeout(Duration::from_millis(patience)),
        None => reducer,
    };
    let reducer = &*Box::leak(Box::new(reducer.build()));
    let (stage, dropped) = (Stage::default(), Count::new());
    let mut dice = Dice::new(seed);
    let mut model = Model { patience, ..Model::default() };
    let mut callers: Vec<Caller<'_>> = Vec::new();

    for _ in 0..STEPS {
        let pick = |dice: &mut Dice, n: usize| if n == 0 { None } else { Some(dice.below(n)) };
        match dice.below(13) {
            0..=3 => {
                let key = dice.below(KEYS);
                let task = ByHand::new(call(reducer, key, &stage, &dropped));
                callers.push(Caller { key, task, aboard: None });
            }
            4..=7 => {
                if let Some(at) = pick(&mut dice, callers.len())
                    && (callers[at].aboard.is_some() || reducer.callers(&callers[at].key) < CROWD)
                {
                    poll(&mut callers, at, &mut model);
                }
            }
            8 => {
                if let Some(at) = pick(&mut dice, callers.len()) {
                    let caller = callers.swap_remove(at);
                    let flight = caller.aboard;
                    drop(caller);
                    if let Some((flight, _)) = flight {
                        model.leave(flight);
                    }
                }
            }
            9 => {
                if dice.below(8) == 0
                    && let Some(at) = pick(&mut dice, callers.len())
                {
                    mem::forget(callers.swap_remove(at).task);
                }
            }
            10 => {
                let key = dice.below(KEYS);
                assert_eq!(reducer.forget(&key), model.rows.remove(&key).is_some());
            }
            11 => {
                if let Some(clock) = &clock {
                    let millis = 1 + dice.below(3) as u64;
                    clock.block_on(tokio::time::advance(Duration::from_millis(millis)));
                    model.now += millis;
                    for caller in &callers {
                        if caller
                            .aboard
                            .is_some_and(|(flight, _)| model.flights[flight].is_late(model.now))
                        {
                            assert!(caller.task.is_woken(), "a caller slept through the clock");
                        }
                    }
                }
            }
            _ => {
                if let Some(flight) = pick(&mut dice, model.flights.len())
                    && !model.flights[flight].over
                    && model.flights[flight].cue == Cue::Wait
                {
                    let cue = if dice.below(3) == 0 { Cue::Panic } else { Cue::Complete };
                    model.flights[flight].cue = cue;
                    stage.give(flight, cue);
                    for caller in &callers {
                        if caller.aboard.is_some_and(|(aboard, _)| aboard == flight) {
                            assert!(caller.task.is_woken(), "a caller slept through the cue");
                        }
                    }
                }
            }
        }
        check(reducer, &model, &stage, &dropped);
    }

    // Everybody who is still there gets an outcome, and then nothing is left but what was forgotten.
    for flight in 0..model.flights.len() {
        if !model.flights[flight].over && model.flights[flight].cue == Cue::Wait {
            model.flights[flight].cue = Cue::Complete;
            stage.give(flight, Cue::Complete);
        }
    }
    while let Some(last) = callers.len().checked_sub(1) {
        if !poll(&mut callers, last, &mut model) {
            let flight = callers[last].aboard.expect("polled").0;
            model.flights[flight].cue = Cue::Complete;
            stage.give(flight, Cue::Complete);
        }
    }
    check(reducer, &model, &stage, &dropped);
}

/// A call with work that is numbered when it is first polled: flights are numbered as they begin.
fn call<'r>(
    reducer: &'r Reducer,
    key: usize,
    stage: &Stage,
    dropped: &Count,
) -> BoxFuture<'r, Result<Reduced<usize>, ReduceError>> {
    let (stage, dropped) = (stage.clone(), dropped.clone());
    let work = async move { stage.work(&dropped).await };
    reducer.try_reduce(key, work).boxed()
}

/// Polls one caller, in the reducer and in the model; true if it ended and was removed.
fn poll(callers: &mut Vec<Caller<'_>>, at: usize, model: &mut Model) -> bool {
    let caller = &mut callers[at];
    let is_new = caller.aboard.is_none();
    let (flight, role) = *caller.aboard.get_or_insert_with(|| model.board(caller.key));
    if is_new && role == Role::Joined {
        // Who joins leaves work that is awake to those who were called, and looks again.
        assert!(caller.task.poll().is_pending());
        assert_eq!(caller.task.is_woken(), model.is_awake(flight));
        return false;
    }
    let cue = model.poll(flight);
    let polled = catch_unwind(AssertUnwindSafe(|| caller.task.poll()));
    match (cue, polled) {
        (None, Ok(Poll::Pending)) => return false,
        (Some(Cue::Complete), Ok(Poll::Ready(Ok(done)))) => {
            assert_eq!(done.value, flight, "another flight's outcome");
            assert_eq!(done.role, role);
        }
        (Some(Cue::Panic), Ok(Poll::Ready(Err(ReduceError::Panicked(panicked))))) => {
            assert_eq!(panicked.message(), "on cue");
        }
        (Some(Cue::Panic), Err(_)) => {}
        (Some(Cue::TimeOut), Ok(Poll::Ready(Err(ReduceError::TimedOut(_))))) => {}
        (cue, polled) => panic!("flight {flight}, {cue:?}: got {polled:?}"),
    }
    callers.swap_remove(at);
    true
}

fn check(reducer: &Reducer, model: &Model, stage: &Stage, dropped: &Count) {
    assert_eq!(reducer.in_flight(), model.rows.len());
    for key in 0..KEYS {
        let row = model.rows.get(&key);
        assert_eq!(reducer.is_in_flight(&key), row.is_some());
        let aboard = row.map_or(0, |&flight| model.flights[flight].callers);
        assert_eq!(reducer.callers(&key), aboard);
    }
    assert_eq!(stage.0.lock().unwrap().len(), model.flights.len(), "as many works as flights");
    let over = model.flights.iter().filter(|flight| flight.over).count();
    assert_eq!(dropped.get(), over, "the work is dropped when its flight is over");
}

#[test]
fn random_programs_do_what_the_model_does() {
    programs(300_000, STEPS as u64, run);
}
