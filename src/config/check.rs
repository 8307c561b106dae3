//! What no single value shows: ranges, and values that do not fit together.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use operators::selection::Rule;
use rustls::pki_types::ServerName;

use super::Config;

/// The first key whose value does not fit, and why.
pub(super) fn first_misfit(config: &Config) -> Option<(String, String)> {
    ranges(config)
        .or_else(|| durations(config))
        .or_else(|| order(config))
        .or_else(|| addresses(config))
        .or_else(|| peers(config))
        .or_else(|| tokens(config))
        .or_else(|| folders(config))
        .or_else(|| rules(config))
}

type Misfit = Option<(String, String)>;

fn ranges(config: &Config) -> Misfit {
    let limits = &config.limits;
    let whole = 1..=usize::MAX;
    let ranges: [(&str, usize, RangeInclusive<usize>); 12] = [
        ("node.workers", config.node.workers.into(), 1..=64),
        ("node.series", config.node.series.unwrap_or(1), whole.clone()),
        ("dicom.max_pdu", usize::try_from(config.dicom.max_pdu).unwrap_or(usize::MAX), 4096..=1 << 20),
        ("limits.associations", limits.associations, 1..=4096),
        ("limits.associations_per_peer", limits.associations_per_peer, 1..=4096),
        ("limits.instance_bytes", limits.instance_bytes, whole.clone()),
        ("limits.receiving_bytes", limits.receiving_bytes, whole.clone()),
        ("limits.decoded_bytes", limits.decoded_bytes, whole.clone()),
        ("limits.association_instances", limits.association_instances, whole.clone()),
        ("limits.study_instances", limits.study_instances, whole.clone()),
        ("limits.waiting_slow", limits.waiting_slow, whole),
        ("retention.after_days", usize::try_from(config.retention.after_days).unwrap_or(usize::MAX), 0..=36_500),
    ];
    let (key, value, range) = ranges.into_iter().find(|(_, value, range)| !range.contains(value))?;
    let (least, most) = range.into_inner();
    let most = if most == usize::MAX { "or more".to_owned() } else { format!("to {most}") };
    Some((key.to_owned(), format!("{value} must be {least} {most}")))
}

fn durations(config: &Config) -> Misfit {
    let rules = &config.completion;
    let values = [("quiet_seconds", rules.quiet_seconds), ("coverage_mm", rules.coverage_mm)];
    let (key, value) = values.into_iter().find(|(_, value)| !(0.0..=1e9).contains(value))?;
    Some((format!("completion.{key}"), format!("{value} must be 0 to 1000000000")))
}

fn order(config: &Config) -> Misfit {
    let limits = &config.limits;
    (limits.waiting_slow > limits.waiting_refuse).then(|| {
        let message =
            format!("{} must not be more than waiting_refuse, {}", limits.waiting_slow, limits.waiting_refuse);
        ("limits.waiting_slow".to_owned(), message)
    })
}

fn addresses(config: &Config) -> Misfit {
    let listeners =
        [("dicom", config.dicom.address), ("http", config.http.address), ("metrics", config.metrics.address)];
    let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
    for (section, address) in listeners {
        // Port 0 takes a free one each time.
        let Some(address) = address.filter(|address| address.port() != 0) else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, other)| *other == address) {
            return Some((format!("{section}.address"), format!("{address} is the address of {other} already")));
        }
        taken.push((section, address));
    }
    None
}

fn peers(config: &Config) -> Misfit {
    for (index, peer) in config.dicom.peers.iter().enumerate() {
        let key = |name: &str| format!("dicom.peer[{index}].{name}");
        let Some(tls) = &peer.tls else { continue };
        if peer.address.is_none() {
            return Some((key("tls"), "is of no use without the address of the peer".to_owned()));
        }
        if let Some(name) = tls.name.as_deref().filter(|name| ServerName::try_from(*name).is_err()) {
            return Some((key("tls.name"), format!("`{name}` must be the name of a machine, or an address")));
        }
    }
    None
}

fn tokens(config: &Config) -> Misfit {
    let mut names = BTreeSet::new();
    for (index, token) in config.http.tokens.iter().enumerate() {
        let key = format!("http.token[{index}].name");
        let plain = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
        if token.name.is_empty() || token.name.len() > 64 || !token.name.chars().all(plain) {
            return Some((key, "must be 1 to 64 letters, digits, -, _ or .".to_owned()));
        }
        if !names.insert(&token.name) {
            return Some((key, format!("`{}` is the name of another token already", token.name)));
        }
    }
    None
}

fn folders(config: &Config) -> Misfit {
    let mut paths = BTreeSet::new();
    for (index, folder) in config.folders.iter().enumerate() {
        let key = |name: &str| format!("folder[{index}].{name}");
        if !paths.insert(&folder.path) {
            return Some((key("path"), "the folder is watched already".to_owned()));
        }
        if let Some(name) = [("done", folder.done()), ("failed", folder.failed())]
            .into_iter()
            .find_map(|(name, path)| (path == folder.path).then_some(name))
        {
            return Some((key(name), "must be another folder than the watched one".to_owned()));
        }
    }
    None
}

fn rules(config: &Config) -> Misfit {
    let mut names = BTreeSet::new();
    for (index, rule) in config.selection.rules.iter().enumerate() {
        let key = format!("selection.rule[{index}].name");
        if rule.name.is_empty() || rule.name.len() > 64 || rule.name.chars().any(char::is_control) {
            return Some((key, "must be a text of 1 to 64 bytes on one line".to_owned()));
        }
        if ["otherwise", "soft_first"].contains(&rule.name.as_str()) || !names.insert(&rule.name) {
            return Some((key, format!("`{}` is taken already", rule.name)));
        }
    }
    None
}

impl Config {
    /// What may be meant, but lets in more than one thinks, or nobody: a line each, with its key.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let reached = |address: Option<SocketAddr>| address.filter(|address| !address.ip().is_loopback());
        let mut warnings = Vec::new();
        let mut warn = |key: &str, text: String| warnings.push(format!("{key}: {text}"));
        if let Some(address) = reached(self.dicom.address) {
            let mutual = self.dicom.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
            if self.dicom.any_peer && !mutual {
                warn("dicom.any_peer", format!("whoever reaches {address} may send"));
            }
            if self.dicom.tls.is_none() {
                warn("dicom.tls", format!("images come to {address} unencrypted"));
            }
        }
        if self.dicom.address.is_some() && !self.dicom.any_peer && self.dicom.peers.is_empty() {
            warn("dicom.peer", "nobody is listed: every association will be refused".to_owned());
        }
        if let Some(address) = reached(self.http.address) {
            let mutual = self.http.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
            if self.http.anonymous && !mutual {
                warn("http.anonymous", format!("whoever reaches {address} may store"));
            }
            if self.http.tls.is_none() {
                warn("http.tls", format!("images and tokens come to {address} unencrypted"));
            }
        }
        let rules = &self.selection.rules;
        if let Some(index) = rules.iter().position(Rule::fits_everything).filter(|index| index + 1 < rules.len()) {
            warn(&format!("selection.rule[{index}]"), "fits everything: no rule behind it is asked".to_owned());
        }
        warnings
    }
}
