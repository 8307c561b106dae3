//! What the file says, and what is said of a file that is wrong.

use std::time::Duration;

use super::*;

fn parse(text: &str) -> Config {
    Config::parse("hemoflow.toml", text).unwrap_or_else(|fault| panic!("{fault}"))
}

fn fault(text: &str) -> String {
    Config::parse("hemoflow.toml", text).expect_err("a fault").to_string()
}

/// The default with every key, those that have no default too.
fn uncommented() -> String {
    let key = |line: &&str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
    };
    DEFAULT.lines().map(|line| if key(&line) { &line[1..] } else { line }).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_printed_default_and_nothing_at_all_are_the_default() {
    assert_eq!(parse(DEFAULT), Config::default());
    assert_eq!(parse(""), Config::default());
}

#[test]
fn the_default_shows_every_key() {
    let all = parse(&uncommented());
    assert!(
        all.dicom.tls.is_some()
            && all.dicom.peers[0].tls.is_some()
            && all.http.tls.is_some()
            && all.node.memory == Some(2 << 30)
    );
    for section in [
        "node",
        "dicom",
        "[dicom.peer]",
        "[dicom.peer]]\nae_title = 'A'\n[dicom.peer.tls",
        "dicom.tls",
        "http",
        "[http.token]",
        "http.tls",
        "metrics",
        "[folder]",
        "completion",
        "limits",
        "retention",
        "selection",
        "[selection.rule]",
    ] {
        let fault = fault(&format!("[{section}]\nqqqqqqqq = 1\n"));
        let (_, keys) = fault.split_once(" here, but ").unwrap_or_else(|| panic!("{section}: {fault}"));
        for key in keys.split(", ") {
            let shown = [format!("\n{key} = "), format!("\n#{key} = "), format!("{key}]\n"), format!("{key}]]\n")];
            assert!(shown.iter().any(|shown| DEFAULT.contains(shown)), "{section}.{key}");
        }
    }
}

#[test]
fn values_are_what_they_say() {
    let config = parse(
        "[node]\nmemory = 17\nack = 'written'\n[dicom]\naddress = 'off'\ntimeout_seconds = 0.5\n[[dicom.peer]]\nae_title = ' CT1 '\nfrom = '192.0.2.0/24'\n\
         [limits]\nfree_disk = '3M'\n[[folder]]\npath = 'in'\n",
    );
    assert_eq!((config.node.memory, config.node.ack, config.limits.free_disk), (Some(17), Ack::Written, 3 << 20));
    assert_eq!((config.dicom.address, config.dicom.timeout), (None, Duration::from_millis(500)));
    assert_eq!(config.dicom.peers[0].ae_title.as_str(), "CT1");
    assert_eq!(config.folders[0].done(), Path::new("in/done"));
    assert_eq!(config.node.results(), Path::new("hemoflow-data/results"));
}

#[test]
fn every_fault_names_line_column_and_key() {
    let cases = [
        ("[node]\nworkers = 0", "2:1: node.workers: 0 must be 1 to 64"),
        ("[node]\nworkers = 'two'", "2:11: node.workers: "),
        ("[node]\nack = 'fsnc'", "2:7: node.ack: `fsnc` is no value of this key; is `fsync` meant?"),
        ("[node]\nmemory = '2T'", "2:10: node.memory: `2T`: must be a whole number with at most one of K, M, G"),
        ("[node]\nmemory = -1", "2:10: node.memory: must not be less than 0"),
        ("[node]\nmemory = 1.5", "2:10: node.memory: "),
        ("[nodes]\n", "1:2: nodes: there is no key `nodes` here; is `node` meant?"),
        ("[dicom]\nae_titel = 'A'", "2:1: dicom.ae_titel: there is no key `ae_titel` here; is `ae_title` meant?"),
        ("[dicom]\nae_title = 'A\\B'", "2:12: dicom.ae_title: an AE title must not hold the character '\\\\'"),
        ("[dicom]\naddress = 'localhost'", "2:11: dicom.address: `localhost` must be an address and a port"),
        ("[dicom]\ntimeout_seconds = 0", "2:19: dicom.timeout_seconds: `0` must be a number of seconds above 0"),
        ("[dicom]\nmax_pdu = 100", "2:1: dicom.max_pdu: 100 must be 4096 to 1048576"),
        (
            "[[dicom.peer]]\nae_title = 'A'\n[[dicom.peer]]\nfrom = '::1'",
            "3:1: dicom.peer[1]: the key `ae_title` is missing",
        ),
        (
            "[[dicom.peer]]\nae_title = 'A'\nfrom = '10.0.0.1/8'",
            "3:8: dicom.peer[0].from: `10.0.0.1/8` must be the address",
        ),
        (
            "[[dicom.peer]]\nae_title = 'A'\ntls = { ca = 'c' }",
            "3:1: dicom.peer[0].tls: is of no use without the address of the peer",
        ),
        (
            "[[dicom.peer]]\nae_title = 'A'\naddress = '192.0.2.7:104'\n[dicom.peer.tls]\nca = 'c'\nname = 'a b'",
            "6:1: dicom.peer[0].tls.name: `a b` must be the name of a machine, or an address",
        ),
        ("[dicom.tls]\nkey = 'k'", "1:1: dicom.tls: the key `certificate` is missing"),
        ("[[http.token]]\nname = 'a'\nsha256 = 'ff'", "3:10: http.token[0].sha256: must be the SHA-256"),
        (
            "[metrics]\naddress = '127.0.0.1:8080'",
            "2:1: metrics.address: 127.0.0.1:8080 is the address of http already",
        ),
        ("[completion]\nquiet_seconds = -1", "2:1: completion.quiet_seconds: -1 must be 0"),
        ("[completion]\nquiet_seconds = nan", "2:1: completion.quiet_seconds: NaN must be 0"),
        (
            "[limits]\nwaiting_slow = 30000",
            "2:1: limits.waiting_slow: 30000 must not be more than waiting_refuse, 20000",
        ),
        ("[limits]\n\nwaiting_refuse = 10", "1:2: limits.waiting_slow: 2000 must not be more than waiting_refuse, 10"),
        ("[retention]\nafter_days = -1", "2:14: retention.after_days: "),
        ("[retention]\nafter_days = 1.5", "2:14: retention.after_days: "),
        ("[retention]\nafter_days = 40000", "2:1: retention.after_days: 40000 must be 0 to 36500"),
        (
            "[retention]\nafter_day = 1",
            "2:1: retention.after_day: there is no key `after_day` here; is `after_days` meant?",
        ),
        ("[[folder]]\npath = 'a'\n[[folder]]\npath = 'a'", "4:1: folder[1].path: the folder is watched already"),
        ("[[folder]]\npath = 'a'\ndone = 'a'", "3:1: folder[0].done: must be another folder"),
        ("[[selection.rule]]\nname = 'a'", "1:1: selection.rule[0]: the key `take` is missing"),
        (
            "[[selection.rule]]\nname = 'a'\ntake = true\nkernel = '('",
            "4:10: selection.rule[0].kernel: `(` is no regular expression: ",
        ),
        (
            "[[selection.rule]]\nname = 'a'\ntake = true\nrows = { least = 2, most = 1 }",
            "4:8: selection.rule[0].rows: least, 2, is more than most, 1",
        ),
        (
            "[[selection.rule]]\nname = 'a'\ntake = true\nkernal = 'x'",
            "4:1: selection.rule[0].kernal: there is no key `kernal` here; is `kernel` meant?",
        ),
        ("[[selection.rule]]\nname = 'otherwise'\ntake = true", "2:1: selection.rule[0].name: `otherwise` is taken"),
    ];
    for (text, expected) in cases {
        let fault = fault(text);
        assert!(fault.starts_with(&format!("hemoflow.toml:{expected}")), "{text:?}\n  {fault}\n  {expected}");
    }
    assert!(fault("[node\n").starts_with("hemoflow.toml:1:"), "{}", fault("[node\n"));
    assert!(
        fault("[node]\nworkers = 1\nworkers = 2").contains(":3:1: "),
        "{}",
        fault("[node]\nworkers = 1\nworkers = 2")
    );
}

#[test]
fn a_token_that_was_written_instead_of_its_digest_is_not_repeated() {
    let fault = fault("[[http.token]]\nname = 'pacs'\nsha256 = 'the-token-itself'");
    assert!(!fault.contains("the-token-itself"), "{fault}");
}

#[test]
fn paths_are_relative_to_the_file_and_what_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("node.toml");
    fs::write(
        &file,
        "[node]\ndata = 'd'\nmodel = '/nothing/here'\n[http.tls]\ncertificate = 'c.pem'\nkey = 'node.toml'\n",
    )
    .expect("written");
    let config = Config::read(&file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.node.data, folder.path().join("d"));
    assert_eq!(config.node.model.as_deref(), Some(Path::new("/nothing/here")));
    let missing = config.missing();
    assert_eq!(missing.len(), 2, "the data folder is made, the key is there: {missing:?}");
    assert!(missing[0].starts_with("node.model: ") && missing[1].starts_with("http.tls.certificate: "), "{missing:?}");
    let error = Config::load(Some(&folder.path().join("none.toml"))).expect_err("no file");
    assert!(error.to_string().contains("none.toml"), "{error}");
}

#[test]
fn doors_that_stand_open_are_told() {
    let open =
        parse("[dicom]\naddress = '0.0.0.0:104'\nany_peer = true\n[http]\naddress = '[::]:80'\nanonymous = true");
    let keys: Vec<String> =
        open.warnings().into_iter().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
    assert_eq!(keys, ["dicom.any_peer", "dicom.tls", "http.anonymous", "http.tls"]);
    let blind = parse("[[selection.rule]]\nname = 'a'\ntake = true\n[[selection.rule]]\nname = 'b'\ntake = true\n");
    assert!(blind.warnings().contains(&"selection.rule[0]: fits everything: no rule behind it is asked".to_owned()));
    let closed = parse("[dicom]\naddress = '0.0.0.0:104'\n[dicom.tls]\ncertificate = 'c'\nkey = 'k'\n");
    assert_eq!(closed.warnings(), ["dicom.peer: nobody is listed: every association will be refused"]);
}

/// A node that runs takes who may send, certificates and how long studies are kept; the rest is named, and stays.
#[test]
fn what_a_running_node_cannot_take_is_named_and_stays() {
    let tls = |way: &str, ca: &str| format!("[{way}.tls]\ncertificate = 'c'\nkey = 'k'\n{ca}");
    let first = parse(&format!("[dicom]\nany_peer = true\n{}{}", tls("dicom", ""), tls("http", "client_ca = 'a'\n")));
    let mut running = first.clone();
    let renewed = "[dicom.tls]\ncertificate = 'c2'\nkey = 'k2'\n[[http.token]]\nname = 'a'\nsha256 = '";
    let text =
        format!("[retention]\nafter_days = 9\n{renewed}{}'\n{}", "0".repeat(64), tls("http", "client_ca = 'b'\n"));
    assert!(running.take(parse(&text)).is_empty());
    assert_eq!(running, parse(&text));
    let other = "[node]\ndata = 'd'\n[dicom]\naddress = 'off'\nany_peer = true\n[http]\naddress = '127.0.0.1:1'\n\
        [metrics]\naddress = 'off'\n[[folder]]\npath = 'f'\n[limits]\nassociations = 3\n[selection]\nsoft_first = false\n";
    let mut running = first.clone();
    let named =
        ["node", "metrics", "folder", "limits", "selection", "dicom.address", "dicom.tls", "http.address", "http.tls"];
    let mut expected: Vec<&str> = named.to_vec();
    assert_eq!(running.take(parse(other)), expected);
    assert_eq!(running, first, "what differs is what stays");
    // A listener that asks for certificates of callers does not stop doing so, nor the other way round.
    let asking = format!("[dicom]\nany_peer = true\n{}{}", tls("dicom", "client_ca = 'a'\n"), tls("http", ""));
    expected = vec!["dicom.tls", "http.tls"];
    assert_eq!(running.take(parse(&asking)), expected);
    assert_eq!(running, first);
}
