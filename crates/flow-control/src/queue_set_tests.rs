//! Scripts against the queues, in a time of their own.

use super::*;

const MILLI: Duration = Duration::from_millis(1);

fn queues(count: i32, hand: i32, length: i32) -> Response {
    let queuing = Queuing { queues: count, hand_size: hand, queue_length_limit: length };
    Response::Queue(Queues::new(&queuing).expect("sound"))
}

fn one_seat() -> WorkEstimate {
    WorkEstimate::seats(1)
}

fn running<T: std::fmt::Debug>(arrival: Arrival, what: T) -> Running {
    match arrival {
        Arrival::Running(running) => running,
        other => panic!("{what:?}: {other:?}"),
    }
}

#[test]
fn without_queues_what_is_over_the_limit_is_refused() {
    let mut set: QueueSet<()> = QueueSet::new(Duration::ZERO, Response::Reject, 2);
    let first = running(set.arrive(MILLI, one_seat(), 0, || ()), 1);
    running(set.arrive(MILLI, one_seat(), 0, || ()), 2);
    assert_eq!(set.arrive(MILLI, one_seat(), 0, || ()), Arrival::OverLimit);
    set.finish(2 * MILLI, &first);
    assert_eq!(set.arrive(2 * MILLI, WorkEstimate::seats(2), 0, || ()), Arrival::OverLimit);
    running(set.arrive(2 * MILLI, one_seat(), 0, || ()), 3);
}

#[test]
fn a_request_wider_than_the_level_runs_alone() {
    let mut set: QueueSet<()> = QueueSet::new(Duration::ZERO, Response::Reject, 2);
    let wide = running(set.arrive(MILLI, WorkEstimate::seats(5), 0, || ()), "wide");
    assert_eq!(set.arrive(MILLI, one_seat(), 0, || ()), Arrival::OverLimit);
    set.finish(2 * MILLI, &wide);
    running(set.arrive(2 * MILLI, one_seat(), 0, || ()), "narrow");
    assert_eq!(set.arrive(2 * MILLI, WorkEstimate::seats(5), 0, || ()), Arrival::OverLimit);
}

#[test]
fn the_exempt_never_wait() {
    let mut set: QueueSet<()> = QueueSet::new(Duration::ZERO, Response::Exempt, 0);
    for number in 0..100 {
        running(set.arrive(MILLI, one_seat(), 0, || ()), number);
    }
    assert_eq!(set.take_demand(MILLI).max, 100.0);
}

#[test]
fn a_full_queue_refuses_and_waiting_requests_run_in_turn() {
    let mut set = QueueSet::new(Duration::ZERO, queues(1, 1, 2), 1);
    let first = running(set.arrive(MILLI, one_seat(), 0, || 1), 1);
    assert!(matches!(set.arrive(MILLI, one_seat(), 0, || 2), Arrival::Waiting(_, 1)));
    let Arrival::Waiting(place, 2) = set.arrive(MILLI, one_seat(), 0, || 3) else { panic!("it waits") };
    assert_eq!(set.arrive(MILLI, one_seat(), 0, || 4), Arrival::QueueFull);
    assert!(set.cancel(MILLI, place) && !set.cancel(MILLI, place));
    set.finish(2 * MILLI, &first);
    let dispatched = set.take_dispatched();
    assert_eq!(dispatched.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2]);
    set.finish(3 * MILLI, &dispatched[0].1);
    assert!(set.take_dispatched().is_empty());
    running(set.arrive(3 * MILLI, one_seat(), 0, || 5), 5);
}

/// One flow floods the level, another asks now and then: it is served in its turn, not after the flood.
#[test]
fn a_flood_does_not_drown_a_small_flow() {
    let mut set = QueueSet::new(Duration::ZERO, queues(8, 1, 100), 1);
    let (flood, small) = (0, 1);
    let mut now = MILLI;
    let mut current = running(set.arrive(now, one_seat(), flood, || flood), "first");
    for _ in 0..50 {
        assert!(matches!(set.arrive(now, one_seat(), flood, || flood), Arrival::Waiting(..)));
    }
    for _ in 0..5 {
        assert!(matches!(set.arrive(now, one_seat(), small, || small), Arrival::Waiting(..)));
    }
    let mut order = Vec::new();
    for _ in 0..12 {
        now += 3 * MILLI;
        set.finish(now, &current);
        let (flow, next) = set.take_dispatched().pop().expect("somebody waits");
        order.push(flow);
        current = next;
    }
    assert_eq!(order.iter().filter(|flow| **flow == small).count(), 5, "{order:?}");
}

#[test]
fn seats_linger_for_watchers_and_then_are_free() {
    let mut set = QueueSet::new(Duration::ZERO, queues(2, 1, 10), 4);
    let work = WorkEstimate { initial_seats: 1, final_seats: 4, additional_latency: 5 * MILLI };
    let write = running(set.arrive(MILLI, work, 0, || ""), "write");
    set.finish(2 * MILLI, &write);
    assert_eq!(set.next_release(), None, "nobody waits");
    assert!(matches!(set.arrive(3 * MILLI, one_seat(), 0, || "read"), Arrival::Waiting(..)));
    assert_eq!(set.next_release(), Some(7 * MILLI));
    set.sync(6 * MILLI);
    assert!(set.take_dispatched().is_empty());
    set.sync(7 * MILLI);
    assert_eq!(set.take_dispatched().len(), 1);
}

#[test]
fn fewer_queues_and_a_higher_limit_lose_nobody() {
    let mut set = QueueSet::new(Duration::ZERO, queues(8, 1, 10), 1);
    let first = running(set.arrive(MILLI, one_seat(), 0, || 0), 0);
    for number in 1..9 {
        assert!(matches!(set.arrive(MILLI, one_seat(), number, || number), Arrival::Waiting(..)), "{number}");
    }
    set.configure(2 * MILLI, queues(1, 1, 10));
    set.set_limit(2 * MILLI, 20);
    let dispatched = set.take_dispatched();
    assert_eq!(dispatched.len(), 8);
    for (_, running) in &dispatched {
        set.finish(3 * MILLI, running);
    }
    set.finish(3 * MILLI, &first);
    assert_eq!((set.queues.len(), set.seats_in_use, set.active_queues, set.waiting), (1, 0, 0, 0));
}

/// Random histories keep the books straight.
#[test]
fn the_books_balance() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |sides: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % sides
    };
    let mut set = QueueSet::new(Duration::ZERO, queues(16, 3, 5), 8);
    let (mut now, mut live, mut places) = (Duration::ZERO, Vec::new(), Vec::new());
    for number in 0..20_000_u64 {
        now += Duration::from_micros(roll(500));
        match roll(10) {
            0..=4 => {
                let mut work = WorkEstimate::seats(1 + roll(3) as u32);
                if roll(4) == 0 {
                    (work.final_seats, work.additional_latency) = (roll(12) as u32, roll(5) as u32 * MILLI);
                }
                match set.arrive(now, work, roll(7), || number) {
                    Arrival::Running(running) => live.push(running),
                    Arrival::Waiting(place, _) => places.push(place),
                    Arrival::OverLimit | Arrival::QueueFull => {}
                }
            }
            5..=8 if !live.is_empty() => {
                let running = live.swap_remove(roll(live.len() as u64) as usize);
                set.finish(now, &running);
            }
            9 if !places.is_empty() => {
                set.cancel(now, places.swap_remove(roll(places.len() as u64) as usize));
            }
            _ => set.set_limit(now, 4 + roll(8) as u32),
        }
        live.extend(set.take_dispatched().into_iter().map(|(_, running)| running));
        assert_eq!(set.executing, live.len());
        assert_eq!(set.waiting, set.queues.iter().map(|queue| queue.waiting.len()).sum::<usize>());
        assert_eq!(set.active_queues, set.queues.iter().filter(|queue| queue.is_active()).count());
        assert_eq!(set.seats_in_use, set.queues.iter().map(|queue| queue.seats_in_use).sum::<u32>());
    }
    for running in std::mem::take(&mut live) {
        set.finish(now, &running);
        let mut dispatched = set.take_dispatched();
        while let Some((_, running)) = dispatched.pop() {
            set.finish(now, &running);
            dispatched.extend(set.take_dispatched());
        }
    }
    set.sync(now + Duration::from_secs(1));
    let mut dispatched = set.take_dispatched();
    while let Some((_, running)) = dispatched.pop() {
        now += Duration::from_secs(1);
        set.finish(now, &running);
        set.sync(now + Duration::from_secs(1));
        dispatched.extend(set.take_dispatched());
    }
    assert_eq!((set.seats_in_use, set.seats_waiting, set.executing, set.waiting), (0, 0, 0, 0));
}

/// Upstream: `findDispatchQueueToBoundLocked`.
#[test]
fn the_virtual_times_of_the_last_dispatch_are_known() {
    let mut set = QueueSet::new(Duration::ZERO, queues(1, 1, 9), 1);
    assert_eq!(set.usage().dispatch, None);
    let first = running(set.arrive(MILLI, one_seat(), 0, || 1), 1);
    let at_once = set.usage().dispatch.expect("a dispatch");
    assert_eq!((at_once.r, at_once.s, at_once.next, at_once.discounted), (0.0, 0.0, [0.0; 2], [0.0; 2]));
    assert!(matches!(set.arrive(2 * MILLI, one_seat(), 0, || 2), Arrival::Waiting(..)));
    set.finish(5 * MILLI, &first);
    let usage = set.usage();
    let next = usage.dispatch.expect("a dispatch");
    // A seat for four milliseconds: so long the first one took, and then the second would have started.
    let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
    assert!(near(usage.current_r, 0.004) && near(next.r, 0.004) && near(next.s, 0.004), "{usage:?}");
    assert_eq!(next.next, [next.s; 2]);
    assert_eq!(next.discounted, next.next, "nothing is in progress");
    set.take_dispatched();
}

/// Upstream: `advanceEpoch`.
#[test]
fn virtual_time_is_wound_back_before_it_is_too_long() {
    let mut set = QueueSet::new(Duration::ZERO, queues(1, 1, 9), 1);
    let ages = Duration::from_secs(140_000_000_000);
    running(set.arrive(MILLI, one_seat(), 0, || 1), 1);
    let Arrival::Waiting(place, _) = set.arrive(MILLI, one_seat(), 0, || 2) else { panic!("it waits") };
    set.sync(ages);
    let usage = set.usage();
    assert_eq!(usage.epochs, 1);
    assert!((usage.current_r - (140_000_000_000.0 - R_DECREMENT)).abs() < 1.0, "{usage:?}");
    assert!(set.cancel(ages + MILLI, place));
    assert_eq!(set.usage().epochs, 1);
}
