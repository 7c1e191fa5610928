//! Which table or index each page of a database belongs to.
//!
//! What must hold: a page is a tree's only if it is reached from that tree's root and from no other; where nothing reaches it, its rows
//! may be those of a tree only if no other one of the same shape can have lost it. Whatever bytes the pages have, the walk ends.
//!
//! What it deliberately does not do: look at rows. Tables whose rows look like no other's are told by these, whatever tree reaches them
//! (see the caller): a wrong pointer must not take a page of records away.
//!
//! The roots are in the schema, which begins on the first page. hx makes every database with the same statements, so that the roots of a
//! schema that is lost are those of a new database, as long as nothing that is left of it says otherwise.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::cells::{self, Kind, Rows, Value};
use super::pages::Pages;
use crate::history::error::HistoryError;
use crate::history::schema;

/// Whether the rows of a page are those of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    /// Two trees with rows of this shape are damaged, and it may be a page of either.
    Unsure,
}

/// The trees of a database, as far as they can be followed.
#[derive(Default)]
pub(super) struct Trees {
    /// Whose a page is; none where two trees reach it, for then one of them is wrong.
    owners: HashMap<u32, Option<Arc<str>>>,
    /// Trees of which every page was found.
    whole: HashSet<Arc<str>>,
}

impl Trees {
    pub(super) fn read(pages: &Pages) -> Result<Self, HistoryError> {
        let mut trees = Self::default();
        let mut reached: HashMap<u32, Vec<Arc<str>>> = HashMap::new();
        for (name, (kind, root)) in roots(pages)? {
            let name: Arc<str> = Arc::from(name);
            let (below, is_whole) = walk(pages, kind, root);
            for page in below {
                reached.entry(page).or_default().push(name.clone());
            }
            if is_whole {
                trees.whole.insert(name);
            }
        }
        for (page, names) in reached {
            let owner = match names.as_slice() {
                [name] => Some(name.clone()),
                several => {
                    trees.whole.retain(|name| !several.contains(name));
                    None
                }
            };
            trees.owners.insert(page, owner);
        }
        Ok(trees)
    }

    /// Whether rows of the shape of `tree` on `page` are its own; `alike` are the other trees with rows of that shape.
    pub(super) fn holds(&self, page: u32, tree: &str, alike: &[&str]) -> Holds {
        if let Some(Some(owner)) = self.owners.get(&page) {
            return if **owner == *tree {
                Holds::Yes
            } else {
                Holds::No
            };
        }
        let may_lack = |tree: &&str| !self.is_whole(tree);
        match (may_lack(&tree), alike.iter().any(may_lack)) {
            (true, false) => Holds::Yes,
            (true, true) => Holds::Unsure,
            (false, _) => Holds::No,
        }
    }

    /// Whether every page of a tree was found.
    pub(super) fn is_whole(&self, tree: &str) -> bool {
        self.whole.contains(tree)
    }
}

/// The pages that a root leads to, and whether all of them are there. A page of another kind is damage, and none of the tree's.
fn walk(pages: &Pages, kind: Kind, root: u32) -> (HashSet<u32>, bool) {
    let (mut reached, mut is_whole) = (HashSet::new(), true);
    let mut waiting = vec![root];
    while let Some(page) = waiting.pop() {
        match cells::node(pages, page) {
            Some((found, children)) if found == kind && reached.insert(page) => {
                waiting.extend(children);
            }
            _ => is_whole = false,
        }
    }
    (reached, is_whole)
}

type Roots = HashMap<String, (Kind, u32)>;

/// The roots after what is left of the schema; those that it no longer names, after a new database.
fn roots(pages: &Pages) -> Result<Roots, HistoryError> {
    let mut roots: Roots = HashMap::new();
    for page in 1..=pages.count() {
        if let Rows::Table(rows) = cells::rows(pages, page) {
            roots.extend(rows.into_iter().filter_map(|(_, row)| definition(row)));
        }
    }
    let usual = usual_roots()?;
    let agree = roots
        .iter()
        .all(|(name, root)| usual.get(name).is_none_or(|usual| usual == root));
    if agree {
        let taken: HashSet<u32> = roots.values().map(|(_, root)| *root).collect();
        let free = usual
            .into_iter()
            .filter(|(_, (_, root))| !taken.contains(root));
        for (name, root) in free {
            roots.entry(name).or_insert(root);
        }
    }
    Ok(roots)
}

/// A row of the schema: no other table has five columns that begin with a text.
fn definition(row: Vec<Value>) -> Option<(String, (Kind, u32))> {
    let [
        Value::Text(kind),
        Value::Text(name),
        Value::Text(_),
        Value::Int(root),
        sql,
    ] = <[Value; 5]>::try_from(row).ok()?
    else {
        return None;
    };
    let kind = match (&*kind, sql) {
        // A table without row numbers is kept as an index is.
        ("table", Value::Text(sql)) if sql.to_uppercase().contains("WITHOUT ROWID") => Kind::Index,
        ("table", Value::Text(_)) => Kind::Table,
        ("index", _) => Kind::Index,
        _ => return None,
    };
    let root = u32::try_from(root).ok().filter(|root| *root > 1)?;
    Some((name, (kind, root)))
}

fn usual_roots() -> Result<Roots, HistoryError> {
    let fresh = schema::open_without_file(":memory:")?;
    let mut select =
        fresh.prepare("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema")?;
    let rows = select.query_map([], |row| {
        let text = |column| row.get(column).map(Value::Text);
        let sql = row.get::<_, Option<String>>(4)?;
        let sql = sql.map_or(Value::Null, Value::Text);
        Ok(vec![
            text(0)?,
            text(1)?,
            text(2)?,
            Value::Int(row.get(3)?),
            sql,
        ])
    })?;
    let mut roots = HashMap::new();
    for row in rows {
        roots.extend(definition(row?));
    }
    Ok(roots)
}
