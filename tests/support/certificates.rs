//! Certificates of a test's own authorities, by trustme.

use std::path::Path;
use std::process::Command;

/// Writes PEM files into a folder: the authority `ca.pem`, with `node`, `client`, `peer` and the expired `old` of it; the
/// authority `other-ca.pem`, with `stranger` of it. Each of these is `NAME.pem` and `NAME.key`.
pub(crate) fn write_certificates(python: &Path, folder: &Path) {
    let script = r#"
import datetime, sys, trustme
from pathlib import Path
folder = Path(sys.argv[1])
authority, other = trustme.CA(), trustme.CA()
authority.cert_pem.write_to_path(folder / "ca.pem")
other.cert_pem.write_to_path(folder / "other-ca.pem")
past = {"not_before": datetime.datetime(2001, 1, 1), "not_after": datetime.datetime(2002, 1, 1)}
for name, certificate in (
    ("node", authority.issue_cert("127.0.0.1")),
    ("client", authority.issue_cert("a@example.org")),
    ("peer", authority.issue_cert("127.0.0.1", "peer.example.org")),
    ("old", authority.issue_cert("127.0.0.1", **past)),
    ("stranger", other.issue_cert("127.0.0.1", "a@example.org")),
):
    certificate.private_key_pem.write_to_path(folder / f"{name}.key")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / f"{name}.pem", append=True)
"#;
    let output = Command::new(python).args(["-c", script]).arg(folder).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
