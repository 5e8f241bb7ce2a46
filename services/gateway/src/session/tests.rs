//! The session against a model: whatever is cut wherever, on whichever gateway the client comes back,
//! it gets every event of its channels exactly once and each stream in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use domain::cursor::Cursor;
use domain::position::{Position, StreamPosition};
use domain::{Channel, StreamId};
use proptest::prelude::*;

use super::test_support::{catalogue, event, tenant};
use super::{Delivery, Extent, Fill, Page, PageWish, Progress, Session, Sink, Start};
use crate::entry::Entry;
use crate::tail::Tail;

/// A frame as the client sees it: which event, which variant, and the cursor it came with.
#[derive(Clone, Debug)]
struct Frame {
    stream: StreamId,
    sequence: u64,
    variant: usize,
    cursor: Cursor,
    shared: bool,
}

struct Socket {
    frames: Vec<Frame>,
    room: usize,
}

impl Sink for Socket {
    fn deliver(&mut self, delivery: Delivery<'_>) {
        let (entry, variant, cursor, shared) = match delivery {
            Delivery::Shared { slot, variant } => {
                let cursor = Cursor { position: slot.after, ..Cursor::default() };
                (&*slot.entry, variant, cursor, true)
            }
            Delivery::Own { entry, variant, cursor } => (entry, variant, cursor, false),
        };
        let place = entry.place.unwrap();
        let (stream, sequence) = (place.stream, place.sequence);
        self.frames.push(Frame { stream, sequence, variant, cursor, shared });
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= self.room
    }
}

/// One node: its own interleaving of the streams and its own bound.
struct Node {
    tail: Tail,
    order: Vec<Arc<Entry>>,
    next: usize,
}

/// The log and what a client of it does.
struct World {
    log: Vec<Arc<Entry>>,
    nodes: Vec<Node>,
}

const CHANNELS: [&str; 4] = ["calls", "call:1", "b", "c"];

impl World {
    /// `events`: stream and channels; `merges`: for each node which stream comes next.
    fn new(events: &[(usize, Vec<usize>)], merges: &[Vec<usize>], limits: &[usize]) -> Self {
        let mut sequences = [0u64; 5];
        let log: Vec<_> = events
            .iter()
            .map(|(stream, channels)| {
                sequences[*stream] += 1;
                let names: Vec<_> = channels.iter().map(|&at| CHANNELS[at]).collect();
                event(StreamId::ALL[*stream], sequences[*stream], &names, &catalogue())
            })
            .collect();
        let nodes = merges
            .iter()
            .zip(limits)
            .map(|(merge, &limit)| Node {
                tail: Tail::new(Position::default(), limit),
                order: interleave(&log, merge),
                next: 0,
            })
            .collect();
        Self { log, nodes }
    }

    fn advance(&mut self, node: usize, by: usize) {
        let node = &mut self.nodes[node];
        for entry in node.order.iter().skip(node.next).take(by) {
            node.tail.push(entry.clone());
        }
        node.next = (node.next + by).min(node.order.len());
    }

    /// What the read side answers, from the log itself.
    fn answer(&self, wish: &PageWish, limit: usize) -> Page {
        let is_due = |entry: &&Arc<Entry>| {
            let place = entry.place.unwrap();
            !wish.from.covers(place.stream, place.sequence)
                && wish.upto.covers(place.stream, place.sequence)
                && wish.channels.iter().any(|(channel, after)| {
                    !after.covers(place.stream, place.sequence)
                        && entry.envelope.channels.contains(channel)
                })
        };
        let all: Vec<_> = self.log.iter().filter(is_due).cloned().collect();
        let more = all.len() > limit;
        let entries: VecDeque<_> = all.into_iter().take(limit).collect();
        let mut reached = if more { wish.from } else { wish.from.max(&wish.upto) };
        if more {
            for place in entries.iter().filter_map(|entry| entry.place) {
                reached.set(place.stream, place.position(0));
            }
        }
        Page { entries, reached }
    }
}

/// The log in another order between streams, the same within each.
fn interleave(log: &[Arc<Entry>], merge: &[usize]) -> Vec<Arc<Entry>> {
    let mut queues: BTreeMap<usize, VecDeque<_>> = BTreeMap::new();
    for entry in log {
        queues.entry(entry.place.unwrap().stream.index()).or_default().push_back(entry.clone());
    }
    let mut order = Vec::new();
    for turn in merge.iter().cycle().take(log.len() * 20) {
        if let Some(entry) = queues.get_mut(turn).and_then(VecDeque::pop_front) {
            order.push(entry);
        }
    }
    order.extend(queues.into_values().flatten());
    order
}

/// What survives a cut: the record and what the client holds.
struct Client {
    held: Vec<Frame>,
    channels: Vec<(Channel, Position)>,
    fills: Vec<Fill>,
}

impl Client {
    fn cursor(&self) -> Cursor {
        self.held.last().map(|frame| frame.cursor).unwrap_or_default()
    }

    fn connect(&mut self, tail: &mut Tail) -> Session {
        let cursor = self.cursor();
        let mut session = Session::new(tenant(), &Start::After(cursor), 0, tail);
        for (channel, floor) in &self.channels {
            session.join_above(channel, *floor, tail);
        }
        self.fills = session.resume_fills(&self.fills, &cursor);
        session
    }
}

/// Collects on one node until nothing is due or `cut` frames have arrived.
fn run(
    world: &World,
    node: usize,
    session: &mut Session,
    client: &mut Client,
    cut: usize,
    room: usize,
) {
    let mut arrived = 0;
    loop {
        let mut socket = Socket { frames: Vec::new(), room };
        let progress = session.collect(&world.nodes[node].tail, &mut socket);
        for frame in socket.frames {
            if arrived == cut {
                return;
            }
            arrived += 1;
            client.held.push(frame);
        }
        match progress {
            Progress::Full => {}
            Progress::NeedsPage(wish) => session.turn(world.answer(&wish, 3)),
            Progress::Idle => return,
            Progress::Rewritten => panic!("nothing was rewritten"),
        }
    }
}

fn expected(world: &World, channels: &[Channel]) -> Vec<(StreamId, u64, usize)> {
    let mut frames = Vec::new();
    for entry in &world.log {
        for (index, variant) in entry.variants().iter().enumerate() {
            if variant.channels.iter().any(|channel| channels.contains(channel)) {
                let place = entry.place.unwrap();
                frames.push((place.stream, place.sequence, index));
            }
        }
    }
    frames.sort();
    frames
}

fn assert_exactly_once_in_order(frames: &[Frame], expected: &[(StreamId, u64, usize)]) {
    let mut got: Vec<_> = frames.iter().map(|f| (f.stream, f.sequence, f.variant)).collect();
    for stream in StreamId::ALL {
        let of: Vec<_> = got.iter().filter(|(s, ..)| *s == stream).collect();
        assert!(of.is_sorted(), "{stream} out of order: {of:?}");
    }
    got.sort();
    assert_eq!(got, expected);
}

fn arb_events() -> impl Strategy<Value = Vec<(usize, Vec<usize>)>> {
    let channels = proptest::sample::subsequence(vec![0, 1, 2, 3], 1..=3);
    proptest::collection::vec((0..5usize, channels), 1..40)
}

fn arb_merges() -> impl Strategy<Value = Vec<Vec<usize>>> {
    proptest::collection::vec(proptest::collection::vec(0..5usize, 1..12), 2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Cuts at random frames, resumes on a random one of two nodes that interleave the streams differently.
    #[test]
    fn every_event_arrives_once_and_in_order_over_cuts_and_nodes(
        events in arb_events(),
        merges in arb_merges(),
        limits in proptest::collection::vec(600usize..4_000, 2),
        steps in proptest::collection::vec((0..2usize, 0..12usize, 0..9usize, 1..6usize), 0..14),
    ) {
        let mut world = World::new(&events, &merges, &limits);
        let channels: Vec<_> = CHANNELS.iter().map(|name| Channel::parse(name).unwrap()).collect();
        let memberships = channels.iter().map(|channel| (channel.clone(), Position::default()));
        let mut client =
            Client { held: Vec::new(), channels: memberships.collect(), fills: Vec::new() };
        for (node, by, cut, room) in steps {
            world.advance(node, by);
            let mut session = client.connect(&mut world.nodes[node].tail);
            run(&world, node, &mut session, &mut client, cut, room);
        }
        world.advance(0, usize::MAX / 2);
        let mut session = client.connect(&mut world.nodes[0].tail);
        run(&world, 0, &mut session, &mut client, usize::MAX, 5);
        assert_exactly_once_in_order(&client.held, &expected(&world, &channels));
    }

    /// A connection that stays while its node goes on, with sockets that drain in pieces.
    #[test]
    fn a_connection_that_stays_gets_everything_however_slow_it_is(
        events in arb_events(),
        merges in arb_merges(),
        limit in 600usize..4_000,
        steps in proptest::collection::vec((1..9usize, 1..6usize), 1..30),
    ) {
        let mut world = World::new(&events, &merges, &[limit, limit]);
        let channels: Vec<_> = CHANNELS.iter().map(|name| Channel::parse(name).unwrap()).collect();
        let memberships = channels.iter().map(|channel| (channel.clone(), Position::default()));
        let mut client =
            Client { held: Vec::new(), channels: memberships.collect(), fills: Vec::new() };
        let mut session = client.connect(&mut world.nodes[0].tail);
        for (by, room) in steps {
            world.advance(0, by);
            let mut socket = Socket { frames: Vec::new(), room };
            if let Progress::NeedsPage(wish) = session.collect(&world.nodes[0].tail, &mut socket) {
                session.turn(world.answer(&wish, 2));
            }
            client.held.extend(socket.frames);
        }
        world.advance(0, usize::MAX / 2);
        run(&world, 0, &mut session, &mut client, usize::MAX, 4);
        assert_exactly_once_in_order(&client.held, &expected(&world, &channels));
        prop_assert_eq!(session.position().sequences(), world.nodes[0].tail.head().sequences());
    }

    /// Joins with `after` while others are followed, cut anywhere, resumed on either node.
    #[test]
    fn a_join_with_after_is_filled_once_whatever_is_cut(
        events in arb_events(),
        merges in arb_merges(),
        limits in proptest::collection::vec(600usize..4_000, 2),
        before in 0..20usize,
        steps in proptest::collection::vec((0..2usize, 0..12usize, 0..9usize, 1..6usize), 0..10),
    ) {
        let mut world = World::new(&events, &merges, &limits);
        let channels: Vec<_> = CHANNELS.iter().map(|name| Channel::parse(name).unwrap()).collect();
        let first = (channels[0].clone(), Position::default());
        let mut client = Client { held: Vec::new(), channels: vec![first], fills: Vec::new() };
        world.advance(0, before);
        let mut session = client.connect(&mut world.nodes[0].tail);
        run(&world, 0, &mut session, &mut client, usize::MAX, 3);
        for channel in &channels[1..] {
            let tail = &mut world.nodes[0].tail;
            client.fills.extend(session.join_after(channel, &Cursor::default(), Extent::Missed, tail));
            client.channels.push((channel.clone(), Position::default()));
        }
        let mut current = Some((0, session));
        for (node, by, cut, room) in steps {
            let (node, mut session) = current
                .take()
                .unwrap_or_else(|| (node, client.connect(&mut world.nodes[node].tail)));
            world.advance(node, by);
            run(&world, node, &mut session, &mut client, cut, room);
        }
        let (node, mut session) =
            current.unwrap_or_else(|| (1, client.connect(&mut world.nodes[1].tail)));
        world.advance(node, usize::MAX / 2);
        run(&world, node, &mut session, &mut client, usize::MAX, 5);
        let mut got: Vec<_> = client.held.iter().map(|f| (f.stream, f.sequence, f.variant)).collect();
        got.sort();
        prop_assert_eq!(got, expected(&world, &channels));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// A client that keeps nothing but its cursor comes back as a new session and joins its channels one by one.
    #[test]
    fn a_cursor_alone_resumes_every_channel_however_they_are_joined(
        events in arb_events(),
        merges in arb_merges(),
        limit in 600usize..4_000,
        cuts in proptest::collection::vec(1..7usize, 0..8),
    ) {
        let mut world = World::new(&events, &merges, &[limit, limit]);
        world.advance(0, usize::MAX / 2);
        let channels: Vec<_> = CHANNELS.iter().map(|name| Channel::parse(name).unwrap()).collect();
        let mut client = Client { held: Vec::new(), channels: Vec::new(), fills: Vec::new() };
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let cursor = client.cursor();
            let before = client.held.len();
            let node = &mut world.nodes[0].tail;
            let mut session = Session::new(tenant(), &Start::After(cursor), 0, node);
            for channel in &channels {
                // All at once, so that the cursor still is where the session stands.
                session.join_after(channel, &cursor, Extent::Missed, node);
            }
            run(&world, 0, &mut session, &mut client, cut, 3);
            prop_assert!(client.held.len() - before <= cut);
        }
        assert_exactly_once_in_order(&client.held, &expected(&world, &channels));
    }
}

#[test]
fn live_sessions_share_frames_and_a_critical_event_overtakes_a_backlog() {
    let calls =
        (0..6).map(|_| (0, vec![0])).chain([(2, vec![2]), (0, vec![0])]).collect::<Vec<_>>();
    let mut world = World::new(&calls, &[vec![0, 0, 0, 0, 0, 0, 2, 0], vec![0]], &[1 << 20, 1]);
    let channels = [CHANNELS[0], CHANNELS[2]].map(|name| Channel::parse(name).unwrap());
    let memberships = channels.iter().map(|channel| (channel.clone(), Position::default()));
    let mut client =
        Client { held: Vec::new(), channels: memberships.collect(), fills: Vec::new() };
    let mut session = client.connect(&mut world.nodes[0].tail);
    world.advance(0, 2);
    run(&world, 0, &mut session, &mut client, usize::MAX, 9);
    assert!(client.held.iter().all(|frame| frame.shared));
    world.advance(0, 6);
    run(&world, 0, &mut session, &mut client, usize::MAX, 9);
    let order: Vec<_> = client.held.iter().map(|f| (f.stream, f.sequence, f.shared)).collect();
    let (calls, crisis) = (StreamId::Calls, StreamId::Crisis);
    assert_eq!(order[2], (crisis, 1, false));
    assert_eq!(order[3..6], [(calls, 3, false), (calls, 4, false), (calls, 5, false)]);
    assert_eq!(
        order[7],
        (calls, 7, true),
        "once the local order has passed it, frames are shared again"
    );
}

#[test]
fn critical_events_that_overtake_wait_for_room_and_for_no_page() {
    let crisis = StreamId::Crisis;
    let mut base = Position::default();
    base.set(StreamId::Calls, StreamPosition { sequence: 5, ..StreamPosition::default() });
    let mut tail = Tail::new(base, 1 << 20);
    for sequence in 1..=7 {
        tail.push(event(crisis, sequence, &["b"], &catalogue()));
    }
    let mut session = Session::new(tenant(), &Start::After(Cursor::default()), 0, &tail);
    for name in ["calls", "b"] {
        session.join_above(&Channel::parse(name).unwrap(), Position::default(), &mut tail);
    }
    let mut seen = Vec::new();
    let wish = loop {
        let mut socket = Socket { frames: Vec::new(), room: 3 };
        let progress = session.collect(&tail, &mut socket);
        seen.push(socket.frames.len());
        match progress {
            Progress::Full => {}
            Progress::NeedsPage(wish) => break wish,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(seen, [3, 3, 1], "the page is asked for when all have been given");
    assert!(wish.from.covers(crisis, 7) && !wish.from.covers(StreamId::Calls, 1));
}

#[test]
fn a_rewound_stream_is_told() {
    let mut tail = Tail::new(Position::default(), 1 << 20);
    let mut session = Session::new(tenant(), &Start::Now, 0, &tail);
    tail.restart(StreamId::Calls, StreamPosition { epoch: 9, sequence: 3, fingerprint: 1 });
    let mut socket = Socket { frames: Vec::new(), room: 1 };
    assert!(matches!(session.collect(&tail, &mut socket), Progress::Rewritten));
    session.restart(&tail);
    assert!(matches!(session.collect(&tail, &mut socket), Progress::Idle));
    assert_eq!(session.position().get(StreamId::Calls).epoch, 9);
}

#[test]
fn behind_a_snapshot_everything_is_given_again_whichever_channel_gave_it() {
    let events: Vec<_> = (0..3).map(|_| (1, vec![2, 3])).collect();
    let mut world = World::new(&events, &[vec![1], vec![1]], &[1 << 20, 1 << 20]);
    let channels: Vec<_> = CHANNELS[2..].iter().map(|name| Channel::parse(name).unwrap()).collect();
    let memberships = channels.iter().map(|channel| (channel.clone(), Position::default()));
    let mut client =
        Client { held: Vec::new(), channels: memberships.collect(), fills: Vec::new() };
    world.advance(0, usize::MAX / 2);
    let mut session = client.connect(&mut world.nodes[0].tail);
    run(&world, 0, &mut session, &mut client, usize::MAX, 9);
    client.held.clear();
    let mut snapshot = Position::default();
    snapshot.set(StreamId::Messages, StreamPosition { sequence: 1, ..StreamPosition::default() });
    let cursor = Cursor { position: snapshot, ..Cursor::default() };
    for (extent, again) in [(Extent::Missed, &[][..]), (Extent::All, &[2, 3][..])] {
        let tail = &mut world.nodes[0].tail;
        session.leave(&channels[0], tail);
        client.fills.extend(session.join_after(&channels[0], &cursor, extent, tail));
        run(&world, 0, &mut session, &mut client, usize::MAX, 9);
        let given: Vec<_> = client.held.drain(..).map(|frame| frame.sequence).collect();
        assert_eq!(given, again, "{extent:?}");
    }
}
