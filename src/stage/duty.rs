//! The duty loop: one thread, one tile or several in turn, spinning or sleeping when idle.
//!
//! Agrona's duty cycle, with Firedancer's separation of housekeeping from the work itself.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use super::{Control, Stage, StageError};
use crate::{
    sys::{cpu, tsc::Clock},
    topology::{Idle, Plan, Tile},
    types::Stamp,
};

/// How often tiles keep house.
const HOUSEKEEPING_NS: u64 = 10_000_000;
/// Rounds between two looks at the clock while there is work; without work every round looks.
const ROUNDS_PER_LOOK: u32 = 32;
/// Rounds without work before a thread sleeps. A socket answers within some microseconds of the last one, so it pays to
/// look a few times more.
const EMPTY_ROUNDS_BEFORE_SLEEP: u32 = 32;
/// Longest sleep: bounds how late a thread hears rings, which cannot wake it.
const SLEEP_MAX: Duration = Duration::from_millis(2);
/// How long tiles may take to wind down.
const WIND_DOWN_NS: u64 = 5_000_000_000;

/// Wakes a sleeping thread when one of its sockets has something. It says only that, never which: tiles look
/// themselves.
#[derive(Debug)]
pub struct Doorbell(mio::Registry);

impl Doorbell {
    /// A socket made from now on rings.
    pub fn watch(&self, socket: &mut impl mio::event::Source) -> io::Result<()> {
        self.0.register(socket, mio::Token(0), mio::Interest::READABLE | mio::Interest::WRITABLE)
    }

    /// Another handle on the same bell.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

/// A sleeping place, with its bell.
#[derive(Debug)]
pub struct Bed {
    poll: mio::Poll,
    events: mio::Events,
}

impl Bed {
    /// A sleeping place. Errors: the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self { poll: mio::Poll::new()?, events: mio::Events::with_capacity(64) })
    }

    /// Its bell.
    pub fn doorbell(&self) -> io::Result<Doorbell> {
        self.poll.registry().try_clone().map(Doorbell)
    }

    /// Sleeps until the bell rings or `limit` has passed.
    pub fn sleep(&mut self, limit: Duration) {
        // An interrupted sleep is a short one.
        let _ = self.poll.poll(&mut self.events, Some(limit));
    }
}

/// The threads of a run.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// True when every thread has ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for every thread. What failed is in the [`Control`].
    pub fn join(self) {
        for thread in self.threads {
            // Tiles' panics are caught inside; one that is not is in the thread's own few lines.
            let _ = thread.join();
        }
    }
}

/// Runs tiles as the plan says, until the run is over and they have wound down. See [`spawn`].
pub fn run(plan: &Plan, tiles: Vec<(Tile, Box<dyn Stage>)>, control: &Arc<Control>) -> Result<(), StageError> {
    spawn(plan, tiles, control)?.join();
    Ok(())
}

/// Starts a pinned thread for each thread of the plan. Several tiles may have the same place in the plan (all that is
/// cold, say); a place without a tile is skipped, as the venue's is: it brings its own thread.
///
/// A tile that panics or cannot start ends the run through `control`; the others wind down.
///
/// Errors: a tile has no place in the plan, or the system refuses a thread.
pub fn spawn(
    plan: &Plan,
    mut tiles: Vec<(Tile, Box<dyn Stage>)>,
    control: &Arc<Control>,
) -> Result<Running, StageError> {
    if let Some((tile, stage)) = tiles.iter().find(|(tile, _)| plan.core_of(*tile).is_none()) {
        return Err(StageError(format!("{} has no place: the plan has no {tile}", stage.name())));
    }
    let mut threads = Vec::new();
    for place in &plan.threads {
        let mut mine = Vec::new();
        for wanted in &place.tiles {
            let (found, rest): (Vec<_>, Vec<_>) = tiles.into_iter().partition(|(tile, _)| tile == wanted);
            tiles = rest;
            mine.extend(found.into_iter().map(|(_, stage)| stage));
        }
        let Some(first) = mine.first() else { continue };
        let (core, idle, control_) = (place.core, place.idle, Arc::clone(control));
        let thread = std::thread::Builder::new().name(first.name().to_owned()).spawn(move || {
            // A thread that cannot be pinned floats: slower, still correct. `check` tells.
            cpu::pin_current_thread(core);
            Duty::new(mine, idle, control_).run();
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                control.fail(format!("no thread for core {core}: {error}"));
                Running { threads }.join();
                return Err(StageError(format!("the system gives no thread for core {core}: {error}")));
            }
        }
    }
    Ok(Running { threads })
}

/// One thread's work.
struct Duty {
    tiles: Vec<Box<dyn Stage>>,
    bed: Option<Bed>,
    clock: Clock,
    control: Arc<Control>,
}

impl Duty {
    fn new(tiles: Vec<Box<dyn Stage>>, idle: Idle, control: Arc<Control>) -> Self {
        // Without a bed the thread spins: it works, at the price of heat.
        let bed = if idle == Idle::Block { Bed::new().ok() } else { None };
        Self { tiles, bed, clock: Clock::new(), control }
    }

    fn run(&mut self) {
        self.start();
        let mut last = self.clock.now();
        let mut over_since: Option<Stamp> = None;
        let (mut round, mut empty) = (0_u32, 0_u32);
        loop {
            let worked = self.each(|tile| tile.poll());
            round = round.wrapping_add(1);
            empty = if worked == 0 { empty.saturating_add(1) } else { 0 };

            if worked == 0 || round.is_multiple_of(ROUNDS_PER_LOOK) {
                let now = self.clock.now();
                if self.clock.ns_between(last.cycles, now.cycles) >= HOUSEKEEPING_NS {
                    last = now;
                    self.each(|tile| {
                        tile.housekeep(now);
                        0
                    });
                    self.clock.follow_system();
                }
                if over_since.is_none() && self.control.is_over() {
                    over_since = Some(now);
                    self.each(|tile| {
                        tile.stop();
                        0
                    });
                }
                if let Some(since) = over_since {
                    let late = self.clock.ns_between(since.cycles, now.cycles) >= WIND_DOWN_NS;
                    if late {
                        for tile in self.tiles.iter().filter(|t| !t.stopped()) {
                            self.control.fail(format!("{} did not wind down in time", tile.name()));
                        }
                    }
                    if late || self.tiles.iter().all(|t| t.stopped()) {
                        return;
                    }
                }
            }
            match &mut self.bed {
                Some(bed) if empty >= EMPTY_ROUNDS_BEFORE_SLEEP => bed.sleep(SLEEP_MAX),
                _ if worked == 0 => std::hint::spin_loop(),
                _ => {}
            }
        }
    }

    fn start(&mut self) {
        let doorbell = self.bed.as_ref().and_then(|bed| bed.doorbell().ok());
        let control = Arc::clone(&self.control);
        self.each(|tile| {
            if let Some(doorbell) = &doorbell {
                tile.attach(doorbell);
            }
            if let Err(error) = tile.start() {
                control.fail(format!("{}: {error}", tile.name()));
            }
            0
        });
    }

    /// Does something with each tile and sums what it returns. A tile that panics is taken out: its state can no longer
    /// be trusted. The run ends, the others wind down.
    fn each(&mut self, mut f: impl FnMut(&mut dyn Stage) -> usize) -> usize {
        let (mut sum, mut at) = (0, 0);
        while at < self.tiles.len() {
            let tile = &mut self.tiles[at];
            match catch_unwind(AssertUnwindSafe(|| f(tile.as_mut()))) {
                Ok(worked) => (sum, at) = (sum + worked, at + 1),
                Err(panic) => {
                    let tile = self.tiles.remove(at);
                    self.control.fail(format!("{} panicked: {}", tile.name(), text_of(panic.as_ref())));
                }
            }
        }
        sum
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
