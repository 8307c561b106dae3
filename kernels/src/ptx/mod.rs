//! Every kernel compiles for a GPU that is not there, and keeps its laws with the GPU's launches.
//!
//! The tests of this crate run once more in a process of their own, on the device [`shadow`]: the PTX (sm_90a) of each
//! variant of a kernel that they launch is assembled by NVIDIA's `ptxas`, which `scripts/ptxas` brings. A kernel that no
//! test launches there fails the count. Kernels whose units wait for one another are assembled, but not run.

pub(crate) mod shadow;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The module whose tests need kernels of all others.
const USER: &str = "backend";

/// Kernels for processors only.
const PROCESSOR_ONLY: [&str; 1] = ["whole_kernel"];

/// The kernels of a folder of sources: the names of the functions below `#[cube(launch…)]`.
fn launched(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("a file of the sources").path();
        if path.is_dir() {
            launched(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source");
            let mut lines = source.lines();
            while lines.by_ref().any(|line| line.trim_start().starts_with("#[cube(launch")) {
                let signature = lines.by_ref().find(|line| line.contains("fn ")).expect("a kernel below its attribute");
                let name = signature.split("fn ").nth(1).expect("a name");
                names.insert(name.split(['<', '(']).next().expect("a name").to_owned());
            }
        }
    }
}

/// What `ptxas -v` says about a kernel.
struct Assembled {
    registers: u32,
    spilled: u32,
}

/// Assembles one file.
fn assemble(ptxas: &Path, ptx: &Path) -> Result<Assembled, String> {
    let out = ptx.with_extension("cubin");
    let run = Command::new(ptxas)
        .args(["-arch=sm_90a", "-v", "-o"])
        .args([&out, ptx])
        .output()
        .map_err(|error| format!("{}: {error}", ptxas.display()))?;
    let said = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
    if !run.status.success() {
        return Err(said);
    }
    let number = |before: &str| -> Option<u32> {
        said.split(before).next()?.split_whitespace().next_back()?.trim_start_matches(',').parse().ok()
    };
    match (number(" registers"), number(" bytes spill stores")) {
        (Some(registers), Some(spilled)) => Ok(Assembled { registers, spilled }),
        _ => Err(said),
    }
}

#[test]
fn every_kernel_assembles_for_hopper_and_keeps_its_laws_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let cuda = Command::new(root.join("scripts/ptxas")).output();
    let Ok(cuda) = cuda.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()) else {
        println!("skipped: every_kernel_assembles_for_hopper_and_keeps_its_laws_there: no scripts/ptxas");
        return;
    };
    if cuda.is_empty() {
        println!("skipped: every_kernel_assembles_for_hopper_and_keeps_its_laws_there: ptxas cannot be installed");
        return;
    }
    let folder = env::temp_dir().join(format!("hemoflow-ptx-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for PTX");
    let tests = Command::new(env::current_exe().expect("this program"))
        .args(["--skip", "ptx::", "--skip", "executor::"])
        .env(crate::compare::DEVICE, "shadow")
        .env(shadow::FOLDER, &folder)
        .env("CUDA_PATH", &cuda)
        .env("PROPTEST_CASES", "8")
        // What fails there for want of running is nobody's regression.
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .output()
        .expect("the tests of this crate");
    let failure = fs::read_to_string(folder.join("failure.txt")).unwrap_or_default();
    assert!(failure.is_empty(), "a kernel did not compile: {failure}");

    let mut waiting = BTreeSet::from([USER.to_owned()]);
    let mut found: BTreeMap<String, Vec<Assembled>> = BTreeMap::new();
    for entry in fs::read_dir(&folder).expect("the PTX") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "ptx") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("PTX");
        let line = text.lines().next().unwrap_or_default().trim_start_matches("// ");
        let (shared, kernel) = line.split_once(' ').expect("the line that the device writes");
        if shared != "0" {
            waiting.insert(kernel.split("::").nth(1).unwrap_or_default().to_owned());
        }
        let assembled = assemble(&Path::new(&cuda).join("bin/ptxas"), &path);
        let assembled = assembled.unwrap_or_else(|said| panic!("ptxas refuses {kernel}: {said}"));
        let name = kernel.split('<').next().and_then(|path| path.rsplit("::").nth(1)).unwrap_or_default().to_owned();
        found.entry(name).or_default().push(assembled);
    }
    fs::remove_dir_all(&folder).expect("the folder for PTX");
    let said = String::from_utf8_lossy(&tests.stdout).into_owned();
    assert!(said.contains("test result: "), "the tests ended early: {said}");
    for line in said.lines().filter(|line| line.starts_with("test ") && line.ends_with(" FAILED")) {
        let module = line.trim_start_matches("test ").split("::").next().unwrap_or_default();
        assert!(waiting.contains(module), "{line}, with a GPU's launches: {said}");
    }

    println!("| kernel | variants | registers, at most | bytes spilled, at most |\n|---|---|---|---|");
    for (name, variants) in &found {
        let registers = variants.iter().map(|variant| variant.registers).max().unwrap_or(0);
        let spilled = variants.iter().map(|variant| variant.spilled).max().unwrap_or(0);
        println!("| `{name}` | {} | {registers} | {spilled} |", variants.len());
    }
    let mut missing = BTreeSet::new();
    launched(&root.join("kernels/src"), &mut missing);
    missing.retain(|name| !found.contains_key(name) && !PROCESSOR_ONLY.contains(&name.as_str()));
    assert!(missing.is_empty(), "no test launches {missing:?} on the device");
}
