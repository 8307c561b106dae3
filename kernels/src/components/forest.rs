//! A union-find forest: which runs are of one component.

/// Trees over numbered runs; each parent is not above its child.
pub(super) struct Forest {
    parents: Vec<u32>,
}

impl Forest {
    /// So many runs, each alone.
    pub(super) fn new(runs: u32) -> Self {
        Self { parents: (0..runs).collect() }
    }

    /// Joins the trees of two runs under the least run of both.
    #[inline(always)]
    pub(super) fn join(&mut self, a: u32, b: u32) {
        // Mostly they are one already, and flat.
        if self.parents[a as usize] == self.parents[b as usize] {
            return;
        }
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// The root of a run's tree; paths to it are halved.
    #[inline(always)]
    fn root(&mut self, mut run: u32) -> u32 {
        while self.parents[run as usize] != run {
            let grandparent = self.parents[self.parents[run as usize] as usize];
            self.parents[run as usize] = grandparent;
            run = grandparent;
        }
        run
    }

    /// For each run the number of its tree, in order of the roots, and the count of trees.
    pub(super) fn numbered(mut self) -> (Vec<u32>, usize) {
        let mut trees = 0;
        for run in 0..self.parents.len() {
            let parent = self.parents[run] as usize;
            // The parent is an earlier run, which has its number.
            self.parents[run] = if parent == run { trees } else { self.parents[parent] };
            trees += u32::from(parent == run);
        }
        (self.parents, trees as usize)
    }
}
