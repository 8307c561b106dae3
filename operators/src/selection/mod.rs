//! Selection: which series are taken, and why the others are not.
//!
//! Two questions are asked, in this order:
//!
//! | | asked of | says |
//! |---|---|---|
//! | [`decide`] | an instance alone, by its attributes | what the first [`Rule`] that fits says, otherwise [`Rules::otherwise`] |
//! | [`SoftFirst`] | the series of a study together | a sharp series is left out while a soft one lies beside it |
//!
//! The first answer depends on nothing but the instance, so the order of arrival does not change it. The second changes while
//! series come and go: a sharp series is taken until a soft one of its place comes, and again when that one is withdrawn.

mod attributes;
mod rule;
mod soft_first;

use serde::Deserialize;

pub use attributes::Attributes;
pub use rule::{Pattern, Range, Rule};
pub use soft_first::{SoftFirst, Switch};

use crate::record::{Reason, Rejection};

/// `[selection]`: which series are taken.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// `[[selection.rule]]`: the first that fits decides.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
    /// Whether an instance is taken that no rule fits.
    pub otherwise: bool,
    /// Whether a sharp series is left out while a soft one of its study lies in the same frame of reference.
    pub soft_first: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { rules: Vec::new(), otherwise: true, soft_first: true }
    }
}

/// What is decided of an instance or a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is taken.
    pub taken: bool,
    /// The name of the rule, or the key of [`Rules`] that decided: `otherwise`, `soft_first`.
    pub by: String,
    /// Why, for people. No value that is a text is repeated: a description may name a patient.
    pub because: String,
}

/// Decides of an instance by its attributes.
#[must_use]
pub fn decide(rules: &Rules, attributes: &Attributes) -> Decision {
    match rules.rules.iter().find(|rule| rule.fits(attributes)) {
        Some(rule) => Decision { taken: rule.take, by: rule.name.clone(), because: rule.told() },
        None => Decision { taken: rules.otherwise, by: "otherwise".to_owned(), because: "no rule fits".to_owned() },
    }
}

impl Decision {
    /// What leaves a sharp series out.
    #[must_use]
    pub fn soft_first() -> Self {
        let because = "it is sharp, and a soft series of the study lies in the same frame of reference";
        Self { taken: false, by: "soft_first".to_owned(), because: because.to_owned() }
    }

    /// The refusal of `input`, if it is not taken.
    #[must_use]
    pub fn refusal(&self, input: impl Into<String>) -> Option<Rejection> {
        let reason = if self.by == "soft_first" { Reason::SharpKernel } else { Reason::NotSelected };
        (!self.taken).then(|| Rejection::new(input, reason, format!("{}: {}", self.by, self.because)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, take: bool, set: impl FnOnce(&mut Rule)) -> Rule {
        let mut rule = Rule { name: name.to_owned(), take, ..Rule::default() };
        set(&mut rule);
        rule
    }

    fn pattern(text: &str) -> Option<Pattern> {
        Some(Pattern::new(text).expect("a pattern"))
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_otherwise_the_rest() {
        let thin = rule("thin", false, |rule| rule.slice_thickness_mm = Some(Range { least: None, most: Some(1.0) }));
        let head = rule("head", true, |rule| rule.body_part = pattern("^head$"));
        let rules = Rules { rules: vec![thin, head], otherwise: false, ..Rules::default() };
        let decided = |thickness, part: &str| {
            let body_part = vec![part.to_owned()];
            let attributes = Attributes { slice_thickness_mm: thickness, body_part, ..Attributes::default() };
            let Decision { taken, by, .. } = decide(&rules, &attributes);
            (taken, by)
        };
        assert_eq!(decided(Some(0.6), "HEAD"), (false, "thin".to_owned()));
        assert_eq!(decided(Some(5.0), "HEAD"), (true, "head".to_owned()));
        assert_eq!(decided(None, "Head"), (true, "head".to_owned()), "a missing value fits no condition");
        assert_eq!(decided(Some(5.0), "FOREHEAD"), (false, "otherwise".to_owned()));
    }

    #[test]
    fn the_default_takes_everything_alone() {
        assert!(decide(&Rules::default(), &Attributes::default()).taken);
    }

    #[test]
    fn a_refusal_has_a_fixed_word_and_repeats_no_text_of_the_instance() {
        let rules = Rules {
            rules: vec![rule("no names", false, |r| r.series_description = pattern("smith"))],
            ..Rules::default()
        };
        let attributes =
            Attributes { series_description: vec!["Head of John Smith".to_owned()], ..Attributes::default() };
        let rejection = decide(&rules, &attributes).refusal("1.2.3").expect("not taken");
        assert_eq!(rejection.reason, Reason::NotSelected);
        assert_eq!(rejection.detail, "no names: series_description fits `smith`");
        assert_eq!(Decision::soft_first().refusal("1").map(|rejection| rejection.reason), Some(Reason::SharpKernel));
        assert_eq!(decide(&Rules::default(), &attributes).refusal("1"), None);
    }
}
