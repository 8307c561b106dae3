//! The node as a program: started with a configuration, told to end, or killed.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::program;

/// A running `hemoflow serve`. Dropped, it is killed.
pub(crate) struct Served {
    child: Child,
    /// Where it takes DICOM.
    pub(crate) dicom: SocketAddr,
    /// Where it serves HTTP, as `http://127.0.0.1:8080`. Empty: nowhere.
    pub(crate) http: String,
    /// Where it tells metrics.
    pub(crate) metrics: SocketAddr,
    /// What it says on standard error.
    said: std::thread::JoinHandle<String>,
}

/// What every node of the tests is told: free ports, any sender, a small disk.
pub(crate) const OPEN: &str =
    "[dicom]\naddress = '127.0.0.1:0'\nany_peer = true\n[http]\naddress = 'off'\n[metrics]\naddress = '127.0.0.1:0'\n";

impl Served {
    /// Starts a node in `folder`, whose data is kept there, and waits until it listens.
    pub(crate) fn start(folder: &Path, configuration: &str) -> Self {
        Self::start_saying(folder, configuration, &["-v"])
    }

    /// The same, with flags that say how much it tells on standard error.
    pub(crate) fn start_saying(folder: &Path, configuration: &str, flags: &[&str]) -> Self {
        let file = folder.join("hemoflow.toml");
        fs::write(&file, configuration).expect("written");
        let mut command = program(["serve"]);
        let command = command.args(flags).arg("--config").arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut errors = child.stderr.take().expect("standard error");
        let said = std::thread::spawn(move || {
            let mut said = String::new();
            errors.read_to_string(&mut said).expect("text");
            said
        });
        let out = BufReader::new(child.stdout.take().expect("standard output"));
        let (mut dicom, mut http, mut metrics) = (None, String::new(), None);
        for line in out.lines() {
            let line = line.expect("text");
            if let Some(address) = line.strip_prefix("DICOM at ") {
                dicom = Some(address.parse().expect("an address"));
            }
            if let Some(url) = line.strip_prefix("HTTP at ") {
                http = url.to_owned();
            }
            if let Some(rest) = line.strip_prefix("metrics at http://") {
                metrics = rest.split('/').next().map(|address| address.parse().expect("an address"));
                break;
            }
        }
        let Some((dicom, metrics)) = dicom.zip(metrics) else {
            child.kill().ok();
            panic!("the node does not listen: {}", said.join().expect("text"));
        };
        Self { child, dicom, http, metrics, said }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    /// Kills it, as the loss of a process does.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().expect("it runs");
        self.child.wait().expect("an end");
        self.said()
    }

    /// Tells it to end, and waits for that.
    pub(crate) fn drain(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        let status = self.child.wait().expect("an end");
        (status, self.said())
    }

    /// Tells it to read its configuration again.
    pub(crate) fn reload(&self, folder: &Path, configuration: &str) {
        fs::write(folder.join("hemoflow.toml"), configuration).expect("written");
        self.signal(Signal::HUP);
    }

    fn said(mut self) -> String {
        let said = std::mem::replace(&mut self.said, std::thread::spawn(String::new));
        said.join().expect("text")
    }

    /// All metrics, as they are served.
    pub(crate) fn metrics_text(&self) -> String {
        let mut stream = TcpStream::connect(self.metrics).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// The value of a metric, 0 if it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let answer = self.metrics_text();
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, so: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(120);
        while !so() {
            assert!(Instant::now() < until, "it does not come about that {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has followed all that it acknowledged.
    pub(crate) fn caught_up(&self) {
        self.until("the node catches up", || {
            self.metric("hemoflow_inbox_waiting") <= 0.0 && self.metric("hemoflow_start_seconds") > 0.0
        });
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs a script that prepares programs of others, and gives the lines that it prints. `None`, said by name, where they cannot
/// be installed.
fn prepared(test: &str, script: &str) -> Option<Vec<PathBuf>> {
    // Tests run at once, and what is missing is installed once.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let one = ONE_AT_A_TIME.lock();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
    let output = std::process::Command::new(script).output().expect("the script starts");
    drop(one);
    if !output.status.success() {
        eprintln!("skipped: {test}: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect())
}

/// Peers of others: the folder of DCMTK's programs, and a Python with pynetdicom, dicomweb-client and trustme. `None`, said by
/// name, where they cannot be installed.
pub(crate) fn peers(test: &str) -> Option<(PathBuf, PathBuf)> {
    let mut lines = prepared(test, "dicom-peers")?.into_iter();
    Some((lines.next().expect("the folder of DCMTK"), lines.next().expect("a Python")))
}

/// The program of Orthanc, an archive of others. `None`, said by name, where it cannot be installed.
pub(crate) fn archive(test: &str) -> Option<PathBuf> {
    prepared(test, "dicom-archive")?.into_iter().next()
}
