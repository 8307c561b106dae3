//! `hemoflow phantom`: a synthetic head-CT data set with its truth.

use anyhow::{Context, bail};
use operators::layout::LayoutWriter;
use operators::phantom::{self, PhantomConfig, PhantomStudy};
use rayon::prelude::*;

use super::Exit;
use crate::arguments::{Format, Phantom};
use crate::console::Console;

/// Studies that are in memory at once.
const CHUNK: u64 = 8;

/// Makes the studies and writes them.
pub(super) fn phantom(arguments: &Phantom, console: &mut Console) -> anyhow::Result<Exit> {
    if !(32..=2048).contains(&arguments.matrix) || arguments.slices == Some(0) {
        bail!("a slice has 32 to 2048 rows and columns, and a study at least one slice");
    }
    let config = PhantomConfig {
        seed: arguments.seed,
        slices: arguments.slices,
        matrix: arguments.matrix,
        ..PhantomConfig::default()
    };
    let mut writer = LayoutWriter::create(&arguments.out, arguments.layout, arguments.format.contains(&Format::Dicom))?;
    let (mut studies, mut slices, mut positive) = (0, 0, 0);
    for start in (0..arguments.studies).step_by(usize::try_from(CHUNK)?) {
        let end = arguments.studies.min(start + CHUNK);
        let made: Vec<Vec<PhantomStudy>> = (start..end)
            .into_par_iter()
            .map(|index| {
                let study = phantom::study(&config, index);
                let positive = study.slices.iter().any(|slice| slice.labels().any);
                let twin = (arguments.twins && positive).then(|| phantom::twin(&config, index));
                std::iter::once(study).chain(twin).collect()
            })
            .collect();
        for study in made.iter().flatten() {
            writer.add(study)?;
            studies += 1;
            slices += study.slices.len();
            positive += study.slices.iter().filter(|slice| slice.labels().any).count();
        }
        tracing::info!("{end} of {} studies", arguments.studies);
    }
    writer.finish().with_context(|| format!("the data set {}", arguments.out.display()))?;
    console.line(format!(
        "{studies} studies, {slices} slices, {positive} of them with hemorrhage, in {}",
        arguments.out.display()
    ))?;
    console.json(&serde_json::json!({
        "studies": studies, "slices": slices, "positive_slices": positive, "seed": arguments.seed,
    }))?;
    Ok(Exit::Done)
}
