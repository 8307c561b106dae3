//! Named assemblies of operators.
//!
//! | graph | the question it answers | inputs | outputs |
//! |---|---|---|---|
//! | [`hemorrhage`](hemorrhage::install) | which hemorrhage does each series show, now? | changes of what is present, methods in use | publications, rejections |
//! | [`weak_labels`] | what can a segmenter learn from slice labels? | labeled slices | pseudo-masks |
//! | [`views`] | what do all results say together? | outcomes of series and slices | worklist, prevalence, growth, flips, agreement |
//!
//! [`batch`] answers the first question by a plain function: the oracle of the laws.
//! [`stages`] holds the device work that the graphs share, [`topology`] prints a graph.

pub mod batch;
pub mod hemorrhage;
mod readers;
mod setup;
pub mod stages;
pub mod topology;
pub mod views;
pub mod weak_labels;

use operators::plumbing::{self, Door};

use stages::{StageError, Stages};

/// The streaming graphs by name, each with its tree.
///
/// # Errors
///
/// Returns [`StageError`] if no thread can be started.
pub fn catalogue() -> Result<Vec<(&'static str, String)>, StageError> {
    let stages = Stages::outline()?;
    let tree = topology::tree(move |scope| {
        let changes = plumbing::source(scope, "Changes", None, &Door::default());
        let uses = plumbing::source(scope, "Uses", None, &Door::default());
        drop(hemorrhage::install(changes, uses, &stages));
    });
    Ok(vec![("hemorrhage", tree)])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_golden_tree_is_that_of_the_graph() {
        let catalogue = super::catalogue().expect("stages that do no work");
        let [(name, tree)] = &catalogue[..] else { panic!("one streaming graph") };
        assert_eq!(*name, "hemorrhage");
        let golden = include_str!("../golden/hemorrhage.txt");
        assert!(tree == golden, "golden/hemorrhage.txt differs from the graph:\n{tree}");
    }
}
