//! The printed tree of a tenant's timelines.

use std::collections::{BTreeMap, HashSet};

use utils::{Lsn, TimelineId};

/// A timeline as the tree shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeTimeline {
    /// Its id.
    pub id: TimelineId,
    /// What it is called, if anything.
    pub name: Option<String>,
    /// Where it branched off, and from whom.
    pub ancestor: Option<(TimelineId, Lsn)>,
}

/// Draws the tree, a line per timeline. A timeline whose ancestor is not in the list is
/// drawn as a root.
pub fn draw(timelines: &[TreeTimeline]) -> String {
    let known: HashSet<TimelineId> = timelines.iter().map(|timeline| timeline.id).collect();
    let mut children: BTreeMap<Option<TimelineId>, Vec<&TreeTimeline>> = BTreeMap::new();
    for timeline in timelines {
        let parent = timeline.ancestor.map(|(id, _)| id).filter(|id| known.contains(id));
        children.entry(parent).or_default().push(timeline);
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|timeline| timeline.id);
    }
    let mut text = String::new();
    for root in children.get(&None).into_iter().flatten() {
        text.push_str(&line("", "", root));
        draw_children(&children, root.id, "", &mut text);
    }
    text
}

fn draw_children(
    children: &BTreeMap<Option<TimelineId>, Vec<&TreeTimeline>>,
    parent: TimelineId,
    indent: &str,
    text: &mut String,
) {
    let Some(siblings) = children.get(&Some(parent)) else {
        return;
    };
    for (index, child) in siblings.iter().enumerate() {
        let is_last = index + 1 == siblings.len();
        let (connector, below) = if is_last { ("┗━", "   ") } else { ("┣━", "┃  ") };
        let lsn = child.ancestor.map_or(Lsn::INVALID, |(_, lsn)| lsn);
        text.push_str(&line(indent, &format!("{connector} @{lsn}: "), child));
        draw_children(children, child.id, &format!("{indent}{below}"), text);
    }
}

fn line(indent: &str, connector: &str, timeline: &TreeTimeline) -> String {
    let name = timeline.name.as_deref().unwrap_or("_no_name_");
    format!("{indent}{connector}{name} [{}]\n", timeline.id)
}

#[cfg(test)]
mod tests;
