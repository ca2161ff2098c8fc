//! What becomes of flights when their process ends, and when it becomes two.

use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;

use reducer_core::{ReduceError, Reducer};
use reducer_tests::ByHand;

const CHILD: &str = "REDUCER_TESTS_CHILD";

/// Runs the test `name` of this file in a process of its own, where [`is_child`] is true.
fn in_a_child(name: &str) -> Output {
    let me = std::env::current_exe().expect("the file of a running program");
    let mut child = Command::new(me);
    child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().expect("it runs here")
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn a_process_may_exit_with_flights_in_the_air() {
    if !is_child() {
        let exit = in_a_child("a_process_may_exit_with_flights_in_the_air");
        assert_eq!(exit.status.code(), Some(7), "{}", String::from_utf8_lossy(&exit.stderr));
        return;
    }
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    static REDUCER: OnceLock<Reducer> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().unwrap());
    let reducer = REDUCER.get_or_init(|| Reducer::builder().detached(true).build());
    // One that nobody waits for any more, one with a crowd, one of a thread.
    let entered = runtime.enter();
    ByHand::new(reducer.reduce(1, std::future::pending::<()>())).pending();
    drop(entered);
    for _ in 0..50 {
        runtime.spawn(reducer.reduce(2, std::future::pending::<()>()));
    }
    thread::spawn(|| reducer.reduce_blocking(3, thread::park));
    while reducer.callers(&2) < 50 || !reducer.is_in_flight(&3) {
        thread::yield_now();
    }
    assert_eq!(reducer.in_flight(), 3);
    std::process::exit(7);
}

/// A key's hash in a new table, as far as it is ever shown: a ring's flights are told apart by it.
fn shown_hash() -> String {
    let reducer = Reducer::new();
    let inner = reducer.clone();
    let mut call = ByHand::new(reducer.reduce(1, async move {
        match inner.try_reduce(1, async { String::new() }).await {
            Err(ReduceError::Reentrant(ring)) => ring.to_string(),
            other => panic!("not a ring: {other:?}"),
        }
    }));
    let ring = call.ready();
    ring[ring.find("(key #").expect("with its hash")..][..14].to_owned()
}

#[test]
fn one_key_has_another_hash_in_every_process_and_every_reducer() {
    if is_child() {
        println!("{}", shown_hash());
        return;
    }
    let child = || {
        let said = in_a_child("one_key_has_another_hash_in_every_process_and_every_reducer").stdout;
        let said = String::from_utf8(said).expect("text");
        said[said.find("(key #").expect("a hash")..][..14].to_owned()
    };
    let (a, b, here, again) = (child(), child(), shown_hash(), shown_hash());
    assert!(a != b && a != here && b != here && here != again, "{a} {b} {here} {again}");
}

/// The child has a copy of the table, and not the threads whose flights are in it. A fresh key works there;
/// one in the air works after `forget`.
#[cfg(unix)]
#[test]
#[allow(unsafe_code, reason = "there is no safe `fork`")]
fn after_a_fork_fresh_keys_work_and_those_in_the_air_when_they_are_forgotten() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;

    let reducer = Reducer::new();
    let (leads, led) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    thread::scope(|threads| {
        threads.spawn(|| {
            let work = move || {
                leads.send(()).unwrap();
                may_end.recv().unwrap();
                "the parent's"
            };
            assert_eq!(reducer.reduce_blocking(1, work), "the parent's");
        });
        led.recv().unwrap();
        // SAFETY: the child calls the reducer, which this is about, and the allocator, which the C library
        // keeps usable; then it ends, without running anything of the parent's.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: a hang is to be an error: this ends the child.
            unsafe { libc::alarm(60) };
            let works = catch_unwind(AssertUnwindSafe(|| {
                assert_eq!(ByHand::new(reducer.reduce(2, async { 2 })).ready(), 2);
                assert_eq!(reducer.reduce_blocking(3, || 3), 3);
                assert!(reducer.is_in_flight(&1), "of a thread that is not here");
                ByHand::new(reducer.reduce(1, async { "never" })).pending();
                assert!(reducer.forget(&1));
                assert_eq!(reducer.reduce_blocking(1, || "the child's"), "the child's");
            }));
            // SAFETY: it only ends the process.
            unsafe { libc::_exit(i32::from(works.is_err())) };
        }
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child's exit status");
        assert!(reducer.is_in_flight(&1));
        end.send(()).unwrap();
    });
    assert_eq!(reducer.in_flight(), 0);
}
