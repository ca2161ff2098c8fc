//! The table of open batches and the queue of those that wait for a place: every transition of a batch.

use std::any::TypeId;
use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hashbrown::HashTable;
use tokio::runtime::{Handle, Id};

use super::aggregator::AggregateStats;
use super::carrier::Carrier;
use super::error::AggregateError;
use super::slots::{Debris, Slots};
use super::watch::Watch;
use crate::flight::Log;
use crate::reducer::Role;
use crate::sync::Mutex;

/// How batches are made up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// From the first call of a batch to its departure. Zero if it goes as soon as there is a place.
    pub(crate) leeway: Duration,
    pub(crate) max_count: usize,
    pub(crate) max_concurrent: usize,
    pub(crate) max_waiting: usize,
    pub(crate) dedupe: bool,
}

/// What all handles of an aggregator share.
pub(crate) struct Core<G, T, R, E> {
    hub: Mutex<Hub<G, T, R, E>>,
    pub(crate) hasher: ahash::RandomState,
    pub(super) watch: Option<Watch>,
}

struct Hub<G, T, R, E> {
    open: HashTable<Arc<Batch<G, T, R, E>>>,
    queue: VecDeque<Arc<Batch<G, T, R, E>>>,
    stats: AggregateStats,
    /// What the limits are held against. One for each function, and hardly ever more than one.
    sites: Vec<(Option<TypeId>, Load)>,
}

/// Of the batches of one function.
#[derive(Clone, Copy, Default)]
struct Load {
    running: usize,
    waiting: usize,
}

/// One batch.
pub(crate) struct Batch<G, T, R, E> {
    /// Here and not with each caller: they are many. The ring that it makes is opened when the batch is over.
    pub(super) core: Arc<Core<G, T, R, E>>,
    pub(crate) slots: Slots<T, R, E>,
    pub(crate) group: G,
    pub(crate) options: Options,
    /// Of the runtime, the site and the group.
    hash: u64,
    runtime: Id,
    site: Option<TypeId>,
    pub(super) log: Log,
    helm: Mutex<Helm>,
}

struct Helm {
    stage: Stage,
    /// The carrier's, once it waits.
    carrier: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Stage {
    Open,
    Queued,
    Granted,
    Void,
}

/// A place in a batch.
pub(crate) struct Ticket<G, T, R, E> {
    pub(crate) batch: Arc<Batch<G, T, R, E>>,
    pub(crate) seat: usize,
}

/// What a call comes with.
pub(crate) struct Asking<T> {
    pub(crate) arg: T,
    /// The argument's own, if equal arguments go once.
    pub(crate) hash: u64,
    pub(crate) waker: Waker,
}

/// What a call has to do now.
#[must_use]
pub(crate) enum Admission<G, T, R, E> {
    Joined(Ticket<G, T, R, E>),
    /// It is the first: the carrier is to be set going.
    Opened(Ticket<G, T, R, E>, Carrier<G, T, R, E>, Handle),
    /// The argument is given back, to be dropped where no lock is held.
    Refused(AggregateError<E>),
}

/// How a batch ended, for the counts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Ending {
    Answered,
    Failed,
    Panicked,
    Lost,
}

type Wakers = Vec<Waker>;

impl<G, T, R, E> Core<G, T, R, E> {
    pub(crate) fn new(watch: Option<Watch>) -> Self {
        Self {
            watch,
            hub: Mutex::new(Hub {
                open: HashTable::new(),
                queue: VecDeque::new(),
                stats: AggregateStats::default(),
                sites: Vec::new(),
            }),
            hasher: ahash::RandomState::new(),
        }
    }

    pub(crate) fn stats(&self) -> AggregateStats {
        self.hub.lock().stats
    }

    /// A seat in the open batch of this runtime, site and group; in a new one if there is none.
    pub(crate) fn admit(
        self: &Arc<Self>,
        options: &Options,
        site: Option<TypeId>,
        group: G,
        asking: Asking<T>,
    ) -> Admission<G, T, R, E>
    where
        G: Hash + Eq + 'static,
    {
        let admission = self.seat(options, site, group, asking);
        if let Some(watch) = &self.watch {
            match &admission {
                Admission::Joined(ticket) => {
                    watch.placed(ticket.batch.log, ticket.seat, Role::Joined)
                }
                Admission::Opened(ticket, ..) => watch.placed(ticket.batch.log, 0, Role::Led),
                Admission::Refused(_) => watch.refused(),
            }
        }
        admission
    }

    fn seat(
        self: &Arc<Self>,
        options: &Options,
        site: Option<TypeId>,
        group: G,
        asking: Asking<T>,
    ) -> Admission<G, T, R, E>
    where
        G: Hash + Eq + 'static,
    {
        let Ok(handle) = Handle::try_current() else {
            return Admission::Refused(AggregateError::Closed);
        };
        let runtime = handle.id();
        // `()` is equal to itself, which need not be asked; and there is one open batch for each runtime.
        let is_trivial = TypeId::of::<G>() == TypeId::of::<()>();
        let hash = match (is_trivial, site) {
            (true, None) => 0,
            _ => self.hasher.hash_one((runtime, site, &group)),
        };
        let mut group = Some(group);
        let mut asking = Some(asking);
        let mut equal: Option<Arc<Batch<G, T, R, E>>> = None;
        let mut strangers: Vec<Arc<Batch<G, T, R, E>>> = Vec::new();
        loop {
            let mut hub = self.hub.lock();
            if hub.load(site).waiting >= options.max_waiting {
                drop(hub);
                return Admission::Refused(AggregateError::Full);
            }
            let is_candidate = |batch: &Arc<Batch<G, T, R, E>>| {
                batch.hash == hash
                    && batch.runtime == runtime
                    && batch.site == site
                    && !strangers.iter().any(|stranger| Arc::ptr_eq(stranger, batch))
            };
            let found = hub.open.find(hash, is_candidate).map(Arc::clone);
            match found {
                Some(batch)
                    if is_trivial
                        || equal.as_ref().is_some_and(|equal| Arc::ptr_eq(equal, &batch)) =>
                {
                    let Asking { arg, hash, waker } =
                        asking.take().expect("taken once, on the way out");
                    let (seat, size) = batch.slots.board(arg, hash, waker);
                    hub.seated(site);
                    let woken = if size >= batch.options.max_count {
                        hub.close(&batch);
                        hub.due(&batch)
                    } else {
                        None
                    };
                    drop(hub);
                    if let Some(waker) = woken {
                        waker.wake();
                    }
                    return Admission::Joined(Ticket { batch, seat });
                }
                Some(batch) => {
                    drop(hub);
                    if group.as_ref().is_some_and(|group| *group == batch.group) {
                        equal = Some(batch);
                    } else {
                        strangers.push(batch);
                    }
                }
                None => {
                    let batch = Arc::new(Batch {
                        core: Arc::clone(self),
                        slots: Slots::new(options.max_count, options.dedupe),
                        group: group.take().expect("taken once, on the way out"),
                        options: *options,
                        hash,
                        runtime,
                        site,
                        log: self.watch.as_ref().map_or_else(Log::default, Watch::log),
                        helm: Mutex::new(Helm { stage: Stage::Open, carrier: None }),
                    });
                    let Asking { arg, hash: mark, waker } =
                        asking.take().expect("taken once, on the way out");
                    let (seat, size) = batch.slots.board(arg, mark, waker);
                    hub.seated(site);
                    hub.open.insert_unique(hash, Arc::clone(&batch), |batch| batch.hash);
                    if size >= options.max_count {
                        hub.close(&batch);
                        // Its carrier is not there yet to be woken.
                        let _ = hub.due(&batch);
                    }
                    drop(hub);
                    let carrier = Carrier::new(Arc::clone(&batch));
                    return Admission::Opened(Ticket { batch, seat }, carrier, handle);
                }
            }
        }
    }

    /// A caller leaves without its answer.
    pub(crate) fn leave(&self, batch: &Arc<Batch<G, T, R, E>>, seat: usize, hash: u64) {
        let mut hub = self.hub.lock();
        let left = batch.slots.leave(seat, hash);
        hub.stats.abandoned += 1;
        let mut woken = None;
        if left.was_waiting {
            hub.stats.waiting -= 1;
            hub.load(batch.site).waiting -= 1;
            let mut helm = batch.helm.lock();
            if left.is_empty && matches!(helm.stage, Stage::Open | Stage::Queued) {
                let was_queued = helm.stage == Stage::Queued;
                helm.stage = Stage::Void;
                woken = helm.carrier.take();
                drop(helm);
                hub.close(batch);
                if was_queued {
                    hub.queue.retain(|queued| !Arc::ptr_eq(queued, batch));
                }
            }
        }
        drop(hub);
        if let Some(waker) = woken {
            waker.wake();
        }
        left.debris.clear();
    }

    /// The batch waits no longer than for a place.
    pub(crate) fn due(&self, batch: &Arc<Batch<G, T, R, E>>) {
        let woken = self.hub.lock().due(batch);
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    /// All that wait now wait no longer than for a place. Gives them.
    pub(crate) fn flush(&self) -> Vec<Arc<Batch<G, T, R, E>>> {
        let mut hub = self.hub.lock();
        let open: Vec<_> = hub.open.iter().cloned().collect();
        let woken: Wakers = open.iter().filter_map(|batch| hub.due(batch)).collect();
        let mut waiting = open;
        for queued in &hub.queue {
            if !waiting.iter().any(|batch| Arc::ptr_eq(batch, queued)) {
                waiting.push(Arc::clone(queued));
            }
        }
        drop(hub);
        woken.into_iter().for_each(Waker::wake);
        waiting
    }

    /// The arguments of a batch that was granted a place. None if everybody has left.
    pub(crate) fn depart(
        &self,
        batch: &Arc<Batch<G, T, R, E>>,
        seats: Option<&mut Vec<usize>>,
    ) -> Vec<T> {
        let mut hub = self.hub.lock();
        // One that goes before its time, for it cannot run, is still in the table.
        hub.close(batch);
        let args = batch.slots.depart(seats);
        hub.stats.waiting -= args.len();
        hub.load(batch.site).waiting -= args.len();
        hub.stats.batches += usize::from(!args.is_empty());
        args
    }

    /// The carrier is done with the batch, in whatever state it is: its place goes to the next. Closes the batch
    /// to callers, and ends it for those who wait still if it was `Lost`.
    pub(crate) fn release(&self, batch: &Arc<Batch<G, T, R, E>>, ending: Ending) -> Debris<T, R> {
        let mut hub = self.hub.lock();
        let stage = std::mem::replace(&mut batch.helm.lock().stage, Stage::Void);
        let mut woken = Wakers::new();
        match stage {
            Stage::Open => hub.close(batch),
            Stage::Queued => {
                hub.close(batch);
                hub.queue.retain(|queued| !Arc::ptr_eq(queued, batch));
            }
            Stage::Granted => {
                hub.stats.running -= 1;
                hub.load(batch.site).running -= 1;
                hub.grant(&mut woken);
            }
            Stage::Void => {}
        }
        match ending {
            Ending::Failed => hub.stats.errors += 1,
            Ending::Panicked => hub.stats.panics += 1,
            Ending::Answered | Ending::Lost => {}
        }
        let mut debris = Debris::new();
        if ending == Ending::Lost {
            let waiting;
            (waiting, debris) = batch.slots.end(AggregateError::Closed);
            hub.stats.waiting -= waiting;
            hub.load(batch.site).waiting -= waiting;
        }
        drop(hub);
        woken.into_iter().for_each(Waker::wake);
        debris
    }
}

impl<G, T, R, E> Hub<G, T, R, E> {
    /// One more call waits.
    fn seated(&mut self, site: Option<TypeId>) {
        self.stats.calls += 1;
        self.stats.waiting += 1;
        self.load(site).waiting += 1;
    }

    fn load(&mut self, site: Option<TypeId>) -> &mut Load {
        let place = self.sites.iter().position(|(known, _)| *known == site);
        let place = place.unwrap_or_else(|| {
            self.sites.push((site, Load::default()));
            self.sites.len() - 1
        });
        &mut self.sites[place].1
    }

    /// Nobody joins this batch from here on.
    fn close(&mut self, batch: &Arc<Batch<G, T, R, E>>) {
        let row = self.open.find_entry(batch.hash, |open| Arc::ptr_eq(open, batch));
        if let Ok(row) = row {
            // The caller has an `Arc` of its own, so nothing of the user's is dropped here.
            row.remove();
        }
    }

    /// Grants a place, or queues for one. Gives the carrier, if it is to be woken.
    fn due(&mut self, batch: &Arc<Batch<G, T, R, E>>) -> Option<Waker> {
        let mut helm = batch.helm.lock();
        if helm.stage != Stage::Open {
            return None;
        }
        let is_first = !self.queue.iter().any(|queued| queued.site == batch.site);
        if is_first && self.load(batch.site).running < batch.options.max_concurrent {
            helm.stage = Stage::Granted;
            let carrier = helm.carrier.take();
            drop(helm);
            self.stats.running += 1;
            self.load(batch.site).running += 1;
            self.close(batch);
            carrier
        } else {
            helm.stage = Stage::Queued;
            drop(helm);
            self.queue.push_back(Arc::clone(batch));
            None
        }
    }

    /// Gives free places to those who have waited longest.
    fn grant(&mut self, woken: &mut Wakers) {
        let mut place = 0;
        while let Some(next) = self.queue.get(place) {
            let (site, limit) = (next.site, next.options.max_concurrent);
            // What one function waits for is nothing to another's batches.
            if self.load(site).running >= limit {
                place += 1;
                continue;
            }
            let Some(next) = self.queue.remove(place) else { return };
            let mut helm = next.helm.lock();
            helm.stage = Stage::Granted;
            woken.extend(helm.carrier.take());
            drop(helm);
            self.stats.running += 1;
            self.load(site).running += 1;
            self.close(&next);
        }
    }
}

impl<G, T, R, E> Batch<G, T, R, E> {
    pub(crate) fn stage(&self) -> Stage {
        self.helm.lock().stage
    }

    /// Whether the carrier has anything to do.
    pub(crate) fn poll_stage(&self, cx: &Context<'_>) -> Poll<Stage> {
        let waker = cx.waker().clone();
        let mut helm = self.helm.lock();
        match helm.stage {
            Stage::Open | Stage::Queued => {
                let replaced = helm.carrier.replace(waker);
                drop(helm);
                drop(replaced);
                Poll::Pending
            }
            stage => Poll::Ready(stage),
        }
    }
}
