//! A rule: conditions on attributes, all of which must hold, and what it says then.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::Attributes;

/// `[[selection.rule]]`: what it says of an instance that all its conditions hold for. A condition on a value that the
/// instance does not have does not hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What the rule is called where it is told why.
    pub name: String,
    /// Whether the instance is taken.
    pub take: bool,
    /// Modality (0008,0060).
    pub modality: Option<Pattern>,
    /// Study Description (0008,1030).
    pub study_description: Option<Pattern>,
    /// Series Description (0008,103E).
    pub series_description: Option<Pattern>,
    /// Protocol Name (0018,1030).
    pub protocol: Option<Pattern>,
    /// Convolution Kernel (0018,1210).
    pub kernel: Option<Pattern>,
    /// Body Part Examined (0018,0015).
    pub body_part: Option<Pattern>,
    /// A value of Image Type (0008,0008).
    pub image_type: Option<Pattern>,
    /// Manufacturer (0008,0070).
    pub manufacturer: Option<Pattern>,
    /// Station Name (0008,1010).
    pub station: Option<Pattern>,
    /// Slice Thickness (0018,0050), mm.
    pub slice_thickness_mm: Option<Range>,
    /// Rows (0028,0010).
    pub rows: Option<Range>,
    /// Columns (0028,0011).
    pub columns: Option<Range>,
}

impl Rule {
    /// Whether all conditions hold. A rule without one fits everything.
    #[must_use]
    pub fn fits(&self, attributes: &Attributes) -> bool {
        self.patterns(attributes).all(|(_, pattern, values)| values.iter().any(|value| pattern.fits(value)))
            && self.ranges(attributes).all(|(_, range, value)| value.is_some_and(|value| range.holds(value)))
    }

    /// Whether the rule has no condition.
    #[must_use]
    pub fn fits_everything(&self) -> bool {
        let none = Attributes::default();
        self.patterns(&none).next().is_none() && self.ranges(&none).next().is_none()
    }

    /// The conditions, in words.
    #[must_use]
    pub fn told(&self) -> String {
        let none = Attributes::default();
        let patterns = self.patterns(&none).map(|(key, pattern, _)| format!("{key} fits `{}`", pattern.as_str()));
        let ranges = self.ranges(&none).map(|(key, range, _)| format!("{key} is {range}"));
        let told: Vec<String> = patterns.chain(ranges).collect();
        if told.is_empty() { "the rule fits everything".to_owned() } else { told.join(", ") }
    }

    fn patterns<'a>(
        &'a self,
        attributes: &'a Attributes,
    ) -> impl Iterator<Item = (&'static str, &'a Pattern, &'a [String])> {
        let conditions: [(_, &Option<Pattern>, &[String]); 9] = [
            ("modality", &self.modality, &attributes.modality),
            ("study_description", &self.study_description, &attributes.study_description),
            ("series_description", &self.series_description, &attributes.series_description),
            ("protocol", &self.protocol, &attributes.protocol),
            ("kernel", &self.kernel, &attributes.kernel),
            ("body_part", &self.body_part, &attributes.body_part),
            ("image_type", &self.image_type, &attributes.image_type),
            ("manufacturer", &self.manufacturer, &attributes.manufacturer),
            ("station", &self.station, &attributes.station),
        ];
        conditions.into_iter().filter_map(|(key, pattern, values)| Some((key, pattern.as_ref()?, values)))
    }

    fn ranges(&self, attributes: &Attributes) -> impl Iterator<Item = (&'static str, Range, Option<f64>)> {
        let conditions = [
            ("slice_thickness_mm", self.slice_thickness_mm, attributes.slice_thickness_mm),
            ("rows", self.rows, attributes.rows.map(f64::from)),
            ("columns", self.columns, attributes.columns.map(f64::from)),
        ];
        conditions.into_iter().filter_map(|(key, range, value)| Some((key, range?, value)))
    }
}

/// A regular expression that is searched for in a text, whatever the case. `^` and `$` anchor it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Regex);

impl Pattern {
    /// The pattern that `text` says.
    ///
    /// # Errors
    ///
    /// Says why it is none.
    pub fn new(text: &str) -> Result<Self, String> {
        const BYTES: usize = 1 << 20;
        let regex = RegexBuilder::new(text).case_insensitive(true).size_limit(BYTES).build();
        // The last line says why, those before it draw where.
        let why = |error: regex::Error| error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        regex.map(Self).map_err(|error| format!("`{text}` is no regular expression: {}", why(error)))
    }

    /// Whether a text holds it.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

/// Numbers from `least` to `most`, both among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "Ends")]
pub struct Range {
    /// The smallest number. `None`: any.
    pub least: Option<f64>,
    /// The largest number. `None`: any.
    pub most: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ends {
    least: Option<f64>,
    most: Option<f64>,
}

impl TryFrom<Ends> for Range {
    type Error = String;

    fn try_from(Ends { least, most }: Ends) -> Result<Self, String> {
        if least.into_iter().chain(most).any(|end| !end.is_finite()) {
            return Err("least and most must be numbers".to_owned());
        }
        match (least, most) {
            (None, None) => Err("must have a key least, most or both".to_owned()),
            (Some(least), Some(most)) if least > most => Err(format!("least, {least}, is more than most, {most}")),
            _ => Ok(Self { least, most }),
        }
    }
}

impl Range {
    /// Whether a number is in it.
    #[must_use]
    pub fn holds(&self, number: f64) -> bool {
        self.least.is_none_or(|least| number >= least) && self.most.is_none_or(|most| number <= most)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (Some(least), Some(most)) => write!(f, "{least} to {most}"),
            (Some(least), None) => write!(f, "{least} or more"),
            (None, Some(most)) => write!(f, "{most} or less"),
            (None, None) => f.write_str("any"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_must_hold_and_a_missing_value_holds_none() {
        type Condition = fn(&mut Rule) -> &mut Option<Pattern>;
        type Values = fn(&mut Attributes) -> &mut Vec<String>;
        let patterns: [(Condition, Values); 9] = [
            (|r| &mut r.modality, |a| &mut a.modality),
            (|r| &mut r.study_description, |a| &mut a.study_description),
            (|r| &mut r.series_description, |a| &mut a.series_description),
            (|r| &mut r.protocol, |a| &mut a.protocol),
            (|r| &mut r.kernel, |a| &mut a.kernel),
            (|r| &mut r.body_part, |a| &mut a.body_part),
            (|r| &mut r.image_type, |a| &mut a.image_type),
            (|r| &mut r.manufacturer, |a| &mut a.manufacturer),
            (|r| &mut r.station, |a| &mut a.station),
        ];
        let (mut rule, mut attributes) = (Rule::default(), Attributes::default());
        assert!(rule.fits(&attributes) && rule.fits_everything());
        for (condition, values) in patterns {
            *condition(&mut rule) = Some(Pattern::new("b").expect("a pattern"));
            assert!(!rule.fits(&attributes) && !rule.fits_everything());
            *values(&mut attributes) = vec!["A".to_owned(), "abc".to_owned()];
            assert!(rule.fits(&attributes), "{}", rule.told());
        }
        rule.rows = Some(Range { least: Some(256.0), most: None });
        assert!(!rule.fits(&attributes));
        attributes.rows = Some(255);
        assert!(!rule.fits(&attributes));
        attributes.rows = Some(256);
        assert!(rule.fits(&attributes));
        assert!(rule.told().ends_with("station fits `b`, rows is 256 or more"), "{}", rule.told());
    }

    #[test]
    fn a_range_holds_its_ends() {
        let range = Range { least: Some(0.5), most: Some(2.5) };
        assert_eq!([0.4, 0.5, 2.5, 2.6].map(|number| range.holds(number)), [false, true, true, false]);
        assert!(!range.holds(f64::NAN));
    }

    #[test]
    fn what_is_no_pattern_or_no_range_is_said() {
        assert!(Pattern::new("(bone").expect_err("open").starts_with("`(bone` is no regular expression: "));
        assert!(Pattern::new("(a{1000}){1000}{1000}").is_err(), "too large");
        let range = |least, most| Range::try_from(Ends { least, most });
        assert!(
            range(None, None).is_err() && range(Some(2.0), Some(1.0)).is_err() && range(Some(f64::NAN), None).is_err()
        );
        assert_eq!(range(Some(1.0), Some(1.0)), Ok(Range { least: Some(1.0), most: Some(1.0) }));
    }
}
