//! A recorded run, played again and again: what is timed is chosen by what each delivery led to.

use polyloly_fast::{
    engine::{Action, Actions},
    strategies::{Core, core},
    types::{Event, Sequenced, Stamp, event::ReplyEvent},
};
use quanta::Clock;

use super::{
    pipeline::{Inbound, OPENING, Pipeline},
    venue::{Effect, Transcript, params},
};

/// Plays a transcript through the whole pipeline.
pub struct Replay<'t> {
    transcript: &'t Transcript,
    pipeline: Pipeline,
    at: usize,
    /// Where bytes lie while they are read, as they would in a socket's buffer.
    inbox: Vec<u8>,
}

impl<'t> Replay<'t> {
    /// At the beginning.
    pub fn new(transcript: &'t Transcript) -> Self {
        Self { transcript, pipeline: transcript.pipeline(), at: 0, inbox: Vec::with_capacity(64 << 10) }
    }

    /// Time taken by the next `n` deliveries that led to what is `wanted`, those between not counted.
    pub fn time(&mut self, clock: &Clock, n: u64, wanted: impl Fn(Effect) -> bool) -> u64 {
        let (mut done, mut ns) = (0, 0);
        while done < n {
            if self.at == self.transcript.deliveries.len() {
                (self.pipeline, self.at) = (self.transcript.pipeline(), 0);
            }
            let (delivery, led_to) = (&self.transcript.deliveries[self.at], self.transcript.led_to[self.at]);
            self.at += 1;
            self.inbox.clear();
            self.inbox.extend_from_slice(&delivery.bytes);
            let begin = clock.raw();
            self.pipeline.take_in(&delivery.source, delivery.stamp, &mut self.inbox);
            let end = clock.raw();
            assert_eq!(Effect::of(self.pipeline.leaving()), led_to, "the same bytes lead to the same requests");
            self.pipeline.written(delivery.stamp);
            if !delivery.bytes.is_empty() && wanted(led_to) {
                ns += clock.delta_as_nanos(begin, end);
                done += 1;
            }
        }
        ns
    }
}

/// The same for the engine alone: events in, actions out.
#[derive(Debug)]
pub struct Decisions<'t> {
    transcript: &'t Transcript,
    /// The events of each delivery.
    events: Vec<(Stamp, Vec<Event>)>,
    core: Core,
    actions: Vec<Actions>,
    at: usize,
}

impl<'t> Decisions<'t> {
    /// At the beginning.
    pub fn new(transcript: &'t Transcript) -> Self {
        let mut inbound = Inbound::new(&transcript.universe);
        let read = |d: &super::venue::Delivery| {
            let mut events = Vec::new();
            inbound.read(&d.source, &mut d.bytes.clone(), &mut |event| events.push(event));
            (d.stamp, events)
        };
        let events: Vec<_> = transcript.deliveries.iter().map(read).collect();
        let most = events.iter().map(|e| e.1.len()).max().unwrap_or(0);
        Self { transcript, events, core: open(transcript), actions: vec![Actions::new(); most], at: 0 }
    }

    /// Time taken by the next `n` deliveries' events that led to what is `wanted`, those between not counted.
    pub fn time(&mut self, clock: &Clock, n: u64, wanted: impl Fn(&[Event], Effect) -> bool) -> u64 {
        let (mut done, mut ns) = (0, 0);
        while done < n {
            if self.at == self.events.len() {
                (self.core, self.at) = (open(self.transcript), 0);
            }
            let ((stamp, events), led_to) = (&self.events[self.at], self.transcript.led_to[self.at]);
            self.at += 1;
            let stamp = *stamp;
            self.actions[..events.len()].iter_mut().for_each(Actions::clear);
            let begin = clock.raw();
            for (event, out) in events.iter().zip(&mut self.actions) {
                self.core.on(&Sequenced { seq: 0, stamp, event: *event }, &mut (), out);
            }
            let end = clock.raw();
            if wanted(events, led_to) {
                ns += clock.delta_as_nanos(begin, end);
                done += 1;
            }
            let (mut orders, mut cancels) = (0, 0);
            for action in self.actions[..events.len()].iter().flatten() {
                match action {
                    Action::Place(approved) => {
                        orders += 1;
                        let event = Event::Reply(ReplyEvent::Sent { order: approved.hash() });
                        self.core.on(&Sequenced { seq: 0, stamp, event }, &mut (), &mut Actions::new());
                    }
                    Action::Cancel { .. } => cancels += 1,
                    _ => {}
                }
            }
            assert_eq!(Effect::counted(orders, cancels), led_to, "the same events lead to the same actions");
        }
        ns
    }

    /// The engine now.
    pub fn core(&self) -> &Core {
        &self.core
    }
}

/// A core that has heard that its streams are up.
fn open(transcript: &Transcript) -> Core {
    let mut core = core(&transcript.universe, &params());
    for event in OPENING {
        core.on(&Sequenced { seq: 0, stamp: transcript.begin, event }, &mut (), &mut Actions::new());
    }
    core
}
