//! Rows by their hash: what a shard's lock is over.
//!
//! There are five rows to four buckets at most; a large table has no more than some eight times as many buckets as rows.
//! No user code runs here: a row that is taken out is given back, to be dropped when the lock is free.

use std::mem;

use super::Hold;
use super::row::{Chain, Row};

/// A table gives memory back when it is larger than this and nearly empty.
const SMALL: usize = 32;

#[derive(Default)]
pub(crate) struct Table {
    /// As many as a power of two, or none.
    buckets: Box<[Chain]>,
    rows: usize,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// A bucket, if there is any.
    #[inline(always)]
    fn bucket(&mut self, hash: u32) -> Option<&mut Chain> {
        let last = self.buckets.len().wrapping_sub(1);
        self.buckets.get_mut(hash as usize & last)
    }

    /// A flight with this very hash.
    #[inline(always)]
    pub(crate) fn find(&mut self, hash: u32, is_it: impl Fn(&Hold) -> bool) -> Option<&Hold> {
        self.bucket(hash)?.iter().find(|flight| flight.core().hash == hash && is_it(flight))
    }

    /// All of them.
    pub(crate) fn with_hash(&mut self, hash: u32) -> impl Iterator<Item = &Hold> {
        let rows = self.bucket(hash).into_iter().flat_map(Chain::iter);
        rows.filter(move |flight| flight.core().hash == hash)
    }

    #[inline(always)]
    pub(crate) fn insert(&mut self, row: Row) {
        let buckets = self.buckets.len();
        if self.rows >= buckets + buckets / 4 {
            self.resize(buckets * 2);
        }
        self.rows += 1;
        let hash = row.hash();
        self.bucket(hash).expect("there is room").push(row);
    }

    /// Takes out the row of this very flight, if it is there.
    #[inline(always)]
    pub(crate) fn remove(&mut self, flight: &Hold) -> Option<Row> {
        let row = self.bucket(flight.core().hash)?.remove(flight)?;
        self.rows -= 1;
        let buckets = self.buckets.len();
        if buckets > SMALL && self.rows < buckets / 8 {
            self.resize(self.rows * 2);
        }
        Some(row)
    }

    #[cold]
    #[inline(never)]
    fn resize(&mut self, buckets: usize) {
        let buckets = buckets.next_power_of_two().max(SMALL / 4);
        let new = (0..buckets).map(|_| Chain::default()).collect();
        let mut old = mem::replace(&mut self.buckets, new);
        for chain in &mut old {
            while let Some(row) = chain.pop() {
                let hash = row.hash();
                self.bucket(hash).expect("there is room").push(row);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::future::Pending;

    use super::{SMALL, Table};
    use crate::flight::{Cargo, Hold, Open, Row, same};
    use crate::key::ByEq;

    fn flight(hash: u32) -> (Hold, Row) {
        Cargo::<(), (), ByEq>::later::<Pending<()>, Open<()>>().launch(hash, 0, None, ())
    }

    /// Spreads numbers as a hash does.
    fn hash(n: u32) -> u32 {
        n.wrapping_mul(0x9E37_79B9)
    }

    #[test]
    fn every_row_is_found_by_its_hash_however_many_there_are() {
        let mut table = Table::default();
        let mut flights = Vec::new();
        for n in 0..1000 {
            let (flight, row) = flight(hash(n));
            table.insert(row);
            flights.push(flight);
            assert_eq!(table.len(), flights.len());
            assert!(
                table.buckets.len() * 5 >= table.len() * 4,
                "about one row for each, on average"
            );
        }
        for (n, flight) in flights.iter().enumerate() {
            let mut found = table.with_hash(hash(n as u32));
            assert!(
                found.next().is_some_and(|found| same(found, flight)) && found.next().is_none()
            );
        }
    }

    #[test]
    fn of_rows_with_one_hash_that_one_is_taken_out_that_is_meant() {
        let mut table = Table::default();
        let mut flights: Vec<_> = (0..5).map(|_| flight(7)).collect();
        let (other, _unused) = flight(7);
        let (mut kept, mut rows) = (Vec::new(), Vec::new());
        for (flight, row) in flights.drain(..) {
            kept.push(flight);
            rows.push(row);
        }
        rows.into_iter().for_each(|row| table.insert(row));
        assert!(table.remove(&other).is_none());
        // From the middle, from either end, and the rest.
        for at in [2, 3, 0, 1, 0] {
            let flight = kept.remove(at);
            let row = table.remove(&flight).expect("it is there");
            assert!(same(&row.into_hold(), &flight) && table.remove(&flight).is_none());
            let left: Vec<_> = table.with_hash(7).map(Hold::address).collect();
            assert_eq!(left.len(), kept.len());
            assert!(kept.iter().all(|flight| left.contains(&flight.address())));
        }
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_table_gives_its_memory_back() {
        let mut table = Table::default();
        let mut flights = Vec::new();
        for n in 0..10_000 {
            let (flight, row) = flight(hash(n));
            table.insert(row);
            flights.push(flight);
        }
        assert!(table.buckets.len() >= 8_000);
        for flight in flights.drain(..) {
            assert!(table.remove(&flight).is_some());
            assert!(table.buckets.len() <= SMALL.max(table.len() * 8 + 8), "{}", table.len());
        }
    }
}
