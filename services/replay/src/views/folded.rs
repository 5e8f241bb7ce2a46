//! Views of one stream, of all tenants, folded up to one place in it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::views::{self, Event, View};
use domain::{StreamId, Tenant};
use sha2::{Digest as _, Sha256};

use super::table::Table;

/// A tenant's tables, in the order of [`Folded::views`].
type Tables = Box<[Table]>;

#[derive(Debug)]
pub struct Folded {
    stream: StreamId,
    views: Arc<[&'static View]>,
    epoch: u32,
    /// Folded up to here, and when that event was stored.
    head: u64,
    stored_at: i64,
    /// Of what is before this nothing but its outcome is known.
    base: u64,
    tenants: BTreeMap<Tenant, Tables>,
    /// Views that lack what was before, and are not shown until they are built.
    pending: Vec<&'static str>,
    /// Views with rows that another version of their fold has made.
    outdated: Vec<&'static str>,
    /// Views from a snapshot, whose past is known once they are built.
    restored: Vec<&'static str>,
}

/// The views of a stream, as this build folds them.
pub fn views_of(stream: StreamId) -> Arc<[&'static View]> {
    views::ALL.iter().filter(|view| view.stream == stream).collect()
}

impl Folded {
    pub fn new(stream: StreamId, views: Arc<[&'static View]>, epoch: u32) -> Self {
        Self {
            stream,
            views,
            epoch,
            head: 0,
            stored_at: 0,
            base: 0,
            tenants: BTreeMap::new(),
            pending: Vec::new(),
            outdated: Vec::new(),
            restored: Vec::new(),
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.stream
    }

    pub(crate) fn views(&self) -> &Arc<[&'static View]> {
        &self.views
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn set_epoch(&mut self, epoch: u32) {
        self.epoch = epoch;
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn stored_at(&self) -> i64 {
        self.stored_at
    }

    /// Begins where a snapshot ended, before its rows are restored.
    pub(crate) fn begin_at(&mut self, head: u64, stored_at: i64) {
        (self.head, self.base, self.stored_at) = (head, head, stored_at);
    }

    /// Takes the stream's next event in; `None` for a message that is none.
    pub fn fold(&mut self, sequence: u64, stored_at: i64, event: Option<(&Tenant, Event<'_>)>) {
        if sequence <= self.head {
            return;
        }
        (self.head, self.stored_at) = (sequence, stored_at);
        let Some((tenant, event)) = event else { return };
        for table in self.tables_mut(tenant) {
            table.fold(&event);
        }
    }

    fn tables_mut(&mut self, tenant: &Tenant) -> &mut [Table] {
        if !self.tenants.contains_key(tenant) {
            let tables = self.views.iter().map(|view| Table::new(view, self.base)).collect();
            self.tenants.insert(tenant.clone(), tables);
        }
        self.tenants.get_mut(tenant).map_or(&mut [], |tables| &mut tables[..])
    }

    pub(crate) fn table(&self, tenant: &Tenant, view: &str) -> Option<&Table> {
        self.tenants.get(tenant)?.iter().find(|table| table.view().name == view)
    }

    pub(crate) fn table_mut(&mut self, tenant: &Tenant, view: &str) -> Option<&mut Table> {
        self.tables_mut(tenant).iter_mut().find(|table| table.view().name == view)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = (&Tenant, &Table)> {
        self.tenants.iter().flat_map(|(tenant, tables)| tables.iter().map(move |t| (tenant, t)))
    }

    /// Makes it one of all these views, whichever a snapshot had.
    pub(crate) fn complete(&mut self, views: &Arc<[&'static View]>, outdated: Vec<&'static str>) {
        let is_known = |view: &&View| self.views.iter().any(|known| known.name == view.name);
        self.pending = views.iter().filter(|view| !is_known(view)).map(|view| view.name).collect();
        self.restored = views.iter().map(|view| view.name).collect();
        (self.views, self.outdated) = (views.clone(), outdated);
        for tables in self.tenants.values_mut() {
            let mut present = Vec::from(std::mem::take(tables));
            let whole = views.iter().map(|view| {
                let place = present.iter().position(|table| table.view().name == view.name);
                place
                    .map_or_else(|| Table::new(view, self.head), |place| present.swap_remove(place))
            });
            *tables = whole.collect();
        }
    }

    pub(crate) fn is_pending(&self, view: &str) -> bool {
        self.pending.contains(&view)
    }

    /// Whether a view's past will be known soon.
    pub(crate) fn is_restored(&self, view: &str) -> bool {
        self.restored.contains(&view)
    }

    /// Whether a view's rows are what this build's fold makes of the log.
    fn is_comparable(&self, view: &str) -> bool {
        !self.is_pending(view) && !self.outdated.contains(&view)
    }

    /// Whether another has the same rows of a view; one that cannot be compared has.
    pub(crate) fn is_same(&self, other: &Self, view: &str) -> bool {
        if !self.is_comparable(view) {
            return true;
        }
        let of = |folded: &'_ Self, tenant: &Tenant| {
            folded.table(tenant, view).is_some_and(|t| t.count() > 0)
        };
        let tenants: Vec<&Tenant> = self.tenants.keys().chain(other.tenants.keys()).collect();
        tenants.into_iter().all(|tenant| {
            match (self.table(tenant, view), other.table(tenant, view)) {
                (Some(one), Some(two)) => one.is_same(two),
                _ => !of(self, tenant) && !of(other, tenant),
            }
        })
    }

    /// After rows were restored: the past begins here.
    pub(crate) fn begin_past(&mut self) {
        let head = self.head;
        for table in self.tenants.values_mut().flatten() {
            table.skip_to(head);
            table.begin_past();
        }
    }

    /// Retention has removed what stands below `first`.
    pub(crate) fn truncate(&mut self, first: u64) {
        self.base = self.base.max(first.saturating_sub(1).min(self.head));
        for table in self.tenants.values_mut().flatten() {
            table.truncate(first);
        }
    }

    /// Puts newly built tables in the place of those of the same views.
    pub(crate) fn take_over(&mut self, mut built: Self) {
        self.base = self.base.min(built.base);
        let is_built = |name: &&str| built.views.iter().any(|view| view.name == *name);
        self.pending.retain(|name| !is_built(name));
        self.outdated.retain(|name| !is_built(name));
        self.restored.retain(|name| !is_built(name));
        let known: Vec<Tenant> = self.tenants.keys().cloned().collect();
        for tenant in &known {
            built.tables_mut(tenant);
        }
        for (tenant, tables) in built.tenants {
            let present = self.tables_mut(&tenant);
            for table in tables {
                let name = table.view().name;
                if let Some(place) = present.iter_mut().find(|place| place.view().name == name) {
                    *place = table;
                }
            }
        }
    }

    /// Of what is before this nothing but its outcome is known.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Equal for equal content of one view, whatever way it came about.
    pub(crate) fn digest(&self, view: &str) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (tenant, table) in self.tables().filter(|(_, table)| table.view().name == view) {
            for (key, created, rows) in table.entries() {
                part(&mut digest, tenant.as_str().as_bytes());
                part(&mut digest, key.as_bytes());
                digest.update(created.to_le_bytes());
                for (name, content) in rows {
                    part(&mut digest, name.as_bytes());
                    part(&mut digest, content);
                }
            }
        }
        digest.finalize().into()
    }
}

/// A part with its length, so that no two contents are the same bytes.
fn part(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_le_bytes());
    digest.update(part);
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
