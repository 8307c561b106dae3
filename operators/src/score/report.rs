//! The scores as one page of HTML that needs nothing beside it: tables, plots as SVG, pictures as data.

use super::area::Area;
use super::compare::Comparison;
use super::instance::{Instance, Lesions, Third};
use super::picture::{Picture, base64};
use super::plot::{Plot, Series, Style, escaped};
use super::statistics::percentile;
use super::{Classification, Masks, Metrics};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
    table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .8rem;border-bottom:1px solid #d5d9de;text-align:right}\
    th:first-child,td:first-child{text-align:left}figure{display:inline-block;margin:.5rem .5rem .5rem 0;vertical-align:top}\
    figcaption{font-size:13px;max-width:366px}svg text{font-size:11px;fill:#57606a}caption{text-align:left;font-weight:600;padding:.3rem 0}";

/// One way to get results, with its scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// What influenced it, as `supervision` of the model card.
    pub supervision: String,
    /// The mask that speaks for it: one of [`super::MASKS`].
    pub mask: &'static str,
    /// Its scores.
    pub metrics: Metrics,
    /// Its worst slices.
    pub worst: Vec<Picture>,
}

/// What becomes of a score as there are more labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Percent of the labels, seed, slice AUC, Dice per slice of [`Arm::mask`].
    pub points: Vec<(f64, u64, Option<f64>, Option<f64>)>,
}

/// All that a page shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Its heading.
    pub title: String,
    /// The arms.
    pub arms: Vec<Arm>,
    /// Arms against each other.
    pub comparisons: Vec<Comparison>,
    /// The label-fraction curve, if it was made.
    pub curve: Option<Curve>,
}

/// The page. Text is escaped.
#[must_use]
pub fn report(report: &Report) -> String {
    let title = escaped(&report.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n<p>Research use only, not a medical device.</p>\n"
    );
    if !report.comparisons.is_empty() {
        page += &table(
            "Arms against each other, by patients (Wilcoxon's signed-rank test, corrected by Holm; intervals of 95 % by drawing patients)",
            &["", "score", "patients", "means", "difference", "interval", "p", "corrected"],
            report.comparisons.iter().map(compared),
        );
    }
    if let Some(curve) = &report.curve {
        page += &fractions(curve);
    }
    for arm in &report.arms {
        page += &section(arm, report.arms.len() > 1);
    }
    page += "</body></html>\n";
    page
}

fn section(arm: &Arm, named: bool) -> String {
    let metrics = &arm.metrics;
    let mut page = String::new();
    if named {
        page += &format!("<h2>{}</h2>\n", escaped(&arm.name));
    }
    page += &format!(
        "<p>Supervision: {}. Gate {:.3}. Slices without a prediction: {}.</p>\n",
        escaped(&arm.supervision),
        metrics.gate,
        metrics.missing_slices
    );
    let classes = [("Slices", &metrics.slices), ("Series", &metrics.series)];
    page += &table(
        "Any hemorrhage",
        &[
            "",
            "n",
            "positive",
            "AUC",
            "interval",
            "sensitivity",
            "specificity",
            "sensitivity at 0.9",
            "calibration error",
            "Youden's gate",
        ],
        classes.map(|(name, scores)| classification(name, scores)),
    );
    let masks =
        [("Segmentation", &metrics.segmentation), ("Pseudo-mask", &metrics.pseudo_mask), ("Union", &metrics.union)];
    page += &table(
        "Masks, per slice (mean over slices with hemorrhage; an empty prediction counts 0)",
        &["", "slices", "empty", "Dice", "IoU", "sensitivity", "specificity"],
        masks.map(|(name, scores)| per_slice(name, scores)),
    );
    page += &table(
        "Masks, per volume (volumes in mL, negatives as 0 mL)",
        &["", "volumes", "Dice", "bias", "limits of agreement", "ICC", "absolute difference", "false positive"],
        masks.map(|(name, scores)| per_volume(name, scores)),
    );
    page += &table(
        "By the protocol of INSTANCE 2022 (means over volumes with hemorrhage)",
        &["", "cases", "empty", "DSC", "RVD", "NSD at 0.42 mm", "HD mm", "HD95 mm", "lesions found", "false lesions"],
        metrics.instance.iter().map(|(name, scores)| per_case(name, scores)),
    );
    page += &table(
        "Lesions, by thirds of the volumes with hemorrhage",
        &["", "with up to mL", "cases", "lesions found", "sensitivity", "false lesions per case"],
        metrics.instance.iter().flat_map(|(name, scores)| scores.thirds.iter().map(|third| per_third(name, third))),
    );
    page += &table(
        "Subtypes (slices that show them)",
        &["", "slices", "found", "Dice", "voxels found"],
        metrics.subtypes.iter().map(|(name, scores)| {
            let numbers = [scores.sensitivity, scores.dice, scores.voxel_sensitivity].map(number);
            [vec![escaped(name), scores.slices.to_string()], numbers.to_vec()].concat()
        }),
    );
    page += &table(
        "Slices by the area of the hemorrhage in them (AUC against all slices with an empty mask)",
        &["", "slices", "found", "AUC", "Dice"],
        metrics.areas.iter().map(per_area),
    );
    page += &plots(arm);
    if !arm.worst.is_empty() {
        page += "<h3>The worst slices: truth green, prediction red, both yellow</h3>\n";
    }
    for Picture { caption, png } in &arm.worst {
        let caption = escaped(caption);
        page += &format!(
            "<figure><img alt=\"{caption}\" width=\"256\" height=\"256\" src=\"data:image/png;base64,{}\">\
             <figcaption>{caption}</figcaption></figure>\n",
            base64(png)
        );
    }
    page
}

/// ROC, reliability, Dice by volume, agreement of volumes.
fn plots(arm: &Arm) -> String {
    let metrics = &arm.metrics;
    let series = |name: &str, style, points| Series { name: name.to_owned(), style, points };
    let unit = Some([0.0, 1.0]);
    let diagonal = || series("", Style::Guide, vec![[0.0, 0.0], [1.0, 1.0]]);
    let masks = || metrics.cases.iter().filter_map(|case| case.masks.get(arm.mask));
    let by_volume = masks().filter_map(|mask| Some([mask.true_ml.max(0.01).log10(), mask.volume_dice?])).collect();
    let volumes: Vec<[f64; 2]> =
        masks().map(|mask| [(mask.predicted_ml + mask.true_ml) / 2.0, mask.predicted_ml - mask.true_ml]).collect();
    let most = volumes.iter().fold(0.0_f64, |most, [mean, _]| most.max(*mean));
    let scores = match arm.mask {
        "segmentation" => &metrics.segmentation,
        "pseudo_mask" => &metrics.pseudo_mask,
        _ => &metrics.union,
    };
    let level = |value: f64| series("", Style::Guide, vec![[0.0, value], [most, value]]);
    let levels = scores.volume_bias_ml.into_iter().chain(scores.volume_limits_ml.into_iter().flatten()).map(level);
    let plots = [
        Plot {
            title: "ROC curve of slices",
            axes: ["1 - specificity", "sensitivity"],
            ranges: [unit; 2],
            series: vec![diagonal(), series("", Style::Line, metrics.roc.clone())],
        },
        Plot {
            title: "Reliability of slices",
            axes: ["mean probability", "share of positives"],
            ranges: [unit; 2],
            series: vec![diagonal(), series("", Style::Both, metrics.reliability.clone())],
        },
        Plot {
            title: "Dice of volumes by their size",
            axes: ["true volume, log10 mL", "Dice"],
            ranges: [None, unit],
            series: vec![series("", Style::Points, by_volume)],
        },
        Plot {
            title: "Agreement of volumes (Bland, Altman): bias and limits dashed",
            axes: ["mean of both, mL", "predicted less true, mL"],
            ranges: [None, None],
            series: std::iter::once(series("", Style::Points, volumes)).chain(levels).collect(),
        },
    ];
    plots.iter().map(Plot::figure).collect()
}

/// The label-fraction curve: a table, and medians with all seeds as points.
fn fractions(curve: &Curve) -> String {
    let rows = curve
        .points
        .iter()
        .map(|(percent, seed, auc, dice)| vec![format!("{percent} %"), seed.to_string(), number(*auc), number(*dice)]);
    let mut page = table("Label fractions", &["labels", "seed", "slice AUC", "Dice per slice"], rows);
    for (title, axis, pick) in [
        ("Slice AUC by labels: medians over seeds", "slice AUC", 0),
        ("Dice per slice by labels: medians over seeds", "Dice", 1),
    ] {
        let points: Vec<[f64; 2]> = curve
            .points
            .iter()
            .filter_map(|(percent, _, auc, dice)| Some([*percent, if pick == 0 { *auc } else { *dice }?]))
            .collect();
        let medians = points.chunk_by(|a, b| a[0] >= b[0]).filter_map(|group| {
            let mut values: Vec<f64> = group.iter().map(|point| point[1]).collect();
            values.sort_by(f64::total_cmp);
            Some([group.first()?[0], percentile(&values, 50.0)?])
        });
        let line = Series { name: String::new(), style: Style::Line, points: medians.collect() };
        let dots = Series { name: String::new(), style: Style::Points, points };
        let axes = ["percent of the labels", axis];
        page +=
            &Plot { title, axes, ranges: [Some([0.0, 100.0]), Some([0.0, 1.0])], series: vec![line, dots] }.figure();
    }
    page
}

fn compared(comparison: &Comparison) -> Vec<String> {
    let Comparison { first, second, score, patients, means: [a, b], difference, interval, .. } = comparison;
    let interval = interval.map_or_else(|| "-".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"));
    let p = |p: Option<f64>| p.map_or_else(|| "-".to_owned(), |p| format!("{p:.4}"));
    vec![
        escaped(&format!("{first} against {second}")),
        escaped(score),
        patients.to_string(),
        format!("{a:.3}, {b:.3}"),
        format!("{difference:+.3}"),
        interval,
        p(comparison.p),
        p(comparison.p_corrected),
    ]
}

fn classification(name: &str, scores: &Classification) -> Vec<String> {
    let interval = range(scores.auc_interval);
    let at = [scores.sensitivity, scores.specificity, scores.sensitivity_at_90, scores.calibration_error];
    let counts = [scores.n, scores.positives].map(|count| count.to_string());
    let rest = [at.map(number).to_vec(), vec![number(scores.youden.map(f64::from))]].concat();
    [vec![name.to_owned()], counts.to_vec(), vec![number(scores.auc), interval], rest].concat()
}

fn per_slice(name: &str, scores: &Masks) -> Vec<String> {
    let numbers = [scores.dice, scores.iou, scores.sensitivity, scores.specificity].map(number);
    [vec![name.to_owned(), scores.slices.to_string(), scores.empty_slices.to_string()], numbers.to_vec()].concat()
}

fn per_volume(name: &str, scores: &Masks) -> Vec<String> {
    let [dice, bias, icc] = [scores.volume_dice, scores.volume_bias_ml, scores.volume_icc].map(number);
    let [error, false_positive] = [scores.volume_error_ml, Some(scores.false_positive_ml)].map(number);
    let limits = range(scores.volume_limits_ml);
    vec![name.to_owned(), scores.volumes.to_string(), dice, bias, limits, icc, error, false_positive]
}

fn per_case(name: &str, scores: &Instance) -> Vec<String> {
    let counts = [scores.cases, scores.empty_predictions].map(|count| count.to_string());
    let means = [scores.dice, scores.relative_volume_difference, scores.surface_dice].map(number);
    let infinite = scores.hausdorff_mm.is_none() && scores.empty_predictions > 0;
    let hausdorff = if infinite { "infinite".to_owned() } else { number(scores.hausdorff_mm) };
    let found = format!("{} of {}", scores.lesions.found, scores.lesions.present);
    let rest = [hausdorff, number(scores.hausdorff_95_mm), found, scores.lesions.false_positive.to_string()];
    [vec![escaped(name)], counts.to_vec(), means.to_vec(), rest.to_vec()].concat()
}

fn per_third(name: &str, third: &Third) -> Vec<String> {
    let Third { cases, up_to_ml, lesions: Lesions { present, found, false_positive } } = *third;
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts of lesions stay below 2^53")]
    let share = |of: u64, all: u64| number((all > 0).then(|| of as f64 / all as f64));
    let found_of = format!("{found} of {present}");
    [escaped(name), number(up_to_ml), cases.to_string(), found_of, share(found, present), share(false_positive, cases)]
        .to_vec()
}

fn per_area(area: &Area) -> Vec<String> {
    let numbers = [area.sensitivity, area.auc, area.dice].map(number);
    [vec![area.to_string(), area.slices.to_string()], numbers.to_vec()].concat()
}

fn table(caption: &str, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("<table><caption>{caption}</caption><thead><tr>");
    text.extend(head.iter().map(|cell| format!("<th scope=\"col\">{cell}</th>")));
    text += "</tr></thead><tbody>\n";
    for row in rows {
        text += "<tr>";
        text.extend(row.iter().map(|cell| format!("<td>{cell}</td>")));
        text += "</tr>\n";
    }
    text + "</tbody></table>\n"
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn range(interval: Option<[f64; 2]>) -> String {
    interval.map_or_else(|| "-".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(metrics: Metrics) -> Arm {
        let worst = vec![Picture { caption: "p <1>".to_owned(), png: vec![1, 2, 3] }];
        Arm { name: "weak".to_owned(), supervision: "slice labels".to_owned(), mask: "union", metrics, worst }
    }

    #[test]
    fn the_page_escapes_names_and_needs_nothing_else() {
        let metrics = Metrics { roc: vec![[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]], ..Metrics::default() };
        let arms = vec![arm(metrics.clone()), Arm { name: "<other>".to_owned(), ..arm(metrics) }];
        let points = vec![(5.0, 1, Some(0.6), Some(0.1)), (5.0, 2, Some(0.7), None), (100.0, 1, Some(0.9), Some(0.5))];
        let curve = Some(Curve { points });
        let page = report(&Report { title: "a <b> & c".to_owned(), arms, comparisons: Vec::new(), curve });
        assert!(page.contains("<h1>a &lt;b&gt; &amp; c</h1>") && page.contains("<h2>&lt;other&gt;</h2>"));
        assert!(page.contains("points=\"52.0,252.0 52.0,12.0 352.0,12.0\""));
        assert!(page.contains("src=\"data:image/png;base64,AQID\"") && page.contains("p &lt;1&gt;"));
        assert_eq!(page.matches("src=").count(), page.matches("src=\"data:").count(), "self-contained");
        assert!(!page.contains("http"), "self-contained");
    }

    #[test]
    fn scores_without_value_are_dashes_and_one_class_has_no_curve() {
        let arms = vec![arm(Metrics::default())];
        let page = report(&Report { title: "none".to_owned(), arms, comparisons: Vec::new(), curve: None });
        assert!(page.contains("<td>Slices</td><td>0</td><td>0</td><td>-</td>"));
        assert!(page.contains("ROC curve of slices: nothing to draw") && !page.contains("NaN"));
    }
}
