//! Gateways in memory, with every message between them in the test's hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{Channel, Role, Tenant};
use proptest::prelude::*;

use super::attendance::{Arrival, Attendance, AttendantId, Change};
use super::news::{News, People};
use super::roster::Node;
use super::standing::{Scope, Standing};
use super::table::{Table, Update};

const GRACE: i64 = 10_000;
const LEASE: i64 = 10_000;
const FOLLOWER: AttendantId = 1_000_000;

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

fn calls() -> Scope {
    Scope::channel(&tenant(), &channel("calls"))
}

/// An open connection: the gateway, the user, its place there.
type Page = (usize, Arc<str>, AttendantId);

struct Gateway {
    node: Node,
    attendance: Attendance,
    table: Table,
    number: u64,
    told: Vec<Update>,
}

/// Gateways that hear each other unless the test says otherwise; all of them follow `calls` and everybody.
struct Cluster {
    gateways: Vec<Gateway>,
    now: i64,
}

impl Cluster {
    fn new(count: usize) -> Self {
        let mut cluster = Self { gateways: Vec::new(), now: 1_000_000 };
        for _ in 0..count {
            cluster.add();
        }
        cluster
    }

    /// A gateway that has just started, and has heard of nobody.
    fn add(&mut self) {
        let node: Node = format!("gateway-{}", self.gateways.len()).into();
        let attendance = Attendance::new(GRACE);
        let table = Table::new(node.clone(), LEASE);
        let gateway = Gateway { node, attendance, table, number: 0, told: Vec::new() };
        self.gateways.push(gateway);
        let at = self.gateways.len() - 1;
        for scope in [calls(), Scope::everybody(&tenant())] {
            self.follow(at, &scope);
        }
        self.talk();
    }

    fn follow(&mut self, at: usize, scope: &Scope) {
        let now = self.now;
        let Gateway { attendance, table, .. } = &mut self.gateways[at];
        let roster = table.open(scope, now, || attendance.people(scope)).unwrap();
        roster.follow(FOLLOWER);
        for from in 0..self.gateways.len() {
            self.answer(from, at, std::slice::from_ref(scope));
        }
        self.gateways[at].table.roster_mut(scope).unwrap().begin();
    }

    /// One gateway gives another its people, as they are written on the wire.
    fn answer(&mut self, from: usize, to: usize, scopes: &[Scope]) {
        let Gateway { node, attendance, number, .. } = &self.gateways[from];
        let answers = scopes.iter().map(|scope| (scope.clone(), attendance.people(scope)));
        let answer = People::write(node, *number, answers.collect());
        let answer = People::read(&answer).unwrap();
        let (node, number, now) = (answer.node.clone(), answer.number, self.now);
        let gateway = &mut self.gateways[to];
        for (scope, people) in answer.answers() {
            gateway.told.extend(gateway.table.take_all(&node, number, &scope, people, now));
        }
    }

    /// A message of one gateway, which reaches those that `reaches` says.
    fn send(&mut self, from: usize, reaches: impl Fn(usize) -> bool) {
        let now = self.now;
        let gateway = &mut self.gateways[from];
        gateway.attendance.expire(now);
        let changes = gateway.attendance.changes(100);
        gateway.number += 1;
        let own = gateway.table.apply_own(gateway.number, &changes, now);
        gateway.told.extend(own);
        let message = News::write(&gateway.node, gateway.number, &changes);
        for to in (0..self.gateways.len()).filter(|&to| to != from && reaches(to)) {
            let news = News::read(&message).unwrap();
            let (node, number) = (news.node.clone(), news.number);
            let heard = self.gateways[to].table.hear(&node, number, &news.changes(), now);
            self.gateways[to].told.extend(heard.updates);
            if !heard.missing.is_empty() {
                self.answer(from, to, &heard.missing);
            }
        }
    }

    fn talk(&mut self) {
        for from in 0..self.gateways.len() {
            self.send(from, |_| true);
        }
    }

    /// Time passes, with signs of life in between.
    fn pass(&mut self, milliseconds: i64) {
        let until = self.now + milliseconds;
        while self.now < until {
            self.now = until.min(self.now + 1_000);
            self.talk();
            self.expire();
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        for gateway in &mut self.gateways {
            gateway.told.extend(gateway.table.expire(now));
        }
    }

    fn connect(&mut self, at: usize, user: &str, device: u32) -> Page {
        self.connect_as(at, user, device, Role::Agent)
    }

    fn connect_as(&mut self, at: usize, user: &str, device: u32, role: Role) -> Page {
        let user: Arc<str> = user.into();
        let arrival = Arrival { tenant: tenant(), user: user.clone(), role, device };
        let now = self.now;
        let attendance = &mut self.gateways[at].attendance;
        let id = attendance.enter(arrival, now);
        attendance.join(&tenant(), &user, id, [channel("calls")].iter());
        (at, user, id)
    }

    fn disconnect(&mut self, (at, user, id): Page) {
        let now = self.now;
        self.gateways[at].attendance.leave(&tenant(), &user, id, now);
    }

    /// What a follower of a scope at a gateway was told since it was looked at last, as (user, devices).
    fn told(&mut self, at: usize, scope: &Scope) -> Vec<(String, u32)> {
        let told = std::mem::take(&mut self.gateways[at].told);
        let of_scope = told.into_iter().filter(|update| update.scope == *scope);
        of_scope.map(|update| (update.told.user.to_string(), update.told.devices)).collect()
    }

    fn listed(&mut self, at: usize, scope: &Scope) -> BTreeMap<String, u32> {
        let roster = self.gateways[at].table.roster_mut(scope).unwrap();
        roster.people().map(|told| (told.user.to_string(), told.devices)).collect()
    }
}

fn one(user: &str, devices: u32) -> Vec<(String, u32)> {
    vec![(user.to_owned(), devices)]
}

#[test]
fn devices_are_counted_over_all_gateways_and_every_gateway_is_told_once() {
    let mut cluster = Cluster::new(2);
    cluster.connect(0, "7", 1);
    cluster.talk();
    cluster.connect(1, "7", 2);
    // Another tab of the same device.
    cluster.connect(1, "7", 1);
    cluster.talk();
    cluster.talk();
    for at in 0..2 {
        let expected = [one("7", 1), one("7", 2)].concat();
        assert_eq!(cluster.told(at, &calls()), expected, "gateway {at}");
        assert_eq!(cluster.listed(at, &calls()), BTreeMap::from([("7".to_owned(), 2)]));
    }
}

#[test]
fn a_reload_and_a_change_to_another_gateway_are_no_news() {
    let mut cluster = Cluster::new(2);
    let page = cluster.connect(0, "7", 1);
    cluster.talk();
    cluster.told(1, &calls());
    cluster.disconnect(page);
    cluster.pass(3_000);
    // The page is there again, under the name of another device, at the other gateway.
    let page = cluster.connect(1, "7", 2);
    cluster.pass(30_000);
    cluster.disconnect(page);
    cluster.pass(9_000);
    assert_eq!(cluster.told(0, &calls()), one("7", 1), "only that it came at first");
    assert_eq!(cluster.told(1, &calls()), []);
    cluster.pass(2_000);
    for at in 0..2 {
        assert_eq!(cluster.told(at, &calls()), one("7", 0), "gateway {at}");
        assert!(cluster.listed(at, &calls()).is_empty());
    }
}

#[test]
fn who_leaves_a_channel_is_gone_from_it_at_once_and_still_there() {
    let mut cluster = Cluster::new(2);
    let (at, user, id) = cluster.connect(0, "7", 1);
    cluster.talk();
    cluster.told(1, &calls());
    cluster.gateways[at].attendance.part(&tenant(), &user, id, &channel("calls"));
    cluster.talk();
    assert_eq!(cluster.told(1, &calls()), one("7", 0));
    assert_eq!(cluster.listed(1, &Scope::everybody(&tenant())), BTreeMap::from([("7".into(), 1)]));
}

#[test]
fn the_people_of_a_gateway_that_was_killed_go_when_its_lease_ends() {
    let mut cluster = Cluster::new(2);
    cluster.connect(0, "7", 1);
    cluster.connect(1, "8", 2);
    cluster.talk();
    cluster.told(1, &calls());
    let killed_at = cluster.now;
    for _ in 0..9 {
        cluster.now += 1_000;
        cluster.send(1, |_| false);
        cluster.expire();
    }
    assert_eq!(cluster.told(1, &calls()), [], "it may come back");
    cluster.now += 1_000;
    let told = cluster.gateways[1].table.expire(cluster.now);
    let told: Vec<_> = told.iter().filter(|update| update.scope == calls()).collect();
    assert_eq!((told.len(), told[0].told.devices), (1, 0));
    assert_eq!(told[0].told.last_seen, killed_at);
    assert_eq!(cluster.listed(1, &calls()), BTreeMap::from([("8".into(), 1)]));
}

#[test]
fn a_gateway_that_starts_learns_who_is_there_and_tells_nobody_that_they_came() {
    let mut cluster = Cluster::new(1);
    cluster.connect(0, "7", 1);
    cluster.talk();
    cluster.now += 10;
    cluster.add();
    assert_eq!(cluster.listed(1, &calls()), BTreeMap::from([("7".into(), 1)]));
    assert_eq!(cluster.told(1, &calls()), []);
}

#[test]
fn who_comes_while_the_others_are_being_asked_is_news() {
    let mut cluster = Cluster::new(2);
    let scope = Scope::everybody(&tenant());
    cluster.connect(0, "7", 1);
    let node = cluster.gateways[0].node.clone();
    let mut table = Table::new("late".into(), LEASE);
    cluster.now += 10;
    table.open(&scope, cluster.now, Vec::new).unwrap().follow(FOLLOWER);
    cluster.now += 10;
    cluster.connect(0, "8", 1);
    let people = cluster.gateways[0].attendance.people(&scope);
    let told = table.take_all(&node, 1, &scope, people, cluster.now);
    let told: Vec<_> = told.iter().map(|update| &*update.told.user).collect();
    assert_eq!(told, ["8"]);
}

#[test]
fn a_message_that_was_lost_is_noticed_and_made_good() {
    let mut cluster = Cluster::new(2);
    cluster.connect(0, "7", 1);
    cluster.send(0, |_| false);
    assert!(cluster.listed(1, &calls()).is_empty());
    cluster.send(0, |_| true);
    assert_eq!(cluster.told(1, &calls()), one("7", 1));
}

#[test]
fn an_answer_that_is_older_than_what_was_heard_does_not_pass_for_the_whole() {
    let mut cluster = Cluster::new(2);
    let scope = Scope::channel(&tenant(), &channel("call:1"));
    let now = cluster.now;
    let (node, number) = (cluster.gateways[0].node.clone(), cluster.gateways[0].number);
    let table = &mut cluster.gateways[1].table;
    table.open(&scope, now, Vec::new).unwrap().begin();
    let came = Change {
        scope: scope.clone(),
        user: "7".into(),
        standing: Standing { live: vec![1], ..Standing::default() },
    };
    table.hear(&node, number + 1, &[came], now);
    table.take_all(&node, number, &scope, Vec::new(), now);
    assert!(table.roster_mut(&scope).unwrap().misses(&node), "it is asked again");
}

#[test]
fn tenants_and_backends_are_not_seen() {
    let mut cluster = Cluster::new(2);
    cluster.connect_as(0, "backend", 1, Role::Service);
    cluster.connect_as(0, "nobody", 2, Role::Guest);
    let arrival = Arrival {
        tenant: Tenant::parse("other").unwrap(),
        user: "9".into(),
        role: Role::Agent,
        device: 3,
    };
    let (other, now) = (arrival.tenant.clone(), cluster.now);
    let attendance = &mut cluster.gateways[0].attendance;
    let id = attendance.enter(arrival, now);
    attendance.join(&other, &"9".into(), id, [channel("calls")].iter());
    cluster.talk();
    for at in 0..2 {
        assert!(cluster.listed(at, &calls()).is_empty());
        assert_eq!(cluster.told(at, &Scope::everybody(&tenant())), []);
    }
    let counts = cluster.gateways[0].attendance.counts(&tenant());
    assert_eq!((counts.clients, counts.authenticated), (2, 1));
    assert_eq!(counts.rooms.get("calls"), Some(&2));
    assert_eq!(cluster.gateways[0].attendance.counts(&other).clients, 1);
}

#[test]
fn one_client_that_comes_and_goes_costs_little() {
    let mut cluster = Cluster::new(1);
    for device in 0..1_000 {
        let page = cluster.connect(0, "7", device);
        cluster.disconnect(page);
    }
    let people = cluster.gateways[0].attendance.people(&calls());
    assert!(people[0].1.leaving.len() <= 8, "{people:?}");
    cluster.pass(GRACE + 1_000);
    assert!(cluster.gateways[0].attendance.people(&calls()).is_empty());
}

#[derive(Clone, Debug)]
enum Act {
    Connect { at: usize, user: u8, device: u32 },
    Disconnect(usize),
    Part(usize),
    Send { from: usize, reaches: [bool; 3] },
    Pass(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..3_usize, 0..4_u8, 0..3_u32)
            .prop_map(|(at, user, device)| Act::Connect { at, user, device }),
        3 => (0..64_usize).prop_map(Act::Disconnect),
        1 => (0..64_usize).prop_map(Act::Part),
        4 => (0..3_usize, any::<[bool; 3]>()).prop_map(|(from, reaches)| Act::Send { from, reaches }),
        2 => (0..4_000_i64).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 0..60)
}

proptest! {
    /// Whatever is lost and in whatever order it comes: when all is quiet, every gateway knows the same people,
    /// those who are there, and its clients have been told exactly that.
    #[test]
    fn all_gateways_agree_in_the_end(acts in acts()) {
        let mut cluster = Cluster::new(3);
        let mut open: Vec<(Page, u32)> = Vec::new();
        let mut parted: BTreeSet<(usize, AttendantId)> = BTreeSet::new();
        let mut known: Vec<BTreeMap<String, u32>> = vec![BTreeMap::new(); 3];
        for act in acts {
            match act {
                Act::Connect { at, user, device } => {
                    let page = cluster.connect(at, &user.to_string(), device);
                    open.push((page, device));
                }
                Act::Disconnect(which) if !open.is_empty() => {
                    let (page, _) = open.remove(which % open.len());
                    cluster.disconnect(page);
                }
                Act::Part(which) if !open.is_empty() => {
                    let ((at, user, id), _) = open[which % open.len()].clone();
                    cluster.gateways[at].attendance.part(&tenant(), &user, id, &channel("calls"));
                    parted.insert((at, id));
                }
                Act::Disconnect(_) | Act::Part(_) => {}
                Act::Send { from, reaches } => cluster.send(from, |to| reaches[to]),
                Act::Pass(milliseconds) => {
                    cluster.now += milliseconds;
                    cluster.expire();
                }
            }
        }
        cluster.pass(GRACE + 2_000);
        let mut devices: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for ((at, user, id), device) in open {
            if !parted.contains(&(at, id)) {
                devices.entry(user.to_string()).or_default().insert(device);
            }
        }
        let truth: BTreeMap<String, u32> =
            devices.into_iter().map(|(user, devices)| (user, devices.len() as u32)).collect();
        for (at, known) in known.iter_mut().enumerate() {
            prop_assert_eq!(cluster.listed(at, &calls()), truth.clone(), "gateway {}", at);
            for (user, devices) in cluster.told(at, &calls()) {
                let before = known.insert(user.clone(), devices);
                prop_assert_ne!(before.unwrap_or(0), devices, "told twice of {}", user);
            }
            known.retain(|_, devices| *devices > 0);
            prop_assert_eq!(&*known, &truth, "what the clients of gateway {} were told", at);
        }
    }
}
