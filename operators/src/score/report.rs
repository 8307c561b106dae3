//! The scores as one page of HTML that needs nothing beside it: tables, and the ROC curve as SVG.

use std::fmt::Write as _;

use super::instance::Instance;
use super::{Classification, Masks, Metrics};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
    table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .8rem;border-bottom:1px solid #d5d9de;text-align:right}\
    th:first-child,td:first-child{text-align:left}caption{text-align:left;font-weight:600;padding:.3rem 0}";

/// The page for `metrics`, under a title that is escaped.
#[must_use]
pub fn report(title: &str, metrics: &Metrics) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n<p>Gate {:.3}. Slices without a prediction: {}.</p>\n",
        metrics.gate, metrics.missing_slices
    );
    let classes = [("Slices", &metrics.slices), ("Series", &metrics.series)];
    page += &table(
        "Any hemorrhage",
        &["", "n", "positive", "AUC", "sensitivity", "specificity", "Youden's gate"],
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
        &["", "volumes", "Dice", "bias", "absolute difference", "false positive"],
        masks.map(|(name, scores)| per_volume(name, scores)),
    );
    page += &table(
        "By the protocol of INSTANCE 2022 (means over volumes with hemorrhage)",
        &["", "cases", "empty", "DSC", "RVD", "NSD at 0.42 mm", "HD mm", "HD95 mm", "lesions found", "false lesions"],
        metrics.instance.iter().map(|(name, scores)| per_case(name, scores)),
    );
    page += &table(
        "Subtypes (slices that show them)",
        &["", "slices", "found", "Dice", "voxels found"],
        metrics.subtypes.iter().map(|(name, scores)| {
            let numbers = [scores.sensitivity, scores.dice, scores.voxel_sensitivity].map(number);
            [vec![escaped(name), scores.slices.to_string()], numbers.to_vec()].concat()
        }),
    );
    page += &curve(&metrics.roc);
    page += "</body></html>\n";
    page
}

fn classification(name: &str, scores: &Classification) -> Vec<String> {
    let numbers = [scores.auc, scores.sensitivity, scores.specificity, scores.youden.map(f64::from)].map(number);
    [vec![name.to_owned(), scores.n.to_string(), scores.positives.to_string()], numbers.to_vec()].concat()
}

fn per_slice(name: &str, scores: &Masks) -> Vec<String> {
    let numbers = [scores.dice, scores.iou, scores.sensitivity, scores.specificity].map(number);
    [vec![name.to_owned(), scores.slices.to_string(), scores.empty_slices.to_string()], numbers.to_vec()].concat()
}

fn per_volume(name: &str, scores: &Masks) -> Vec<String> {
    let numbers =
        [scores.volume_dice, scores.volume_bias_ml, scores.volume_error_ml, Some(scores.false_positive_ml)].map(number);
    [vec![name.to_owned(), scores.volumes.to_string()], numbers.to_vec()].concat()
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

/// The ROC curve in a square of 300 units, sensitivity upward.
fn curve(roc: &[[f64; 2]]) -> String {
    if roc.is_empty() {
        return "<p>No ROC curve: only one class occurs.</p>\n".to_owned();
    }
    let mut points = String::new();
    for [x, y] in roc {
        let (x, y) = (40.0 + 300.0 * x, 310.0 - 300.0 * y);
        if write!(points, "{x:.1},{y:.1} ").is_err() {
            return String::new();
        }
    }
    format!(
        "<figure><svg viewBox=\"0 0 360 350\" width=\"360\" role=\"img\" aria-label=\"ROC curve of slices\">\
         <rect x=\"40\" y=\"10\" width=\"300\" height=\"300\" fill=\"none\" stroke=\"#8b949e\"/>\
         <line x1=\"40\" y1=\"310\" x2=\"340\" y2=\"10\" stroke=\"#d0d7de\" stroke-dasharray=\"4\"/>\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#0b62d6\" stroke-width=\"2\"/>\
         <text x=\"190\" y=\"340\" text-anchor=\"middle\">1 - specificity</text>\
         <text x=\"20\" y=\"160\" text-anchor=\"middle\" transform=\"rotate(-90 20 160)\">sensitivity</text>\
         </svg><figcaption>ROC curve of slices</figcaption></figure>\n",
        points.trim_end()
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_escapes_names_and_needs_nothing_else() {
        let metrics = Metrics { roc: vec![[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]], ..Metrics::default() };
        let page = report("a <b> & c", &metrics);
        assert!(page.contains("<h1>a &lt;b&gt; &amp; c</h1>"));
        assert!(page.contains("points=\"40.0,310.0 40.0,10.0 340.0,10.0\""));
        assert!(!page.contains("http") && !page.contains("src="), "self-contained");
    }

    #[test]
    fn scores_without_value_are_dashes_and_one_class_has_no_curve() {
        let page = report("none", &Metrics::default());
        assert!(page.contains("<td>Slices</td><td>0</td><td>0</td><td>-</td>") && page.contains("only one class"));
        assert!(!page.contains("NaN"));
    }
}
