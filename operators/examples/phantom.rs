//! Writes a data set of phantoms: `phantom OUT STUDIES [SEED] [MATRIX] [SLICES]`.

use std::path::PathBuf;

use operators::phantom::{PhantomConfig, PhantomWriter, study};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: phantom OUT STUDIES [SEED] [MATRIX] [SLICES]")?);
    let studies: u64 = arguments.next().ok_or("how many studies?")?.parse()?;
    let mut config = PhantomConfig::default();
    if let Some(seed) = arguments.next() {
        config.seed = seed.parse()?;
    }
    if let Some(matrix) = arguments.next() {
        config.matrix = matrix.parse()?;
    }
    if let Some(slices) = arguments.next() {
        config.slices = Some(slices.parse()?);
    }
    let mut writer = PhantomWriter::create(&folder, true)?;
    for index in 0..studies {
        writer.add(&study(&config, index))?;
    }
    writer.finish()?;
    Ok(())
}
