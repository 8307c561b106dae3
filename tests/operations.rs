//! The files that run a node as a service: what systemd itself says of them. And the script that installs what tests need.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::complaints;

/// Asks systemd-analyze about the unit with the program of this build, or says by name that the test was skipped.
fn analyze(test: &str, arguments: &[&str]) -> Option<Output> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: {test}: systemd-analyze is not installed");
        return None;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/hemoflow.service");
    let text = std::fs::read_to_string(unit).expect("the unit");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hemoflow.service");
    std::fs::write(&path, text.replace("/opt/hemoflow/hemoflow", env!("CARGO_BIN_EXE_hemoflow"))).expect("written");
    Some(Command::new("systemd-analyze").args(arguments).arg(path).output().expect("it starts"))
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    let Some(output) = analyze("systemd_finds_no_fault_in_the_unit", &["verify"]) else { return };
    let ours: Vec<String> =
        complaints(&output).lines().filter(|line| line.contains("hemoflow.service")).map(str::to_owned).collect();
    assert!(output.status.success() && ours.is_empty(), "{}", complaints(&output));
}

#[test]
fn the_unit_exposes_little() {
    // 100 is everything, 15 is below the "OK" of most services of a system.
    let arguments = ["security", "--offline=true", "--threshold=15", "--no-pager"];
    let Some(output) = analyze("the_unit_exposes_little", &arguments) else { return };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() && complaints(&output).contains("offline") {
        eprintln!("skipped: the_unit_exposes_little: this systemd-analyze does not judge files");
        return;
    }
    assert!(output.status.success(), "{}", said.lines().last().unwrap_or_default());
}

/// An `apt-get` that fails where another one is running, as the real one does, and a `sudo` that does as told.
fn strict_apt(folder: &Path) {
    let held = folder.join("held");
    let apt = format!("#!/bin/sh\nmkdir '{0}' || exit 100\nsleep 0.02\nrmdir '{0}'\n", held.display());
    for (name, text) in [("apt-get", apt.as_str()), ("sudo", "#!/bin/sh\nshift\nexec \"$@\"\n")] {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    }
}

#[test]
fn installs_wait_for_each_other() {
    if Command::new("flock").arg("--version").output().is_err() {
        eprintln!("skipped: installs_wait_for_each_other: flock is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    strict_apt(folder.path());
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a path"));
    let install = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/debian-install");
        let mut command = Command::new(script);
        command.arg("any").env("PATH", &path).env("CARGO_TARGET_DIR", folder.path()).stderr(Stdio::piped());
        command.spawn().expect("the script starts")
    };
    let running: Vec<Child> = (0..8).map(|_| install()).collect();
    for child in running {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", complaints(&output));
    }
}
