//! What a flight costs beside the least it could cost, and beside what else there is.
//!
//! All contenders of a workload take turns in every round, on CPU time, and the medians are shown as ratios to a floor.
//! Without an argument it writes `../../RESULTS.md`; with the name of a workload it runs that one, and `-- --smoke` each
//! once.

use benches::Args;

mod contenders;
#[cfg(feature = "peers")]
mod peers;
mod report;
mod workloads;

use report::Report;
use workloads as w;

fn main() {
    let args = Args::new();
    let mut report = Report::default();
    // Everything a hundred times smaller: in the debug profile, too, that takes a moment.
    let scale = if args.smoke { 100 } else { 1 };
    let calls = 100_000 / scale;

    report.table("One caller", "Keys of its own each time. W1: `u64`, the work is ready at once. W1b: the same, 36 bytes of string, which the caller\nborrows. W2: as W1, the work suspends once, in a task, which goes back to its runtime then; W2 bare: the same in no\nruntime, and the work wakes itself. Ratios to floor 2; allocations are exact, one is the value's own.");
    for (name, contest) in [
        ("W1", w::alone("W1  uncontended, ready at once", 0, calls)),
        ("W1b", w::alone_by_name("W1b  uncontended, 36 bytes of key", calls)),
        ("W2", w::alone_in_a_task("W2  uncontended, suspends once", 1, calls)),
        ("W2 bare", w::alone("W2 bare  uncontended, suspends once, no runtime", 1, calls)),
    ] {
        report.calls(name, &args.run(contest));
    }

    report.table("Many callers of one key", "Tasks on one thread. W3: so many, released at once when all have joined. W4: a thousand, and the work is woken twenty\ntimes from outside. Ratios to as many tasks that wait each for itself.");
    report.plot(
        "callers.svg",
        "W3: CPU time of a caller, to one who waits for itself",
        "callers of one key",
    );
    for callers in [10, 100, 1_000, 10_000 / scale as usize] {
        let title = format!("W3  {callers} callers of one key, released at once");
        let scores = args.run(w::crowd(&title, callers, 1));
        report.ratios(&format!("W3 {callers}"), &scores);
        report.points(callers, &scores);
    }
    let title = "W4  1,000 callers of one key, 20 events from outside";
    report.ratios("W4", &args.run(w::crowd(title, 1_000, 20)));
    if args.want("W4 facts") {
        report.facts(w::crowd_facts(1_000));
        report.print_last();
    }

    report.table("A service", "W5: 64 tasks on two workers, keys by zipf's law, the work lets others run once; ratios to floor 2, which shares\nnothing. W7: nineteen of twenty calls join. W8: an axum server and 64 connections that ask it, keys by zipf's law over a\nhundred, a query of some 20 µs; the ratio is to the same server without sharing.");
    report.plot("keys.svg", "W5: CPU time of a call, to floor 2", "keys, by zipf's law");
    for keys in [1, 10, 100, 1_000, 10_000, 100_000] {
        let title = format!("W5  64 tasks on two workers, {keys} keys by zipf's law");
        let scores = args.run(w::mixed(&title, keys, 1_000 / scale as usize));
        report.points(keys, &scores);
        if keys == 10_000 {
            report.ratios("W5", &scores);
        }
    }
    report.ratios("W7", &args.run(w::joins("W7  a thousand tasks on 50 keys")));
    #[cfg(feature = "peers")]
    report.ratios("W8", &args.run(w::service("W8  a web server", 100 / scale as usize)));
    if args.want("W5 facts") {
        report.facts(w::mixed_facts(10_000, 10_000 / scale as usize));
        report.print_last();
    }

    report.table("Memory", "Bytes of heap for each key in flight beside the caller's own future, and in brackets the size of that; the work is\nin the one or the other.");
    if args.want("W6") {
        report.facts(w::held_facts("W6, 64k keys", 65_536 / scale));
        report.facts(w::million_facts("1,000,000 keys", 1_000_000 / scale));
        report.print_last();
    }

    report.table("Threads", "P1: one thread, keys of its own. P50: fifty threads on one key, whose work sleeps for 2 ms; the ratio is to fifty that\nsleep each for itself, most of which is the threads' own.");
    report.calls("P1", &args.run(w::blocking_alone("P1  threads: uncontended", calls)));
    report.ratios("P50", &args.run(w::blocking_crowd("P50  fifty threads on one key")));

    report.table(
        "The attribute",
        "The same functions by hand and under the attribute, one caller, ready at once.",
    );
    report.calls("M", &args.run(w::attribute("M  the attribute beside the core by hand", calls)));

    report.table("More threads", "So many threads, each polling calls of its own, ready at once: all on one key, and each on its own keys. Ratios to\nfloor 2, which has one lock.");
    for (hot, file, title, short) in [
        (
            true,
            "threads-one-key.svg",
            "CPU time of a call, threads on one key, to floor 2",
            "one key",
        ),
        (
            false,
            "threads.svg",
            "CPU time of a call, threads on keys of their own, to floor 2",
            "own keys",
        ),
    ] {
        report.plot(file, title, "threads");
        for threads in [1, 2, 4, 8, 16, 32, 64] {
            let title = format!("T{threads}  {threads} threads, {short}");
            let scores = args.run(w::threads(&title, threads, hot, calls / 5));
            report.points(threads, &scores);
            if [1, 8, 64].contains(&threads) {
                report.ratios(&format!("{short}, {threads}"), &scores);
            }
        }
    }

    report.table("A landing", "Ten thousand follow, with wakers that only count. How long it takes to wake them for the work's sake and then for the\nlanding's, and how long at most another thread waits meanwhile that asks how many callers there are, or joins.\nMicroseconds on the clock, medians.");
    if args.want("L") {
        let followers = 10_000 / scale as usize;
        let [landed, asked, joined] = w::landing(followers, args.rounds());
        let row = format!("{followers} followers");
        report.cell(&row, "wakes and lands", format!("{landed:.0}"));
        report.cell(&row, "longest `callers`", format!("{asked:.1}"));
        report.cell(&row, "longest join", format!("{joined:.1}"));
        report.print_last();
    }

    if args.whole() && cfg!(feature = "peers") {
        report.write().expect("RESULTS.md can be written");
    }
}
